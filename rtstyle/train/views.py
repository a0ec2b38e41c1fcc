"""What critics see of a picture where not the picture itself, and what is measured of it: the
representations of the white-box cartoon (Wang & Yu 2020) and of ink wash (He et al. 2018).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from rtstyle.train.data import Photos, to_float

_DIRECTIONS = 16
_AT_ONCE = 1 << 20  # pixels whose greys are counted
_GREY = (0.299, 0.587, 0.114)


def surface(x: Tensor, *, radius: int = 5, eps: float = 0.2) -> Tensor:
    """Smooth colours within edges: the guided filter of a picture by itself (He et al. 2013; Wang &
    Yu 2020, §3.1). (N, 3, H, W) → the same."""

    def mean(y: Tensor) -> Tensor:
        return F.avg_pool2d(F.pad(y, (radius,) * 4, mode="reflect"), 2 * radius + 1, stride=1)

    middle = mean(x)
    variance = mean(x * x) - middle * middle
    a = variance / (variance + eps**2)
    return mean(a) * x + mean(middle - a * middle)


def texture(x: Tensor) -> Tensor:
    """A grey picture by random weights of the colours (Wang & Yu 2020, eq. 6): (N, 3, H, W) →
    (N, 1, H, W)."""
    random = torch.rand(1, 3, 1, 1, device=x.device)
    grey = x.new_tensor(_GREY).view(1, 3, 1, 1)
    weights = 0.8 * grey + 0.2 * random / random.sum()
    return (x * weights).sum(1, keepdim=True)


def flattened(x: Tensor) -> Tensor:
    """Regions of one colour, by mean shift in place of the paper's superpixels: (N, 3, H, W)."""
    pictures = (x.detach().clamp(0, 1) * 255).byte().permute(0, 2, 3, 1).cpu().numpy()
    flat = [cv2.pyrMeanShiftFiltering(np.ascontiguousarray(p), 8, 25, maxLevel=0) for p in pictures]
    return to_float(np.stack(flat).astype(np.uint8), x.device)


def spread(x: Tensor) -> Tensor:
    """Ink as it runs: dark places grow, then blur (He et al. 2018, §3.3). (N, 3, H, W)."""
    dark = -F.max_pool2d(-x, 5, stride=1, padding=2)
    for _ in range(2):  # two boxes are about a Gaussian
        dark = F.avg_pool2d(F.pad(dark, (2,) * 4, mode="replicate"), 5, stride=1)
    return dark


def edges(x: Tensor) -> Tensor:
    """How much of an edge each place is, up to 1 (Sobel of the grey picture): (N, 1, H, W)."""
    kernel = x.new_tensor([[1, 2, 1], [0, 0, 0], [-1, -2, -1]])
    kernels = torch.stack([kernel, kernel.T])[:, None] / 4
    slopes = F.conv2d(F.pad(x.mean(1, keepdim=True), (1,) * 4, mode="replicate"), kernels)
    return torch.tanh(4 * (slopes.square().sum(1, keepdim=True) + 1e-8).sqrt())


def colour_distance(x: Tensor, palette: Tensor) -> Tensor:
    """How far the colours of a batch are from those of a palette, wherever they are: the sliced
    Wasserstein distance (Bonneel et al. 2015). (N, 3, H, W) and (K, 3) → (N,), the same for all."""
    pixels = x.permute(0, 2, 3, 1).reshape(-1, 3)
    chosen = torch.linspace(0, len(pixels) - 1, len(palette), device=x.device).long()
    directions = F.normalize(torch.randn(3, _DIRECTIONS, device=x.device), dim=0)
    found, wanted = ((y @ directions).sort(0).values for y in (pixels[chosen], palette))
    return (found - wanted).abs().mean().expand(len(x))


def in_one_ink(paintings: Photos) -> Photos:
    """The paintings in shades of one ink: every grey becomes the mean colour that it has in all of
    them. Photographs of scrolls are tinted each in another way, and a critic of such takes any
    colour for ink."""
    pixels = paintings.pixels.reshape(-1, 3)
    parts = np.array_split(pixels, len(pixels) // _AT_ONCE + 1)
    counts, sums = np.zeros(256, np.int64), np.zeros((3, 256))
    for part in parts:
        grey = _grey(part)
        counts += np.bincount(grey, minlength=256)
        sums += [np.bincount(grey, part[:, i], 256) for i in range(3)]
    shades = np.stack([_filled(each, counts) for each in sums], axis=1)
    return replace(
        paintings, pixels=np.concatenate([shades[_grey(part)] for part in parts]).ravel()
    )


def _grey(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(N, 3) RGB → (N,)."""
    return np.asarray(cv2.cvtColor(pixels[None], cv2.COLOR_RGB2GRAY)[0], np.uint8)


def begin_in_ink(net: nn.Module, palette: Tensor) -> None:
    """Let a net that paints the difference to the picture with its colours mixed (`Fast` with
    skip=2), and has not learnt how, begin with the picture in the ink of the palette, (K, 3)."""
    mix = getattr(net, "skip", None)
    if (
        not isinstance(mix, nn.Conv2d)
        or mix.bias is None
        or not torch.equal(mix.weight[:, :, 0, 0].cpu(), torch.eye(3))
    ):
        return
    grey = palette.new_tensor(_GREY)
    line = torch.stack([palette @ grey, torch.ones(len(palette), device=palette.device)], 1)
    slope, offset = torch.linalg.lstsq(line, palette).solution  # (3,) each
    with torch.no_grad():
        mix.weight[:, :, 0, 0] = slope[:, None] * grey
        mix.bias.copy_(offset)


def _filled(sums: NDArray[Any], counts: NDArray[Any]) -> NDArray[np.uint8]:
    """The mean of each grey; those that no painting has are between their neighbours."""
    (there,) = counts.nonzero()
    means = np.interp(np.arange(256), there, sums[there] / counts[there])
    return np.asarray(means.round(), np.uint8)
