"""A style as the set of its patches: Li & Wand, CVPR 2016, "Combining Markov Random Fields and
Convolutional Neural Networks for Image Synthesis" (CNNMRF). For painting one picture only."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

LAYERS = ("relu3_1", "relu4_1")
_SIDE, _STRIDE = (
    3,
    2,
)  # of the patches in a layer; the paper's own stride is 2 where memory is short
_AT_ONCE = 1024  # patches compared at a time


class NearestPatches:
    """Every patch should look like that patch of the painting which it is most like already, by
    normalised cross-correlation (eq. 2 and 3)."""

    def describe(self, features: Tensor) -> Tensor:
        """(1, C, H, W) → (1, P, 9·C): the painting's patches."""
        return F.unfold(features.float(), _SIDE, stride=_STRIDE).transpose(1, 2)

    def distance(self, features: Tensor, target: Tensor) -> Tensor:
        """Mean squared distance to the matched patches over the painting's own energy → (N,)."""
        patches = self.describe(features)
        known = target[0]
        directions = F.normalize(known, dim=1).T
        with torch.no_grad():
            matched = torch.stack(
                [
                    torch.cat([(part @ directions).argmax(1) for part in picture.split(_AT_ONCE)])
                    for picture in patches
                ]
            )
        return (patches - known[matched]).square().mean((1, 2)) / known.square().mean()
