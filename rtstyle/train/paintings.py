"""What a training paints towards: a fixed set of paintings, or any painting at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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


class Styles(Protocol):
    """Where the styles of a batch come from."""

    def draw(self, rng: np.random.Generator, photo: Tensor) -> Drawn:
        """Styles for the photographs (N, 3, H, W) of a batch."""


class FixedPaintings:
    """A random painting of the set for every picture; every fourth batch blends two (Dumoulin et
    al. 2017, §3.3, train without; with it a mix is as steady as what it mixes).

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
        batch = len(photo)
        whole = np.ones(batch, np.float32)
        if self._count == 1:
            return self._drawn([(np.zeros(batch, np.int64), whole)])
        first, second = self._pick(rng, batch), self._pick(rng, batch)
        if rng.integers(_BLEND_EVERY):
            return self._drawn([(first, whole)])
        share = rng.uniform(0, 1, batch).astype(np.float32)
        return self._drawn([(first, share), (second, 1 - share)])

    def _pick(self, rng: np.random.Generator, batch: int) -> NDArray[np.int64]:
        # without repeats as long as there are styles enough: each batch sees many
        if self._shares is None:
            return rng.permutation(max(self._count, batch))[:batch] % self._count
        return rng.choice(self._count, batch, replace=batch > self._count, p=self._shares)

    def _drawn(self, parts: list[tuple[NDArray[np.int64], NDArray[np.float32]]]) -> Drawn:
        vector = torch.zeros(len(parts[0][0]), self._style_size, device=self._device)
        targets = []
        for chosen, shares in parts:
            index, share = (torch.from_numpy(a).to(self._device) for a in (chosen, shares))
            if self._style_size:
                vector[torch.arange(len(index)), self._first + index] += share
            targets.append((share, {name: kept[index] for name, kept in self._targets.items()}))
        return Drawn(vector if self._style_size else None, tuple(targets))
