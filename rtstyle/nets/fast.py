"""A style net that a plain CPU runs in real time."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rtstyle.nets.layers import (
    BatchNorm,
    Chain,
    Conv,
    ConvNorm,
    InstanceNorm,
    MakeNorm,
    Residual,
    smooth_upsample,
)


class _Coarse(nn.Module):
    """A picture's colours without its details: means of 4×4 pixels, enlarged bilinearly."""

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(F.avg_pool2d(x, 4), scale_factor=4.0, mode="bilinear")


class Fast(nn.Module):
    """Johnson's encoder, residual blocks and decoder moved to lower resolutions, where they cost
    a fifteenth.

    A space-to-depth replaces the 9×9 convolution at full resolution, the residual blocks work at an
    eighth, and a skip from a quarter keeps faces and edges in place. The skip carries features, not
    the picture itself: a net cannot cancel colours added after its instance norms. The decoder
    interpolates and ends in a convolution at full resolution, since pixel shuffles print a grid.

    With `styles` S it paints S styles and every mix of them by conditional instance norm (Dumoulin
    et al. 2017) and takes a style vector. With `norm` "batch" it keeps the photograph's own colours
    and contrast, as a net that imitates a filter must; an instance norm forgets them. With `skip`
    1, which needs batch norm, it paints the difference to the picture, at first none: what it
    leaves alone stays as sharp as it was. With 2 the picture's colours are mixed before, by a
    matrix that is learnt: ink and pencil take colours away, and a difference painted at half the
    size could not take away fine ones. With 3 it is the difference to the picture's colours without
    its details: a program that paints strokes keeps the one and not the other.

    (N, 3, H, W) float RGB in [0, 1], and (N, S) float weights if there are styles
    → (N, 3, H, W) float, about [0, 1], not clamped. H and W are multiples of 8, and at least 16.
    """

    stride = 8

    def __init__(
        self,
        *,
        width: int = 32,
        deep: int = 96,
        blocks: int = 5,
        tail: int = 24,
        styles: int = 0,
        norm: str = "instance",
        skip: int = 0,
    ) -> None:
        super().__init__()
        if skip and norm != "batch":
            raise TypeError(f"skip={skip} needs norm=batch")
        if skip not in (0, 1, 2, 3):
            raise TypeError(f"skip is from 0 to 3, not {skip}")
        if norm not in ("instance", "batch") or (norm == "batch" and styles):
            raise TypeError(f"norm {norm!r} with {styles} styles")
        self.options: dict[str, int | str] = {
            "width": width, "deep": deep, "blocks": blocks, "tail": tail,
        }  # fmt: skip
        if styles:
            self.options["styles"] = styles
        if norm != "instance":
            self.options["norm"] = norm
        if skip:
            self.options["skip"] = skip
        self.style_size = styles
        make: MakeNorm = BatchNorm if norm == "batch" else partial(InstanceNorm, styles=styles)
        self.stem = ConvNorm(3 * 4 * 4, width, norm=make)
        self.down = ConvNorm(width, deep, stride=2, norm=make)
        self.body = Chain(*(Residual(deep, norm=make) for _ in range(blocks)))
        self.merge = ConvNorm(width + deep, width, norm=make)
        self.refine = Residual(width, norm=make)
        self.up = ConvNorm(width, tail, norm=make, padding="replicate")
        self.out = Conv(tail, 3, padding="replicate")
        self.skip: nn.Module | None = nn.Identity() if skip else None
        if skip == 2:
            self.skip = nn.Conv2d(3, 3, 1)
            nn.init.dirac_(self.skip.weight)
            nn.init.zeros_(self.skip.bias)  # type: ignore[arg-type]
        if skip == 3:
            self.skip = _Coarse()
        if skip:
            nn.init.zeros_(self.out.weight)
        # Start at mid grey, or at the picture itself.
        nn.init.constant_(self.out.bias, 0.0 if skip else 0.5)  # type: ignore[arg-type]

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        picture = x
        fine = self.stem(F.pixel_unshuffle(x, 4), style)  # (N, width, H/4, W/4)
        coarse = self.body(self.down(fine, style), style)  # (N, deep, H/8, W/8)
        x = self.merge(torch.cat([fine, smooth_upsample(coarse)], 1), style)
        x = self.refine(x, style)
        x = self.up(smooth_upsample(x), style)  # (N, tail, H/2, W/2)
        out: Tensor = self.out(smooth_upsample(x))  # (N, 3, H, W)
        return out if self.skip is None else self.skip(picture) + out
