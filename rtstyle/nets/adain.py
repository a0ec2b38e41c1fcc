"""Adaptive instance normalisation (Huang & Belongie, ICCV 2017), as the paper writes it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rtstyle.nets.layers import Conv, upsample
from rtstyle.nets.statistics import Encoder, adaptive_instance_norm, statistics


class AdaIN(nn.Module):
    """Any painting as a style: relu4_1 of the picture is given the statistics of the painting's,
    and a decoder that mirrors the encoder, without norms, turns that into a picture.

    The encoder's weights are the perceptual network's. `channels` are its widths: (64, 128, 256,
    512) is VGG-19, the default the sixteenfold compressed one.

    (N, 3, H, W) float RGB in [0, 1], (N, S) statistics and (N,) strength, 1 by default
    → (N, 3, H, W) float, not clamped. H and W are multiples of 8, and at least 32.
    """

    stride = 8
    image_size = 448  # pixels of a style image's short side, which decides the strokes' size

    def __init__(self, *, channels: Sequence[int] = (16, 32, 64, 128)) -> None:
        super().__init__()
        self.options = {"channels": list(channels)}
        c1, c2, c3, c4 = channels
        self.style_size = 2 * c4
        self.encoder = Encoder(channels)
        self.deep = Conv(c4, c3)
        self.third = nn.ModuleList([Conv(c3, c3), Conv(c3, c3), Conv(c3, c3), Conv(c3, c2)])
        self.second = nn.ModuleList([Conv(c2, c2), Conv(c2, c1)])
        self.first = Conv(c1, c1)
        self.out = Conv(c1, 3)

    def encode(self, painting: Tensor) -> Tensor:
        """The style vector of a painting: (N, 3, H, W) → (N, S)."""
        return torch.cat(statistics(self.encoder(painting)[-1]), 1)

    def forward(self, x: Tensor, style: Tensor, strength: Tensor | None = None) -> Tensor:
        content = self.encoder(x)[-1]  # (N, c4, H/8, W/8)
        if strength is not None:
            own = torch.cat(statistics(content), 1)
            style = own + (style - own) * strength[:, None]
        mean, deviation = style.chunk(2, dim=1)
        x = F.relu(self.deep(adaptive_instance_norm(content, mean, deviation)))
        x = upsample(x)
        for conv in self.third:
            x = F.relu(conv(x))
        x = upsample(x)  # (N, c2, H/2, W/2)
        for conv in self.second:
            x = F.relu(conv(x))
        out: Tensor = self.out(F.relu(self.first(upsample(x))))
        return out
