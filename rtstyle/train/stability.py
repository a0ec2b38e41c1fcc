"""Steadiness learnt from still photographs: what moves or trembles in must not flicker out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

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
