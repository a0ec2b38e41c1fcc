"""What "painted like this painting" means, one definition a file; adding one is a file and a line.

All compare distributions of activations (Li et al. 2017, "Demystifying Neural Style Transfer") and
all are relative: each layer's distance is divided by the painting's own energy, so that one weight
suits every painting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pkgutil import resolve_name
from typing import Protocol

import torch
from torch import Tensor

from rtstyle.errors import UsageError

Features = dict[str, Tensor]

STYLE_LOSSES = {
    "gram": "rtstyle.train.style_losses:Gram",
    "mmd-linear": "rtstyle.train.style_losses.mmd:LinearMMD",
    "mmd-poly": "rtstyle.train.style_losses.mmd:PolynomialMMD",
    "mmd-gaussian": "rtstyle.train.style_losses.mmd:GaussianMMD",
    "bn": "rtstyle.train.style_losses.mmd:BNStatistics",
}


class StyleLoss(Protocol):
    """A style loss knows what to keep of a painting and how far a picture is from that.

    Both see one layer's activations (N, C, H, W); sums and results are float32.
    """

    def describe(self, features: Tensor) -> Tensor:
        """What is kept of a layer: (N, …)."""

    def distance(self, features: Tensor, target: Tensor) -> Tensor:
        """Relative distance to what `describe` kept of the paintings (1 or N, …) → (N,)."""


def style_loss(name: str) -> StyleLoss:
    """The style loss of that name. Raises `UsageError` when there is none."""
    if name not in STYLE_LOSSES:
        raise UsageError(f"There is no style loss {name!r}; known are {', '.join(STYLE_LOSSES)}.")
    kind: Callable[[], StyleLoss] = resolve_name(STYLE_LOSSES[name])
    return kind()


def describe(loss: StyleLoss, features: Features) -> Features:
    """What `loss` keeps of every layer."""
    return {name: loss.describe(x) for name, x in features.items()}


def total_distance(
    loss: StyleLoss,
    painted: Features,
    target: Features,
    weights: Mapping[str, float] | None = None,
) -> Tensor:
    """The sum over layers of the distances of `painted` to `target`, each times its weight if there
    are `weights` → (N,)."""
    return torch.stack(
        [
            loss.distance(painted[name], kept) * (1.0 if weights is None else weights[name])
            for name, kept in target.items()
        ]
    ).sum(0)


def flat(features: Tensor) -> Tensor:
    """Activations as one float32 sample a position: (N, C, H, W) → (N, C, H·W)."""
    return features.float().flatten(2)


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
