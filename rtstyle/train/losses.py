"""What a style net is trained to minimise, each term relative: one weight suits all paintings."""

from __future__ import annotations

from torch import Tensor

Features = dict[str, Tensor]


def gram(x: Tensor) -> Tensor:
    """Gram matrix of the channels, divided by the number of values (Johnson et al. 2016, §3.2).

    (N, C, H, W) float → (N, C, C) float32.
    """
    flat = x.float().flatten(2)  # (N, C, H·W)
    n_values = flat.shape[1] * flat.shape[2]
    return flat @ flat.transpose(1, 2) / n_values


def grams(features: Features) -> Features:
    """Gram matrix of every layer."""
    return {name: gram(x) for name, x in features.items()}


def style_loss(painted: Features, style: Features) -> Tensor:
    """Squared distance of the Gram matrices over the style's own energy, summed over layers:
    Σ |G − G_s|² / |G_s|² (Gatys et al. 2015, eq. 5, each layer relative).

    `painted` are features (N, C, H, W), `style` Gram matrices (1 or N, C, C) → (N,).
    """
    per_layer = [
        (gram(painted[name]) - target).square().sum((1, 2)) / target.square().sum((1, 2))
        for name, target in style.items()
    ]
    total = per_layer[0]
    for loss in per_layer[1:]:
        total = total + loss
    return total


def content_loss(painted: Tensor, photo: Tensor) -> Tensor:
    """Squared distance of one layer's features over the photograph's own energy there
    (Gatys et al. 2015, eq. 1, relative). Both (N, C, H, W) → (N,)."""
    photo = photo.float()
    return (painted.float() - photo).square().mean((1, 2, 3)) / photo.square().mean((1, 2, 3))


def tv_loss(x: Tensor) -> Tensor:
    """Total variation: mean squared step to the right and lower neighbour
    (Mahendran & Vedaldi 2015). (N, C, H, W) → (N,)."""
    x = x.float()
    across = (x[..., :, 1:] - x[..., :, :-1]).square().mean((1, 2, 3))
    down = (x[..., 1:, :] - x[..., :-1, :]).square().mean((1, 2, 3))
    return across + down
