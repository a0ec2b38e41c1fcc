"""Discriminators: what tells painted pictures from real ones, and the losses on both sides."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rtstyle.nets.layers import trainable_instance_norm

Seen = Tensor | Mapping[str, Tensor]  # pictures, or features of them by layer


class PatchCritic(nn.Module):
    """A small patch discriminator (Isola et al. 2017, §3.2.2): a verdict on every patch of 34
    pixels, of 16 with one `layers` less.

    (N, channels, H, W) float, H and W at least 32 → (N, 1, h, w): 1 for real, 0 for painted.
    """

    def __init__(self, channels: int = 3, *, width: int = 32, layers: int = 2) -> None:
        super().__init__()
        widths = [channels, *(width * 2**i for i in range(layers + 1))]
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, 4, 2 if i < layers else 1, 1)
            for i, (a, b) in enumerate(pairwise(widths))
        )
        self.out = nn.Conv2d(widths[-1], 1, 4, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        for i, conv in enumerate(self.convs):
            x = conv(x)
            x = F.leaky_relu(trainable_instance_norm(x, eps=1e-5) if i else x, 0.2)
        out: Tensor = self.out(x)
        return out.float()


class FeatureCritic(nn.Module):
    """A verdict on what the perceptual network sees (Sauer et al. 2021, "Projected GANs converge
    faster"): it needs not learn to see, so that hundreds of updates do what takes a critic of
    pixels many thousands. A small head for each layer.

    {layer: (N, C, h, w)} → (N, layers, H, W), as large as the largest layer: 1 for real.
    """

    def __init__(self, channels: Mapping[str, int], *, width: int = 48) -> None:
        super().__init__()
        norm = nn.utils.parametrizations.spectral_norm
        self.heads = nn.ModuleDict({
            layer: nn.Sequential(
                norm(nn.Conv2d(count, width, 1)), nn.LeakyReLU(0.2),
                norm(nn.Conv2d(width, width, 3, padding=1)), nn.LeakyReLU(0.2),
                nn.Conv2d(width, 1, 1),
            )
            for layer, count in channels.items()
        })  # fmt: skip

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        verdicts = []
        for layer, head in self.heads.items():
            x = features[layer].float()
            # of one length everywhere, or bright layers would drown the others (Zhang et al. 2018)
            verdicts.append(head(F.normalize(x, dim=1) * x.shape[1] ** 0.5))
        size = max(v.shape[2:] for v in verdicts)
        return torch.cat([F.interpolate(v, size) for v in verdicts], 1).float()


# Least squares (Mao et al. 2017, eq. 9).


def fooling(critic: nn.Module, painted: Seen) -> Tensor:
    """How far the critic is from taking the painted pictures for real → (N,)."""
    verdict: Tensor = critic(painted)
    return (verdict - 1).square().mean((1, 2, 3))


def telling(critic: nn.Module, real: Seen, painted: Seen) -> Tensor:
    """How badly the critic tells real from painted pictures, a number."""
    wrong: Tensor = (critic(real) - 1).square().mean() + critic(painted).square().mean()
    return wrong / 2


class Pool:
    """The last `size` painted pictures, which a critic sees again half of the time (Shrivastava et
    al. 2017). Not part of checkpoints."""

    def __init__(self, size: int = 50) -> None:
        self._size, self._kept = size, list[Tensor]()

    def swap(self, pictures: Tensor, generator: torch.Generator) -> Tensor:
        """The pictures (N, …), each exchanged for an older one half of the time."""
        out = []
        for picture in pictures:
            if len(self._kept) < self._size:
                self._kept.append(picture)
            elif torch.rand((), generator=generator) < 0.5:
                at = int(torch.randint(len(self._kept), (), generator=generator))
                picture, self._kept[at] = self._kept[at], picture
            out.append(picture)
        return torch.stack(out)
