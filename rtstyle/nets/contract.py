"""The model contract around any net: pictures in, pictures out, all processing inside."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Contract(nn.Module):
    """Wraps a net so that it takes and gives uint8 pictures, as every exported model does.

    (N, H, W, 3) uint8 RGB → the same. A net that takes a style gets (N, S) float32, one that mixes
    in feature space (N,) float32 too. H and W are multiples of `net.stride`. The grain is added
    unless `net.grain` is False, as it is for a net of another project, which never saw it; `grain`
    is that of the size where it was kept.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.grain = Grain() if getattr(net, "grain", True) else None

    def forward(
        self,
        frame: Tensor,
        style: Tensor | None = None,
        strength: Tensor | None = None,
        grain: Tensor | None = None,
    ) -> Tensor:
        conditions = [value for value in (style, strength) if value is not None]
        if grain is None and self.grain is not None:
            grain = self.grain(frame.shape[1], frame.shape[2])
        x = _to_float(frame)
        if grain is not None:
            x = x + grain
        y: Tensor = self.net(x * (1 / 255), *conditions)
        return (y.float() * 255).clamp(0, 255).round().permute(0, 2, 3, 1).to(torch.uint8)


class StyleEncoder(nn.Module):
    """The part of an AdaIN net that turns a painting into its style vector, as a model of its own.

    (N, H, W, 3) uint8 RGB → (N, S) float32. H and W are multiples of `net.stride`.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, painting: Tensor) -> Tensor:
        style: Tensor = self.net.encode(_to_float(painting) * (1 / 255))  # type: ignore[operator]
        return style.float()


class Grain(nn.Module):
    """What the canvas adds to a picture: smooth blotches of about 8 pixels, 1.5 grey levels high,
    the same for every picture of a size. (height, width) → (H, W) float in grey levels.

    Where a photograph is flat, a net has nothing that could say where its strokes belong, and
    fills the sky with a regular weave; a picture that is exactly flat has no variance, and instance
    norm would blow up whatever a runtime's rounding left of it. The grain is the place of strokes,
    as the noise that texture networks are given (Ulyanov et al. 2016), and stays when a camera
    trembles. All its values are multiples of 2⁻¹⁴, so every runtime calculates it exactly.
    """

    apart = 8  # pixels, from knot to knot
    period = 512  # pixels, after which it repeats

    def __init__(self) -> None:
        super().__init__()
        side = self.period // self.apart
        # Mean 0, a deviation of 2.3 grey levels about a bell curve: each the sum of four bytes of a
        # sequence that stays the same for ever.
        numbers = hashlib.shake_128(b"grain").digest(4 * side * side)
        sums = torch.frombuffer(bytearray(numbers), dtype=torch.uint8).view(side, side, 4).sum(-1)
        self.knots = nn.Buffer((sums - 510).to(torch.float32) * (1 / 64), persistent=False)

    def forward(self, height: int, width: int) -> Tensor:
        down, across = (
            torch.arange((size + self.apart - 1) // self.apart, device=self.knots.device)
            for size in (height, width)
        )
        knots = self.knots[down % len(self.knots)][:, across % len(self.knots)]
        smooth = F.interpolate(knots[None, None], scale_factor=float(self.apart), mode="bilinear")
        return smooth[0, 0, :height, :width]


def _to_float(frame: Tensor) -> Tensor:
    """(N, H, W, 3) uint8 → (N, 3, H, W) float in grey levels."""
    # The type changes first: TensorRT refuses to transpose uint8.
    return frame.to(torch.float32).permute(0, 3, 1, 2)
