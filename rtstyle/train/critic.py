"""Discriminators: what tells painted pictures from real ones, and the losses on both sides."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rtstyle.nets.layers import trainable_instance_norm


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


# Least squares (Mao et al. 2017, eq. 9).


def fooling(critic: nn.Module, painted: Tensor) -> Tensor:
    """How far the critic is from taking the painted pictures for real → (N,)."""
    verdict: Tensor = critic(painted)
    return (verdict - 1).square().mean((1, 2, 3))


def telling(critic: nn.Module, real: Tensor, painted: Tensor) -> Tensor:
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
