"""What a style net is trained to minimise beside the style losses."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_SMALL = 0.02  # of the picture's area


def eased(loss: Tensor, reached: float) -> Tensor:
    """A loss that pulls less the further it is above what can be `reached`. Keeps the shape.

    The relative content loss of a flat or dark crop is large whatever a net does; as it is, such a
    crop would pull harder than all others. The slope is 1 at twice `reached`. (Not for the style:
    that begins far away, and a net would settle for the photograph as it is.)
    """
    return 3 * reached * torch.log1p(loss / reached)


def content_loss(painted: Tensor, photo: Tensor) -> Tensor:
    """Squared distance of one layer's features over the photograph's own energy there
    (Gatys et al. 2015, eq. 1, relative). Both (N, C, H, W) → (N,)."""
    photo = photo.float()
    return (painted.float() - photo).square().mean((1, 2, 3)) / photo.square().mean((1, 2, 3))


def where_loss(painted: Tensor, photo: Tensor, where: Tensor) -> Tensor:
    """`content_loss` of the places that `where` (N, h, w) marks with up to 1, whatever their share
    of the picture: a face is small and decides whether somebody is recognised. Below a share of
    `_SMALL` it counts by its area, or a few pixels at the border would outweigh the picture.
    (N, C, H, W) twice → (N,)."""
    photo = photo.float()
    place = F.interpolate(where[:, None].float(), photo.shape[2:], mode="area")
    share = place.mean((1, 2, 3))
    off = ((painted.float() - photo).square() * place).mean((1, 2, 3))
    energy = (photo.square() * place).mean((1, 2, 3))
    least = 1e-3 * share * photo.square().mean((1, 2, 3)) + 1e-12  # of a black face
    return off / (energy + least) * (share / _SMALL).clamp(max=1)


def tv_loss(x: Tensor) -> Tensor:
    """Total variation: mean squared step to the right and lower neighbour
    (Mahendran & Vedaldi 2015). (N, C, H, W) → (N,)."""
    x = x.float()
    across = (x[..., :, 1:] - x[..., :, :-1]).square().mean((1, 2, 3))
    down = (x[..., 1:, :] - x[..., :-1, :]).square().mean((1, 2, 3))
    return across + down
