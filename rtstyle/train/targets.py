"""What a training paints towards: a fixed set of paintings, or any painting at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rtstyle.train.data import Photos, resize_short_side, to_float
from rtstyle.train.style_losses import Features, StyleLoss, total_distance

Picture = NDArray[np.uint8]  # (H, W, 3)
_BLEND_EVERY = 4  # batches


@dataclass(frozen=True, slots=True)
class Drawn:
    """The styles of one batch: the vector (N, S) that tells the net, None for a net of one style,
    and one or two weighted targets a picture."""

    vector: Tensor | None
    targets: tuple[tuple[Tensor, Features], ...]  # weight (N,), target of each layer (N, …)

    def loss(
        self,
        style_loss: StyleLoss,
        painted: Features,
        layers: Mapping[str, float] | None = None,
    ) -> Tensor:
        """The weighted distance of the painted pictures' features to the targets → (N,).
        `layers` weighs each layer."""
        parts = [
            weight * total_distance(style_loss, painted, target, layers)
            for weight, target in self.targets
        ]
        return parts[0] if len(parts) == 1 else parts[0] + parts[1]

    def mix(self, values: Sequence[float]) -> Tensor:
        """What the styles of each picture make of one value a style → (N,)."""
        assert self.vector is not None
        return self.vector @ self.vector.new_tensor(values)


def pick_styles(
    rng: np.random.Generator,
    batch: int,
    count: int,
    shares: NDArray[np.float64] | None = None,
) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """A random one of `count` styles for every picture and how much it weighs; every fourth batch
    blends two (Dumoulin et al. 2017, §3.3, train without; with it a mix is as steady as what it
    mixes). `shares` tell how often each is drawn against the others, and sum to 1."""

    def pick() -> NDArray[np.int64]:
        # without repeats as long as there are styles enough: each batch sees many
        if shares is None:
            return rng.permutation(max(count, batch))[:batch] % count
        return rng.choice(count, batch, replace=batch > count, p=shares)

    whole = np.ones(batch, np.float32)
    if count == 1:
        return [(np.zeros(batch, np.int64), whole)]
    first, second = pick(), pick()
    if rng.integers(_BLEND_EVERY):
        return [(first, whole)]
    share = rng.uniform(0, 1, batch).astype(np.float32)
    return [(first, share), (second, 1 - share)]


class Styles(Protocol):
    """Where the styles of a batch come from."""

    def draw(self, rng: np.random.Generator, photo: Tensor) -> Drawn:
        """Styles for the photographs (N, 3, H, W) of a batch."""


class FixedPaintings:
    """A random painting of the set for every picture, now and then a blend of two.

    `style_size` is how many styles the net has, 0 for a net that takes no vector. The paintings are
    its styles from number `first` on: fewer than all when one is taught to a trained net. `shares`
    tell how often each is drawn against the others; equally often if there are none.
    """

    def __init__(
        self,
        targets: Sequence[Features],
        *,
        style_size: int = 0,
        first: int = 0,
        shares: Sequence[float] | None = None,
    ) -> None:
        self._targets = {
            name: torch.cat([target[name] for target in targets]) for name in targets[0]
        }  # (paintings, …)
        self._count, self._style_size, self._first = len(targets), style_size, first
        self._device = next(iter(self._targets.values())).device
        self._shares = None if shares is None else np.asarray(shares) / sum(shares)

    def draw(self, rng: np.random.Generator, photo: Tensor) -> Drawn:
        return self._drawn(pick_styles(rng, len(photo), self._count, self._shares))

    def _drawn(self, parts: list[tuple[NDArray[np.int64], NDArray[np.float32]]]) -> Drawn:
        vector = torch.zeros(len(parts[0][0]), self._style_size, device=self._device)
        targets = []
        for chosen, shares in parts:
            index, share = (torch.from_numpy(a).to(self._device) for a in (chosen, shares))
            if self._style_size:
                vector[torch.arange(len(index)), self._first + index] += share
            targets.append((share, {name: kept[index] for name, kept in self._targets.items()}))
        return Drawn(vector if self._style_size else None, tuple(targets))


# Styles for a net that takes any painting: crops of many paintings, varied without end.


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
