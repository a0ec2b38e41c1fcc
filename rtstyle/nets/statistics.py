"""The statistics of a painting as its style: what both AdaIN nets share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_EPS = 1e-5


class Encoder(nn.Module):
    """VGG-19 up to relu4_1 with fixed weights, of any width (Huang & Belongie 2017, §6.1).

    (N, 3, H, W) float RGB in [0, 1] → activations of relu1_1, relu2_1, relu3_1, relu4_1, each
    half as wide and high as the one before.
    """

    CONVS = (2, 2, 4, 1)  # of each stage; of the last one only what relu4_1 needs

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.preprocess = nn.Conv2d(3, 3, 1)
        self.stages = nn.ModuleList()
        c_in = 3
        for c_out, count in zip(channels, self.CONVS, strict=True):
            stage = nn.ModuleList()
            for _ in range(count):
                stage.append(nn.Conv2d(c_in, c_out, 3, padding=1, padding_mode="reflect"))
                c_in = c_out
            self.stages.append(stage)
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> list[Tensor]:
        features = []
        x = self.preprocess(x)
        for k, stage in enumerate(self.stages):
            if k:
                x = F.max_pool2d(x, 2)
            for i, conv in enumerate(stage):  # type: ignore[var-annotated, arg-type]
                x = F.relu(conv(x))
                if i == 0:
                    features.append(x)
        return features


def statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of every channel, in float32: (N, C, H, W) → (N, C), (N, C)."""
    flat = x.float().flatten(2)
    return flat.mean(2), (flat.var(2, correction=0) + _EPS).sqrt()


def vector(features: Sequence[Tensor]) -> Tensor:
    """Means and deviations of all levels side by side: the style vector (N, S)."""
    return torch.cat([part for x in features for part in statistics(x)], 1)


def adaptive_instance_norm(x: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """Give (N, C, H, W) the mean and deviation (N, C) of a style (Huang & Belongie 2017, eq. 8).

    Moving towards a style by α, α·AdaIN(x) + (1 − α)·x, is the same as giving x statistics that
    are moved by α, which is how the nets here do it.
    """
    own_mean, own_deviation = statistics(x)
    scale = deviation / own_deviation
    shift = mean - own_mean * scale
    return (x.float() * scale[..., None, None] + shift[..., None, None]).to(x.dtype)
