"""Maximum mean discrepancy with the linear kernel: mean activations alone."""

from __future__ import annotations

from torch import Tensor

from rtstyle.train.style_losses import flat


class LinearMMD:
    """|μ − μ_s|² / |μ_s|², the MMD of k(x, y) = xᵀy (Li et al. 2017, §4.1)."""

    def describe(self, features: Tensor) -> Tensor:
        return flat(features).mean(2)  # (N, C)

    def distance(self, features: Tensor, target: Tensor) -> Tensor:
        return (self.describe(features) - target).square().sum(1) / target.square().sum(1)
