"""Gram matrices: which channels are active together."""

from __future__ import annotations

from torch import Tensor

from rtstyle.train.style_losses import flat


def gram(features: Tensor) -> Tensor:
    """Gram matrix of the channels, divided by the number of values (Johnson et al. 2016, §3.2).

    (N, C, H, W) float → (N, C, C) float32.
    """
    x = flat(features)
    return x @ x.transpose(1, 2) / (x.shape[1] * x.shape[2])


class Gram:
    """|G − G_s|² / |G_s|² (Gatys et al. 2015, eq. 5, relative)."""

    def describe(self, features: Tensor) -> Tensor:
        return gram(features)

    def distance(self, features: Tensor, target: Tensor) -> Tensor:
        return (gram(features) - target).square().sum((1, 2)) / target.square().sum((1, 2))
