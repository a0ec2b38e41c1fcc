"""The model contract around any net: pictures in, pictures out, all processing inside."""

from __future__ import annotations

import torch
from torch import Tensor, nn


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
        y: Tensor = self.net(_to_float(frame, dithered=True), *told)
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


def dither(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """A grey level up or down, the same for every picture of a size: (H, W) float in grey levels.

    Every variance of an exactly flat picture is 0, and instance norm, layer after layer, would
    blow up whatever a runtime's rounding left of it. The pattern is the R2 sequence (Roberts 2018)
    in steps of 1/128, so that every runtime calculates it exactly, in half precision too.
    """
    y = torch.arange(height, device=device)[:, None]
    x = torch.arange(width, device=device)
    return ((145 * y + 193 * x) % 256 - 128).to(torch.float32) * (1 / 128)


def _to_float(frame: Tensor, *, dithered: bool = False) -> Tensor:
    # The type changes first: TensorRT refuses to transpose uint8.
    x = frame.to(torch.float32).permute(0, 3, 1, 2)
    if dithered:
        x = x + dither(frame.shape[1], frame.shape[2], frame.device)  # exact: no rounding yet
    return x * (1 / 255)
