"""StyleBank (Chen et al., CVPR 2017).

As the paper writes it, for a plain CPU in real time, and with a style for each region of a frame.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rtstyle.nets import build_net
from rtstyle.nets.layers import (
    Chain,
    Conv,
    ConvNorm,
    LayerNorm,
    Residual,
    smooth_upsample,
    upsample,
)


class Banks(nn.Module):
    """One 3×3 convolution for every style (Chen et al. 2017, §3.1).

    Takes (N, C, H, W) and either weights over the styles (N, S), which mix the kernels before the
    convolution and so cost the same as one style (linear fusion, §4.3), or maps (N, S, h, w), which
    choose the style place by place (region-specific fusion) at the cost of all of them.
    """

    def __init__(self, styles: int, channels: int) -> None:
        super().__init__()
        self.styles, self.channels = styles, channels
        scale = (2 / (9 * channels)) ** 0.5
        self.weight = nn.Parameter(torch.randn(styles, channels * 9 * channels) * scale)
        self.bias = nn.Parameter(torch.zeros(styles, channels))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        patches = _patches(x)  # (N, 9C, H·W)
        if style.dim() == 2:
            kernel = (style @ self.weight).view(len(style), self.channels, -1)
            y = kernel.to(x.dtype) @ patches + (style @ self.bias)[:, :, None]
        else:
            maps = F.interpolate(style, x.shape[2:], mode="nearest").flatten(2)  # (N, S, H·W)
            kernels = self.weight.view(self.styles, self.channels, -1)
            every = (
                torch.einsum("sck,nkl->nscl", kernels.to(x.dtype), patches)
                + self.bias[None, :, :, None]
            )
            y = (every * maps[:, :, None]).sum(1)
        return y.view(x.shape).to(x.dtype)


def _patches(x: Tensor) -> Tensor:
    """The 3×3 surroundings of every position: (N, C, H, W) → (N, 9C, H·W)."""
    height, width = x.shape[2:]
    padded = F.pad(x, (1, 1, 1, 1), mode="reflect")
    shifted = [padded[:, :, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return torch.cat(shifted, 1).flatten(2)


class StyleBank(nn.Module):
    """An auto-encoder that knows no style, and between its halves a bank of filters for each.

    (N, 3, H, W) float RGB in [0, 1] and (N, S) weights or (N, S, h, w) maps
    → (N, 3, H, W) float, not clamped. H and W are multiples of 4. `width` 32 is the paper's net.
    """

    stride = 4

    def __init__(self, *, styles: int, width: int = 32) -> None:
        super().__init__()
        self.options = {"styles": styles, "width": width}
        self.style_size = styles
        self.encoder = Chain(
            ConvNorm(3, width, 9),
            ConvNorm(width, 2 * width, stride=2),
            ConvNorm(2 * width, 4 * width, stride=2),
        )
        self.banks = Banks(styles, 4 * width)
        self.up1 = ConvNorm(4 * width, 2 * width)
        self.up2 = ConvNorm(2 * width, width)
        self.out = Conv(width, 3, 9)
        nn.init.constant_(self.out.bias, 0.5)  # type: ignore[arg-type]  # start at mid grey

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        return self._decode(self.banks(self.encoder(x), style))

    def reconstruct(self, x: Tensor) -> Tensor:
        """The picture through encoder and decoder alone, which training holds to be itself."""
        return self._decode(self.encoder(x))

    def _decode(self, x: Tensor) -> Tensor:
        x = self.up2(upsample(self.up1(upsample(x))))
        out: Tensor = self.out(x)
        return out


class FastStyleBank(nn.Module):
    """StyleBank at the resolutions of `Fast`, with banks at an eighth and at a quarter.

    After the banks a picture is normed as a whole: an instance norm would take away the channels'
    means that a bank has set, which are the palette.

    (N, 3, H, W) float RGB in [0, 1] and (N, S) weights or (N, S, h, w) maps
    → (N, 3, H, W) float, not clamped. H and W are multiples of 8, and at least 16.
    """

    stride = 8

    def __init__(
        self, *, styles: int, width: int = 32, deep: int = 96, blocks: int = 2, tail: int = 24
    ) -> None:
        super().__init__()
        self.options = {
            "styles": styles, "width": width, "deep": deep, "blocks": blocks, "tail": tail,
        }  # fmt: skip
        self.style_size = styles
        self.stem = ConvNorm(3 * 4 * 4, width)
        self.down = ConvNorm(width, deep, stride=2)
        self.encoder = Chain(*(Residual(deep) for _ in range(blocks)))
        self.fine_banks, self.banks = Banks(styles, width), Banks(styles, deep)
        norm = LayerNorm
        self.fine_norm, self.norm = norm(width), norm(deep)
        self.decoder = Chain(*(Residual(deep, norm=norm) for _ in range(blocks)))
        self.merge = ConvNorm(width + deep, width, norm=norm)
        self.refine = Residual(width, norm=norm)
        self.up = ConvNorm(width, tail, norm=norm, padding="replicate")
        self.out = Conv(tail, 3, padding="replicate")
        nn.init.constant_(self.out.bias, 0.5)  # type: ignore[arg-type]  # start at mid grey

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        fine, coarse = self._encode(x)
        fine, coarse = self.fine_banks(fine, style), self.banks(coarse, style)
        return self._decode(self.fine_norm(fine), self.norm(coarse))

    def reconstruct(self, x: Tensor) -> Tensor:
        """The picture through encoder and decoder alone, which training holds to be itself."""
        return self._decode(*self._encode(x))

    def _encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        fine = self.stem(F.pixel_unshuffle(x, 4))  # (N, width, H/4, W/4)
        return fine, self.encoder(self.down(fine))  # (N, deep, H/8, W/8)

    def _decode(self, fine: Tensor, coarse: Tensor) -> Tensor:
        x = smooth_upsample(self.decoder(coarse))
        x = self.refine(self.merge(torch.cat([fine, x], 1)))
        x = self.up(smooth_upsample(x))  # (N, tail, H/2, W/2)
        out: Tensor = self.out(smooth_upsample(x))
        return out


class Regions(nn.Module):
    """The net `bank`, made with `options`, and a map of which styles paint where (Chen et al. 2017,
    §4.3, region-specific fusion). Encoder and decoder see the frame as a whole, so no seam shows.

    `maps` (S, height, width) holds the weights of the styles in every place and is stretched over
    frames of any size: (N, 3, H, W) → (N, 3, H, W) float, not clamped.
    """

    def __init__(self, *, bank: str, options: dict[str, Any], height: int, width: int) -> None:
        super().__init__()
        self.options = {"bank": bank, "options": options, "height": height, "width": width}
        self.net = build_net(bank, **options)
        self.stride = self.net.stride
        self.maps = nn.Buffer(torch.zeros(int(options["styles"]), height, width))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x, self.maps.expand(len(x), -1, -1, -1))
        return out
