"""Maximum mean discrepancy with a polynomial kernel of degree two."""

from __future__ import annotations

import torch
from torch import Tensor

from rtstyle.train.style_losses import flat


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
