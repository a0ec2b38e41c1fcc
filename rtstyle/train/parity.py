"""The parity gate: a model file must paint in every runtime as its net does in torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rtstyle.engines import open_engine
from rtstyle.errors import ModelError
from rtstyle.model import ModelSpec
from rtstyle.nets.contract import Contract

RUNTIMES = ("openvino", "onnxruntime")
MAX_MEAN = 1.0  # grey levels
MAX_P999 = 3.0  # grey levels, 99.9th percentile
# Of an exactly flat picture every variance is 0, and instance norm, layer after layer, blows up
# whatever the runtime's rounding left of it: there only the colour is defined, not the grain.
MAX_MEAN_FLAT = 2.0
MAX_P999_FLAT = 16.0
_SIZES = ((64, 96), (160, 128), (32, 224))  # rounded up to the stride


@dataclass(frozen=True, slots=True)
class Parity:
    """How far one runtime's pictures are from torch's, in grey levels: the worst picture counts.

    The last two are those of exactly flat pictures, which the first two leave out.
    """

    runtime: str
    mean: float
    p999: float
    mean_flat: float
    p999_flat: float


def require_parity(results: Sequence[Parity]) -> None:
    """Hold the results against the limits.

    Raises `ModelError` when any picture differs by more than `MAX_MEAN` on average or `MAX_P999` at
    the 99.9th percentile, or an exactly flat one by more than the limits for those.
    """
    for r in results:
        for kind, mean, p999, max_mean, max_p999 in (
            ("pictures", r.mean, r.p999, MAX_MEAN, MAX_P999),
            ("exactly flat pictures", r.mean_flat, r.p999_flat, MAX_MEAN_FLAT, MAX_P999_FLAT),
        ):
            if not (mean <= max_mean and p999 <= max_p999):
                raise ModelError(
                    f"{r.runtime} does not paint as torch does: the {kind} differ by {mean:.2f} "
                    f"grey levels on average and {p999:.0f} at the 99.9th percentile; at most "
                    f"{max_mean:g} and {max_p999:g} are allowed."
                )


def measure_parity(net: nn.Module, model: ModelSpec) -> list[Parity]:
    """How far the model file is from the net it was made from, for every runtime."""
    reference = Contract(net.cpu()).eval()
    style = None
    if model.style_size:
        weights = np.arange(1, model.style_size + 1, dtype=np.float32)
        style = weights[None] / weights.sum()
    inputs = [] if style is None else [torch.from_numpy(style)]
    pictures = list(_pictures(model.stride))
    with torch.inference_mode():
        expected = [reference(torch.from_numpy(p), *inputs).numpy() for p in pictures]
    results = []
    for runtime in RUNTIMES:
        with open_engine(runtime, model) as engine:
            differences = [
                np.abs(engine.submit(p, style).result().astype(np.int16) - e)
                for p, e in zip(pictures, expected, strict=True)
            ]
        flat = [d for d, p in zip(differences, pictures, strict=True) if np.ptp(p) == 0]
        textured = [d for d, p in zip(differences, pictures, strict=True) if np.ptp(p) > 0]
        results.append(Parity(runtime, *_worst(textured), *_worst(flat)))
    return results


def _worst(differences: list[NDArray[np.int16]]) -> tuple[float, float]:
    """The largest mean and the largest 99.9th percentile."""
    return (
        max(float(d.mean()) for d in differences),
        max(float(np.percentile(d, 99.9)) for d in differences),
    )


def _pictures(stride: int) -> Iterator[NDArray[np.uint8]]:
    """(1, H, W, 3) each: smooth colours with texture, noise, a gradient, black and white as a
    camera gives them, and exactly black and white."""
    rng = np.random.default_rng(0)
    for height, width in _SIZES:
        height, width = (-(-side // stride) * stride for side in (height, width))
        y, x = np.mgrid[0:height, 0:width]
        hills = [
            np.sin(x / a + c) + np.cos(y / b + c)
            for a, b, c in ((19, 13, 0), (31, 9, 1), (7, 23, 2))
        ]
        photo = np.stack(hills, axis=-1) * 55 + 127 + rng.normal(0, 8, (height, width, 3))
        yield photo.clip(0, 255).astype(np.uint8)[None]
        yield rng.integers(0, 256, (1, height, width, 3), dtype=np.uint8)
        ramp = np.linspace(0, 255, width)[None, :, None]
        yield np.broadcast_to(ramp, (1, height, width, 3)).astype(np.uint8)
        grain = rng.integers(0, 3, (1, height, width, 3), dtype=np.uint8)
        yield grain
        yield 255 - grain
        yield np.zeros((1, height, width, 3), np.uint8)
        yield np.full((1, height, width, 3), 255, np.uint8)
