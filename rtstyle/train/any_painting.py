"""Styles for a net that takes any painting: crops of many paintings, varied without end."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rtstyle.train.data import Photos, resize_short_side, to_float
from rtstyle.train.paintings import Drawn, Picture
from rtstyle.train.style_losses import Features

_CROP = 224  # pixels a side
_SHORT_SIDE = (256, 768)  # pixels a painting is scaled to, at random: the size of its strokes
_PHOTO, _RECOLOR, _SELF = 0.15, 0.4, 0.08  # shares of the styles drawn
_FLAT = 10.0  # grey levels of deviation below which a crop has nothing to teach


class AnyPainting:
    """Crops of the paintings at random sizes, turned and recoloured; some photographs too, as a few
    dozen paintings are few; and for some pictures the photograph itself, which teaches the net what
    strength 0 means.

    `encode` gives the style vector of pictures (N, 3, H, W), `describe` what the style loss keeps
    of them.
    """

    def __init__(
        self,
        paintings: Sequence[Picture],
        photos: Photos,
        *,
        encode: Callable[[Tensor], Tensor],
        describe: Callable[[Tensor], Features],
        device: torch.device,
    ) -> None:
        self._paintings, self._photos = paintings, photos
        self._encode, self._describe, self._device = encode, describe, device

    def draw(self, rng: np.random.Generator, photo: Tensor) -> Drawn:
        style = to_float(self.crops(rng, len(photo)), self._device)
        with torch.no_grad():
            vector, target = self._encode(style), self._describe(style)
            own = torch.from_numpy(rng.random(len(photo)) < _SELF).to(photo.device)
            if own.any():
                vector[own] = self._encode(photo[own])
                for name, kept in self._describe(photo[own]).items():
                    target[name][own] = kept
        return Drawn(vector, ((torch.ones(len(photo), device=photo.device), target),))

    def vectors(self, rng: np.random.Generator, count: int) -> Tensor:
        """The style vectors of random styles: (count, S)."""
        with torch.no_grad():
            return torch.cat(
                [self._encode(to_float(self.crops(rng, 1), self._device)) for _ in range(count)]
            )

    def crops(self, rng: np.random.Generator, count: int) -> NDArray[np.uint8]:
        """Random styles as pictures: (count, 224, 224, 3)."""
        return np.stack([self._crop(rng) for _ in range(count)])

    def _crop(self, rng: np.random.Generator) -> Picture:
        while True:
            crop = self._one(rng)
            if rng.random() < _RECOLOR:
                crop = _recolor(crop, self._one(rng), rng)
            if crop.std() > _FLAT:
                return crop

    def _one(self, rng: np.random.Generator) -> Picture:
        if rng.random() < _PHOTO:
            picture = self._photos[int(rng.integers(len(self._photos)))]
        else:
            picture = self._paintings[int(rng.integers(len(self._paintings)))]
        low, high = _SHORT_SIDE
        high = min(high, max(low, round(1.3 * min(picture.shape[:2]))))
        picture = resize_short_side(picture, round(np.exp(rng.uniform(np.log(low), np.log(high)))),
                                    enlarge=True)  # fmt: skip
        y, x = (int(rng.integers(side - _CROP + 1)) for side in picture.shape[:2])
        crop = np.rot90(picture[y : y + _CROP, x : x + _CROP], k=int(rng.integers(4)))
        return np.ascontiguousarray(crop[:, ::-1] if rng.random() < 0.5 else crop)


def _recolor(crop: Picture, other: Picture, rng: np.random.Generator) -> Picture:
    """Another palette: turned hues, or the colour statistics of another picture
    (Reinhard et al. 2001, in Lab)."""
    if rng.random() < 0.5:
        hsv = cv2.cvtColor(crop, cv2.COLOR_RGB2HSV)
        hsv[..., 0] = (hsv[..., 0].astype(int) + int(rng.integers(180))) % 180
        return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.uint8)
    lab, target = (cv2.cvtColor(p, cv2.COLOR_RGB2LAB).astype(np.float32) for p in (crop, other))
    mean, deviation = lab.mean((0, 1)), lab.std((0, 1)) + 1
    lab = (lab - mean) / deviation * (target.std((0, 1)) + 1) + target.mean((0, 1))
    lab = lab.clip(0, 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), np.uint8)
