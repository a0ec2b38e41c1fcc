"""How much a picture looks like a painting, and how much of the photograph is left in it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rtstyle.media.images import read_picture
from rtstyle.train.data import resize_short_side, to_float
from rtstyle.train.losses import content_loss
from rtstyle.train.perceptual import CONTENT_LAYER, PerceptualNet
from rtstyle.train.style_losses import Features, describe, style_loss, total_distance


class Losses(NamedTuple):
    """Of one picture, each relative: 0 is the painting's style, the photograph's content."""

    style: float
    content: float


class Judge:
    """Measures pictures against one painting at `style_size` pixels on its shorter side.

    The style loss is that of Gram matrices, whatever loss a net was trained with: only so can nets
    be compared. `key` tells paintings apart.
    """

    def __init__(self, painting: Path, style_size: int, loss_net: PerceptualNet) -> None:
        picture = resize_short_side(read_picture(painting)[0], style_size)
        self.key = hashlib.sha256(picture.tobytes()).hexdigest()[:12]
        self.loss_net = loss_net
        self._gram = style_loss("gram")
        with torch.no_grad():
            self.style: Features = describe(self._gram, loss_net(as_tensor(picture)))

    def losses(self, painted: Tensor, photo: Tensor) -> Losses:
        """Of one painted picture of a photograph, both (1, 3, H, W) float in [0, 1]."""
        with torch.no_grad():
            features, target = self.loss_net(painted), self.loss_net(photo)
            return Losses(
                float(total_distance(self._gram, features, self.style)),
                float(content_loss(features[CONTENT_LAYER], target[CONTENT_LAYER])),
            )


def as_tensor(picture: NDArray[np.uint8]) -> Tensor:
    """(H, W, 3) uint8 → (1, 3, H, W) float in [0, 1]."""
    return to_float(picture[None], torch.device("cpu"))
