"""The model contract around any net: pictures in, pictures out, all processing inside."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Contract(nn.Module):
    """Wraps a net so that it takes and gives uint8 pictures, as every exported model does.

    (N, H, W, 3) uint8 RGB → the same. A net that takes a style gets (N, S) float32, one that mixes
    in feature space (N,) float32 too. H and W are multiples of `net.stride`.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(
        self, frame: Tensor, style: Tensor | None = None, strength: Tensor | None = None
    ) -> Tensor:
        told = [value for value in (style, strength) if value is not None]
        y: Tensor = self.net(_to_float(frame, grained=True), *told)
        return (y.float() * 255).clamp(0, 255).round().permute(0, 2, 3, 1).to(torch.uint8)


class StyleEncoder(nn.Module):
    """The part of an AdaIN net that turns a painting into its style vector, as a model of its own.

    (N, H, W, 3) uint8 RGB → (N, S) float32. H and W are multiples of `net.stride`.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, painting: Tensor) -> Tensor:
        style: Tensor = self.net.encode(_to_float(painting))  # type: ignore[operator]
        return style.float()


def grain(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """What the canvas adds to a picture: smooth blotches of about 8 pixels, 1.5 grey levels high,
    the same for every picture of a size: (H, W) float in grey levels.

    Where a photograph is flat, a net has nothing that could tell its strokes where to be, and
    fills the sky with a regular weave; a picture that is exactly flat has no variance, and instance
    norm would blow up whatever a runtime's rounding left of it. The grain is the place of strokes,
    as the noise that texture networks are given (Ulyanov et al. 2016), and stays when a camera
    trembles. All its values are multiples of 2⁻¹⁴, so every runtime calculates it exactly.
    """
    knots = _KNOTS.to(device)
    down = knots[torch.arange((height + _APART - 1) // _APART, device=device) % len(knots)]
    both = down[:, torch.arange((width + _APART - 1) // _APART, device=device) % len(knots)]
    smooth = F.interpolate(both[None, None], scale_factor=float(_APART), mode="bilinear")
    return smooth[0, 0, :height, :width]


def _knots(side: int) -> Tensor:
    """Values of mean 0 and a deviation of 2.3 about a bell curve: each the sum of four bytes."""
    numbers = hashlib.shake_128(b"grain").digest(4 * side * side)  # the same for ever
    sums = torch.frombuffer(bytearray(numbers), dtype=torch.uint8).view(side, side, 4).sum(-1)
    return (sums - 510).to(torch.float32) * (1 / 64)


_APART = 8  # pixels
_KNOTS = _knots(64)  # so that the grain repeats every 512 pixels


def _to_float(frame: Tensor, *, grained: bool = False) -> Tensor:
    # The type changes first: TensorRT refuses to transpose uint8.
    x = frame.to(torch.float32).permute(0, 3, 1, 2)
    if grained:
        x = x + grain(frame.shape[1], frame.shape[2], frame.device)  # exact: no rounding yet
    return x * (1 / 255)
