"""What a style net is trained to minimise beside the style losses: content, total variation,
steadiness from frame to frame, and peaks in its own activations."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rtstyle.nets.layers import InstanceNorm, trainable_instance_norm

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


def unlikeness(painted: Tensor, target: Tensor) -> Tensor:
    """How unlike one layer's features look place by place, after a ReLU from 0 to 2: the squared
    distance of the channels made of unit length (Zhang et al. 2018, "The Unreasonable
    Effectiveness of Deep Features", without their learned weights). (N, C, H, W) twice → (N,)."""
    first, second = (F.normalize(x.float(), dim=1) for x in (painted, target))
    return (first - second).square().sum(1).mean((1, 2))


def tv_loss(x: Tensor) -> Tensor:
    """Total variation: mean squared step to the right and lower neighbour
    (Mahendran & Vedaldi 2015). (N, C, H, W) → (N,)."""
    x = x.float()
    across = (x[..., :, 1:] - x[..., :, :-1]).square().mean((1, 2, 3))
    down = (x[..., 1:, :] - x[..., :-1, :]).square().mean((1, 2, 3))
    return across + down


LIMIT = 5.0  # deviations; droplets reach 17
_ENCODER = 2  # norms that see edges and lights of the photograph, which stand out rightly


class Peaks:
    """Watches the instance norms of a net while it paints.

    A spike in one place raises a channel's deviation and so lowers its values everywhere else,
    which a net learns to use; what remains is a speck that belongs to no style (Karras et al. 2020,
    "Analyzing and improving the image quality of StyleGAN", §2). Instead of other norms, which
    would cost at run time, training holds spikes down.
    """

    def __init__(self, net: nn.Module) -> None:
        norms = [module for module in net.modules() if isinstance(module, InstanceNorm)]
        self._norms = norms[_ENCODER:]
        self._seen: list[Tensor] = []

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Note the spikes of everything painted inside."""
        self._seen = []

        def note(module: InstanceNorm, inputs: tuple[Any, ...], output: Tensor) -> None:
            normed = trainable_instance_norm(inputs[0], eps=module.eps)
            highest = F.adaptive_max_pool2d(normed.abs(), 1).flatten(1)  # far faster than amax
            over = F.relu(highest.float() - LIMIT)  # (N, C)
            self._seen.append(over.square().mean(1))

        hooks = [norm.register_forward_hook(note) for norm in self._norms]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def loss(self) -> Tensor:
        """The squared excess over `LIMIT` of every channel's highest value, mean over channels,
        summed over norms → (N,). Of a net without instance norms 0."""
        return torch.stack(self._seen).sum(0) if self._seen else torch.zeros(1)


_COARSE = 5  # control points a side of the random flow
_LOCAL_PX, _SHIFT_PX = 8.0, 10.0
_NOISE, _GAIN = 0.03, 0.1
_STILL = 0.5  # share of pictures that do not move, in which noise and gain are all there is


@dataclass(frozen=True, slots=True)
class Disturbance:
    """A random smooth motion, a brightness gain and sensor noise for every picture of a batch."""

    grid: Tensor  # (N, H, W, 2) where each output pixel comes from, in [-1, 1]
    inside: Tensor  # (N, 1, H, W) 1 where it comes from within the picture
    gain: Tensor  # (N, 1, 1, 1)
    noise: Tensor  # (N, 3, H, W)

    def warp(self, x: Tensor) -> Tensor:
        """Move a picture: (N, C, H, W) float → the same."""
        return F.grid_sample(
            x, self.grid.to(x.dtype), padding_mode="reflection", align_corners=True
        )

    def photo(self, x: Tensor) -> Tensor:
        """The photograph (N, 3, H, W) as the next frame of a shaky camera would show it."""
        return (self.warp(x) * self.gain + self.noise).clamp(0, 1)


def random_disturbance(like: Tensor, generator: torch.Generator) -> Disturbance:
    """Draw, for a batch (N, 3, H, W), a gain of ±10%, noise of up to 0.03 and, for every other
    picture, a motion of N(0, 8 px) at a coarse grid plus a shift of ±10 px."""
    n, _, height, width = like.shape

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator) * 2 - 1

    pixels = torch.randn((n, 2, _COARSE, _COARSE), generator=generator) * _LOCAL_PX
    pixels = pixels * torch.rand((n, 1, 1, 1), generator=generator)  # calm scenes too
    pixels = pixels + uniform(n, 2, 1, 1) * _SHIFT_PX
    pixels = pixels * (torch.rand((n, 1, 1, 1), generator=generator) >= _STILL)
    flow = F.interpolate(pixels, (height, width), mode="bicubic", align_corners=True)
    scale = torch.tensor([2 / (width - 1), 2 / (height - 1)])
    theta = torch.eye(2, 3).expand(n, 2, 3)
    still = F.affine_grid(theta, [n, 3, height, width], align_corners=True)
    grid = still + flow.permute(0, 2, 3, 1) * scale
    inside = (grid.abs() <= 1).all(-1)[:, None].float()
    sigma = torch.rand((n, 1, 1, 1), generator=generator) * _NOISE
    noise = torch.randn(like.shape, generator=generator) * sigma
    gain = 1 + uniform(n, 1, 1, 1) * _GAIN
    return Disturbance(*(t.to(like.device) for t in (grid, inside, gain, noise)))


def stability_loss(painted: Tensor, painted_next: Tensor, disturbance: Disturbance) -> Tensor:
    """How far the moved painting is from the painting of the moved photograph, inside the picture:
    the root of the mean square of warp(S(x)) − S(warp(x) + n). Both (N, 3, H, W) → (N,).

    Of the same unit as the mean absolute difference that is common here, but led by the places
    that differ most, as the warping error (Lai et al. 2018), a mean of squares, is.
    """
    difference = (disturbance.warp(painted) - painted_next) * disturbance.inside
    norm: Tensor = torch.linalg.vector_norm(difference, dim=(1, 2, 3))
    return norm / math.sqrt(difference[0].numel())
