"""Style as a distribution of activations (Li et al. 2017, "Demystifying Neural Style Transfer").

Maximum mean discrepancy with three kernels, and the statistics of batch norm.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from rtstyle.train.style_losses import flat

_WAVES = 128


class GaussianMMD:
    """The MMD of k(x, y) = exp(−|x − y|² / d²) (Li et al. 2017, §4.1), d² the painting's mean
    squared distance between positions.

    In time linear in the number of positions: the kernel is a mean over random waves, k(x, y) =
    E cos w(x − y) with w ~ N(0, 2/d²) (Rahimi & Recht 2007), so the MMD is the squared distance of
    mean cosines and sines. Pairs of positions, the paper's way to the same end, would have to be
    drawn anew for every step: what is fixed can be met by copying one position to the other.

    The kernel is at most 1, so the result needs no further division.
    """

    def describe(self, features: Tensor) -> Tensor:
        """Mean cosines and sines with the bandwidth d as a last number: (N, 2 · 128 + 1)."""
        x = flat(features)
        bandwidth = (2 * x.var(2, correction=0).sum(1, keepdim=True) + 1e-12).sqrt()  # (N, 1)
        return torch.cat([_means(x, bandwidth), bandwidth], 1)

    def distance(self, features: Tensor, target: Tensor) -> Tensor:
        kept, bandwidth = target[:, :-1], target[:, -1:]
        return (_means(flat(features), bandwidth) - kept).square().sum(1) / _WAVES


def _means(x: Tensor, bandwidth: Tensor) -> Tensor:
    """Mean cosine and sine of every wave: (N, C, L) and (1 or N, 1) → (N, 256)."""
    waves = _waves(x.shape[1]).to(x.device)
    phases = waves @ (x / bandwidth[:, :, None])  # (N, 128, L)
    return torch.cat([phases.cos().mean(2), phases.sin().mean(2)], 1)


@cache
def _waves(channels: int) -> Tensor:
    """Always the same random waves for features of that many channels: (128, C)."""
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode(False):  # kept, and needed for gradients later
        return torch.randn(_WAVES, channels, generator=generator) * 2**0.5


# Maximum mean discrepancy with the linear kernel: mean activations alone.


class LinearMMD:
    """|μ − μ_s|² / |μ_s|², the MMD of k(x, y) = xᵀy (Li et al. 2017, §4.1)."""

    def describe(self, features: Tensor) -> Tensor:
        return flat(features).mean(2)  # (N, C)

    def distance(self, features: Tensor, target: Tensor) -> Tensor:
        return (self.describe(features) - target).square().sum(1) / target.square().sum(1)


# Maximum mean discrepancy with a polynomial kernel of degree two.


class PolynomialMMD:
    """The MMD of k(x, y) = (xᵀy + c)² over the painting's own energy (Li et al. 2017, §4.1).

    That kernel compares second moments M and, 2c times, means μ: |M − M_s|² + 2c |μ − μ_s|². With
    c = 0 it is the Gram loss. c is the painting's mean |x|², which gives both parts one unit.
    """

    def describe(self, features: Tensor) -> Tensor:
        """Second moments with the mean as a last column: (N, C, C + 1)."""
        x = flat(features)
        moments = x @ x.transpose(1, 2) / x.shape[2]
        return torch.cat([moments, x.mean(2, keepdim=True)], 2)

    def distance(self, features: Tensor, target: Tensor) -> Tensor:
        c = target[:, :, :-1].diagonal(dim1=1, dim2=2).sum(1)  # E|x|²
        weight = torch.ones_like(target)
        weight[:, :, -1] = 2 * c[:, None]
        off = ((self.describe(features) - target).square() * weight).sum((1, 2))
        return off / (target.square() * weight).sum((1, 2))


class BNStatistics:
    """Σ (μ − μ_s)² + (σ − σ_s)² over Σ μ_s² + σ_s² (Li et al. 2017, §4.2, relative). Nothing in it
    is squared twice, so it is safe in half precision."""

    def describe(self, features: Tensor) -> Tensor:
        """(N, 2, C): means and deviations."""
        x = flat(features)
        deviation = (x.var(2, correction=0) + 1e-8).sqrt()  # a root at 0 has no gradient
        return torch.stack([x.mean(2), deviation], 1)

    def distance(self, features: Tensor, target: Tensor) -> Tensor:
        off = (self.describe(features) - target).square().sum((1, 2))
        return off / target.square().sum((1, 2))
