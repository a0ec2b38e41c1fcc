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
from rtstyle.model.spec import ModelSpec
from rtstyle.nets.contract import Contract
from rtstyle.nets.contract import StyleEncoder as StyleEncoderNet
from rtstyle.style.encoder import StyleEncoder, encode

RUNTIMES = ("openvino", "onnxruntime")
MAX_MEAN = 1.0  # grey levels
MAX_P999 = 3.0  # grey levels, 99.9th percentile
MAX_FLAT_COLOR = 8.0  # grey levels: that flat pictures are no garbage; see `Parity`
MAX_STATISTICS = 0.01  # relative, of what a style encoder tells
_SIZES = ((64, 96), (160, 128), (32, 224))  # rounded up to the stride, at least two


@dataclass(frozen=True, slots=True)
class Parity:
    """How far one runtime's pictures are from torch's, in grey levels: the worst picture counts.

    An exactly flat picture has nothing but the contract's grain, which instance norm, layer after
    layer, blows up with whatever each runtime's rounding made of it: it is left out of `mean` and
    `p999`, and `flat_color` is how far its mean colours are.
    """

    runtime: str
    mean: float
    p999: float
    flat_color: float


def require_parity(results: Sequence[Parity]) -> None:
    """Hold the results against the limits.

    Raises `ModelError` when any picture differs by more than `MAX_MEAN` on average or `MAX_P999` at
    the 99.9th percentile, or the colour of an exactly flat one by more than `MAX_FLAT_COLOR`.
    """
    for r in results:
        if not (r.mean <= MAX_MEAN and r.p999 <= MAX_P999 and r.flat_color <= MAX_FLAT_COLOR):
            raise ModelError(
                f"{r.runtime} does not paint as torch does: the pictures differ by {r.mean:.2f} "
                f"grey levels on average and {r.p999:.0f} at the 99.9th percentile, flat ones by "
                f"{r.flat_color:.2f} in colour; at most {MAX_MEAN:g}, {MAX_P999:g} and "
                f"{MAX_FLAT_COLOR:g} are allowed."
            )


def measure_parity(net: nn.Module, model: ModelSpec) -> list[Parity]:
    """How far the model file is from the net it was made from, for every runtime."""
    reference = Contract(net.cpu()).eval()
    style = _style(net, model)
    inputs = [] if style is None else [torch.from_numpy(style)]
    if model.takes_strength:
        inputs.append(torch.ones(1))
    pictures = list(_pictures(model.stride))
    with torch.inference_mode():
        expected = [reference(torch.from_numpy(p), *inputs).numpy() for p in pictures]
    results = []
    for runtime in RUNTIMES:
        with open_engine(runtime, model) as engine:
            differences = [
                engine.submit(p, style).result().astype(np.int16) - e
                for p, e in zip(pictures, expected, strict=True)
            ]
        textured = [d for d, p in zip(differences, pictures, strict=True) if np.ptp(p) > 0]
        flat = [d for d, p in zip(differences, pictures, strict=True) if np.ptp(p) == 0]
        results.append(
            Parity(
                runtime,
                mean=max(float(np.abs(d).mean()) for d in textured),
                p999=max(float(np.percentile(np.abs(d), 99.9)) for d in textured),
                flat_color=max(float(np.abs(d.mean((1, 2))).max()) for d in flat),
            )
        )
    return results


def require_same_statistics(net: nn.Module, encoder: StyleEncoder) -> None:
    """Raises `ModelError` when the style encoder's file tells other statistics than the net."""
    reference = StyleEncoderNet(net.cpu()).eval()
    painting = next(_pictures(encoder.stride))
    with torch.inference_mode():
        expected = reference(torch.from_numpy(painting)).numpy()
    told = encode(encoder, painting[0])
    off = float(np.linalg.norm(told - expected) / np.linalg.norm(expected))
    if not off <= MAX_STATISTICS:
        raise ModelError(
            f"The style encoder {encoder.path.name} tells statistics that are {off:.2%} off those "
            f"of torch; at most {MAX_STATISTICS:.0%} is allowed."
        )


def _style(net: nn.Module, model: ModelSpec) -> NDArray[np.float32] | None:
    if not model.style_size:
        return None
    if model.style_input == "statistics":
        painting = torch.from_numpy(next(_pictures(model.stride)))
        with torch.inference_mode():
            told: torch.Tensor = StyleEncoderNet(net.cpu()).eval()(painting)
        return np.asarray(told, np.float32)
    weights = np.arange(1, model.style_size + 1, dtype=np.float32)
    return np.asarray(weights[None] / weights.sum(), np.float32)


def _pictures(stride: int) -> Iterator[NDArray[np.uint8]]:
    """(1, H, W, 3) each: smooth colours with texture, noise, a gradient, black and white as a
    camera gives them, and exactly black and white."""
    rng = np.random.default_rng(0)
    for height, width in _SIZES:
        height, width = (max(2, -(-side // stride)) * stride for side in (height, width))
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
