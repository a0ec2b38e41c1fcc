"""The look of a net by networks that it was not trained on, or that are named beside the figure.

True VGG-16 at Johnson's layers (Johnson et al. 2016, §4.1) is the loss network of newer trainings
and then no judge of them; AlexNet is always one.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.quality.alexnet import AlexNet
from benchmarks.quality.judge import as_tensor
from rtstyle.errors import TrainingError
from rtstyle.media.images import read_picture
from rtstyle.train.data import resize_short_side
from rtstyle.train.gatys import Objective, Weights, optimise
from rtstyle.train.losses import content_loss
from rtstyle.train.perceptual import JOHNSON_CONTENT_LAYER, JOHNSON_STYLE_LAYERS, PerceptualNet
from rtstyle.train.style_losses import describe, style_loss, total_distance


class Look(NamedTuple):
    """Of one picture. Style losses are relative sums over layers, 0 for the painting itself;
    `vgg_content` is relative at relu3_3, 0 for the photograph itself, as `lpips` is."""

    vgg_style: float
    vgg_content: float
    alex_style: float
    lpips: float


class Judges:
    """Measures pictures against one painting, `style_size` pixels on its shorter side. `key` tells
    paintings apart.

    Raises `TrainingError` when `vgg` is another perceptual network than VGG-16.
    """

    def __init__(
        self, painting: Path, style_size: int, *, vgg: PerceptualNet, alexnet: AlexNet
    ) -> None:
        if vgg.kind != "vgg16":
            raise TrainingError(
                f"The look is measured in VGG-16, not in {vgg.kind or 'an unknown network'}; pass "
                "torchvision's vgg16 weights."
            )
        self._vgg, self._alexnet, self._gram = vgg, alexnet, style_loss("gram")
        picture = resize_short_side(read_picture(painting)[0], style_size)
        self.key = hashlib.sha256(picture.tobytes()).hexdigest()[:12]
        style = as_tensor(picture)
        with torch.no_grad():
            self._vgg_style = describe(self._gram, vgg(style, JOHNSON_STYLE_LAYERS))
            self._alex_style = describe(self._gram, alexnet.features(style))

    def optimised(self, photo: Tensor, style_weight: float, steps: int) -> Tensor:
        """The photograph (1, 3, H, W) painted by Gatys et al. in VGG-16, at Johnson's layers."""
        objective = Objective(
            photo, self._vgg_style, loss_net=self._vgg, weights=Weights(style=style_weight),
            content_layer=JOHNSON_CONTENT_LAYER,
        )  # fmt: skip
        return optimise(photo, objective, steps=steps)

    def look(self, painted: Tensor, photo: Tensor) -> Look:
        """Of one painted picture of a photograph, both (1, 3, H, W) float in [0, 1]."""
        layer = JOHNSON_CONTENT_LAYER
        with torch.no_grad():
            features = self._vgg(painted, (*JOHNSON_STYLE_LAYERS, layer))
            content = content_loss(features[layer], self._vgg(photo, (layer,))[layer])
            alex = self._alexnet.features(painted)
            return Look(
                float(total_distance(self._gram, features, self._vgg_style)),
                float(content),
                float(total_distance(self._gram, alex, self._alex_style)),
                float(self._alexnet.lpips(painted, photo)),
            )
