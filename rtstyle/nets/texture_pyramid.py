"""The texture network of Ulyanov et al. 2016: a pyramid of pictures, joined from coarse to fine."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rtstyle.nets.layers import Chain, Conv, ConvNorm, InstanceNorm, MakeNorm, upsample


class TexturePyramid(nn.Module):
    """The stylizing generator of Ulyanov et al., "Texture Networks" (ICML 2016), §3: the photograph
    at every scale passes three convolutions, and from the coarsest scale on what was painted is
    enlarged, normed and joined with the next finer one, `width` channels more at each.

    It has the instance norm of its authors' later paper (2016/17, §2) in place of batch norm, and
    reflection in place of circular padding, which would paint one border like the opposite. The
    paper's noise maps are left out: new noise for every frame would flicker, and the grain that
    every model adds to its picture gives strokes their places.

    With `styles` S it paints S styles and every mix of them by conditional instance norm.

    (N, 3, H, W) float RGB in [0, 1], and (N, S) float weights if there are styles
    → (N, 3, H, W) float, about [0, 1], not clamped. H and W are multiples of 2^(scales − 1), and at
    least twice that.
    """

    def __init__(self, *, width: int = 8, scales: int = 6, styles: int = 0) -> None:
        super().__init__()
        self.options = {"width": width, "scales": scales}
        if styles:
            self.options["styles"] = styles
        self.style_size, self.stride = styles, 2 ** (scales - 1)
        norm = partial(InstanceNorm, styles=styles)
        self.coarsest = _block(3, width, norm)
        self.joins = nn.ModuleList(_Join(scale * width, width, norm) for scale in range(1, scales))
        self.out = Conv(width * scales, 3, 1)
        nn.init.constant_(self.out.bias, 0.5)  # type: ignore[arg-type]  # start at mid grey

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        pictures = [x]  # (N, 3, H, W), each half as high and wide as the one before
        for _ in self.joins:
            pictures.append(F.avg_pool2d(pictures[-1], 2))
        painted = self.coarsest(pictures.pop(), style)
        for join in self.joins:
            painted = join(painted, pictures.pop(), style)
        out: Tensor = self.out(painted)  # of (N, scales · width, H, W)
        return out


class _Join(nn.Module):
    """What was painted so far, `channels` of it, and the photograph at twice its size → `width`
    channels more at that size. Norms before the two meet balance their pulls."""

    def __init__(self, channels: int, width: int, norm: MakeNorm) -> None:
        super().__init__()
        self.look = _block(3, width, norm)
        self.coarse, self.fine = norm(channels), norm(width)
        self.convs = _block(channels + width, channels + width, norm)

    def forward(self, painted: Tensor, photo: Tensor, style: Tensor | None) -> Tensor:
        coarse = self.coarse(upsample(painted), style)
        fine = self.fine(self.look(photo, style), style)
        out: Tensor = self.convs(torch.cat([coarse, fine], 1), style)
        return out


def _block(c_in: int, c_out: int, norm: MakeNorm) -> Chain:
    return Chain(
        ConvNorm(c_in, c_out, norm=norm),
        ConvNorm(c_out, c_out, norm=norm),
        ConvNorm(c_out, c_out, 1, norm=norm),
    )
