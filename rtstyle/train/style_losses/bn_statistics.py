"""Batch-norm statistics: mean and deviation of every channel."""

from __future__ import annotations

import torch
from torch import Tensor

from rtstyle.train.style_losses import flat


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
