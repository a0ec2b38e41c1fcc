"""StyleBank at a cost that a plain CPU runs in real time."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rtstyle.nets.layers import Chain, Conv, ConvNorm, LayerNorm, Residual, smooth_upsample
from rtstyle.nets.stylebank import Banks


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
