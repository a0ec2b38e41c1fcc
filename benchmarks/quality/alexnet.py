"""A judge that no net here is trained on: AlexNet, by LPIPS and by Gram matrices.

Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", with
their linear heads (version 0.1): squared distances of features of unit length, weighted channel by
channel.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from rtstyle.errors import InputNotFoundError, TrainingError
from rtstyle.train.style_losses import Features

# number in torchvision's `features`: stride, padding, and whether a 3×3 max pool of 2 comes first
_CONVOLUTIONS = {0: (4, 2, False), 3: (1, 2, True), 6: (1, 1, True), 8: (1, 1, False),
                 10: (1, 1, False)}  # fmt: skip
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of colours in [-1, 1]


class AlexNet:
    """AlexNet with the heads of LPIPS, from a safetensors file with the tensors features.N.weight,
    features.N.bias and linK.weight.

    Raises `InputNotFoundError` when there is no file and `TrainingError` when it holds another net.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise InputNotFoundError(
                f"There are no AlexNet weights at {path}. torchvision's alexnet with the LPIPS "
                "heads of richzhang/PerceptualSimilarity (BSD), as one safetensors file, is "
                "expected."
            )
        try:
            weights = {name: value.float() for name, value in load_file(path).items()}
            self._layers = [
                (weights[f"features.{n}.weight"], weights[f"features.{n}.bias"], *how)
                for n, how in _CONVOLUTIONS.items()
            ]
            self._heads = [weights[f"lin{k}.weight"] for k in range(len(self._layers))]
        except (OSError, SafetensorError, KeyError) as error:
            raise TrainingError(
                f"{path} holds no AlexNet with LPIPS heads ({error}); one safetensors file with "
                "features.0.weight to features.10.bias and lin0.weight to lin4.weight is expected."
            ) from error

    def features(self, x: Tensor) -> Features:
        """(N, 3, H, W) float RGB in [0, 1] → relu1 to relu5. H and W are at least 64."""
        x = (2 * x - 1 - x.new_tensor(_SHIFT).view(3, 1, 1)) / x.new_tensor(_SCALE).view(3, 1, 1)
        found: Features = {}
        for k, (weight, bias, stride, padding, pooled) in enumerate(self._layers, start=1):
            if pooled:
                x = F.max_pool2d(x, 3, 2)
            x = F.relu(F.conv2d(x, weight, bias, stride, padding))
            found[f"relu{k}"] = x
        return found

    def lpips(self, first: Tensor, second: Tensor) -> Tensor:
        """How unlike two pictures look, from 0 on: both (N, 3, H, W) float in [0, 1] → (N,)."""
        pairs = zip(self.features(first).values(), self.features(second).values(), strict=True)
        layers = [
            ((_unit(a) - _unit(b)).square() * head).sum(1).mean((1, 2))
            for (a, b), head in zip(pairs, self._heads, strict=True)
        ]
        return torch.stack(layers).sum(0)


def _unit(x: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    return x / (norm + 1e-10)
