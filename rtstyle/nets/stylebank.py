"""StyleBank (Chen et al., CVPR 2017), as the paper writes it, and the banks themselves."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rtstyle.nets.layers import Chain, Conv, ConvNorm, upsample


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
            y = kernel @ patches + (style @ self.bias)[:, :, None]
        else:
            maps = F.interpolate(style, x.shape[2:], mode="nearest").flatten(2)  # (N, S, H·W)
            kernels = self.weight.view(self.styles, self.channels, -1)
            every = torch.einsum("sck,nkl->nscl", kernels, patches) + self.bias[None, :, :, None]
            y = (every * maps[:, :, None]).sum(1)
        return y.view(x.shape)


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
