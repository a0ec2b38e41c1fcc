"""What torch makes of frames that are hard to get right: what a model file is held against."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rtstyle.errors import ModelError
from rtstyle.model.spec import ModelSpec
from rtstyle.nets.contract import Contract
from rtstyle.nets.contract import StyleEncoder as StyleEncoderNet
from rtstyle.style.encoder import StyleEncoder, encode

# Frames, style vector, and the stylized frames that torch gives.
Samples = list[tuple[NDArray[np.uint8], NDArray[np.float32] | None, NDArray[np.uint8]]]

MAX_STATISTICS = 0.01  # relative, of what a style encoder gives
_SIZES = ((64, 96), (160, 128), (32, 224))  # rounded up to the stride, at least two


def reference_samples(net: nn.Module, model: ModelSpec) -> Samples:
    """Frames (1, H, W, 3) of all kinds, each with the net's style vector and what it gives.

    Without the grain there are no exactly flat ones: of those, instance norm paints nothing but
    the rounding of each runtime.
    """
    reference = Contract(net.cpu()).eval()
    style = _style(net, model)
    frames = [f for f in _pictures(model.stride) if model.grain or np.ptp(f)]
    values = {"style": style, "strength": np.ones(1, np.float32)}
    _, *others = model.input_shapes(1, model.stride, model.stride)
    inputs = [torch.from_numpy(values[name]) for name in others]
    with torch.inference_mode():
        return [(f, style, reference(torch.from_numpy(f), *inputs).numpy()) for f in frames]


def require_same_statistics(net: nn.Module, encoder: StyleEncoder) -> None:
    """Raises `ModelError` when the style encoder's file gives other statistics than the net."""
    reference = StyleEncoderNet(net.cpu()).eval()
    painting = next(_pictures(encoder.stride))
    with torch.inference_mode():
        expected = reference(torch.from_numpy(painting)).numpy()
    found = encode(encoder, painting[0])
    off = float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
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
            statistics: torch.Tensor = StyleEncoderNet(net.cpu()).eval()(painting)
        return np.asarray(statistics, np.float32)
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
