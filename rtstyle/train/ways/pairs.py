"""Pairs of a picture and what another program made of it: a net that imitates the program."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rtstyle.errors import InputNotFoundError, MediaError, TrainingError
from rtstyle.frame import Image
from rtstyle.media.images import read_picture
from rtstyle.media.options import PICTURE_SUFFIXES
from rtstyle.train.critic import PatchCritic, fooling, telling
from rtstyle.train.data import resize_short_side, to_float
from rtstyle.train.losses import unlikeness
from rtstyle.train.preview import SIDE, contact_sheet, stylize
from rtstyle.train.style_losses import describe, style_loss, total_distance
from rtstyle.train.ways import Progress, Terms, Way, Weights

_log = logging.getLogger("rtstyle")

# Texler et al. 2020, §3: L1 4, adversarial 0.5, features 6, of other scales than here. They have no
# texture term. With more of it, strokes that a program places at random, such as hatching, do not
# end as their mean, a veil.
WEIGHTS = {"l1": 8.0, "features": 6.0, "adversarial": 0.2, "texture": 1.0}
MAX_SHORT_SIDE = 720  # pixels; larger pairs are shrunk
_HELD_OUT, _MOST_HELD_OUT = 10, 20  # one pair in so many is kept for the preview, at most so many
_SHOWN = 6  # pairs on the preview
_COMPARED = 4  # pairs by which a style to start from is chosen
_NAMED = 5  # problems that are told
_GRAM = style_loss("gram")


class Pair(NamedTuple):
    """A picture, what was made of it, and where that counts; all of one size."""

    before: Image
    after: Image
    mask: NDArray[np.bool_] | None = None  # (H, W)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFolders:
    """Two folders with pictures of the same names, whatever their suffixes."""

    before: Path
    after: Path

    def open(self, folder: Path, progress: Progress) -> Pairs:
        """Read the pairs. What does not match is left out with a sentence.

        Raises `InputNotFoundError` when a folder is missing, `TrainingError` when no pair is left.
        """
        befores, afters = (_pictures(place) for place in (self.before, self.after))
        names = sorted(befores.keys() & afters.keys())
        if not names:
            raise TrainingError(
                f"No picture in {self.before} has the name of one in {self.after}; the two of a "
                "pair must be called alike."
            )
        if alone := sorted(befores.keys() ^ afters.keys()):
            _log.warning(
                "Left out, as the other folder has none of that name: %s%s.",
                ", ".join(alone[:_NAMED]),
                f" and {len(alone) - _NAMED} more" if len(alone) > _NAMED else "",
            )
        pairs, problems = [], []
        for name in names:
            try:
                pairs.append(read_pair(befores[name], afters[name]))
            except (MediaError, TrainingError) as error:
                problems.append(str(error))
        for problem in problems[:_NAMED]:
            _log.warning("A pair is left out: %s", problem)
        if len(problems) > _NAMED:
            _log.warning("%d more are left out.", len(problems) - _NAMED)
        if not pairs:
            raise TrainingError(f"None of the {len(names)} pairs can be used. {problems[-1]}")
        return Pairs(pairs)


def _pictures(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise InputNotFoundError(f"There is no folder {folder}; one with pictures is expected.")
    return {
        path.stem: path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in PICTURE_SUFFIXES
    }


def read_pair(before: Path, after: Path, mask: Path | None = None) -> Pair:
    """Read a pair of files. Raises `MediaError`, `InputNotFoundError`, and `TrainingError` when
    they are of different sizes."""
    pictures = [read_picture(path)[0] for path in (before, after, mask) if path]
    for path, picture in zip((after, mask), pictures[1:], strict=False):
        if picture.shape != pictures[0].shape:
            (h, w), (height, width) = picture.shape[:2], pictures[0].shape[:2]
            raise TrainingError(
                f"{path} is {w}×{h} pixels, but {before} is {width}×{height}; both must have one "
                "size."
            )
    first, second, *masks = (resize_short_side(p, MAX_SHORT_SIDE) for p in pictures)
    return Pair(first, second, masks[0].max(2) > 127 if masks else None)


class Pairs(Way):
    """The net imitates what was made of the pictures: L1 of the colours, what VGG sees place by
    place (Zhang et al. 2018), the Gram matrices of it, which say what strokes there are wherever
    they lie (Gatys et al. 2015), a small patch discriminator that sees both pictures (Isola et al.
    2017), and stability as elsewhere. Crops are neither turned nor mirrored nor scaled, as strokes
    have a direction and a size."""

    columns: ClassVar = ("l1", "features", "texture", "adversarial", "critic", "stability")
    weights = WEIGHTS

    def __init__(self, pairs: Sequence[Pair]) -> None:
        super().__init__()
        every = _HELD_OUT if len(pairs) >= _HELD_OUT else 0
        held_out = range(every - 1, len(pairs), every)[:_MOST_HELD_OUT] if every else range(0)
        self.taught = [pair for i, pair in enumerate(pairs) if i not in held_out]
        self.shown = [pairs[i] for i in held_out] or list(pairs)

    def attach(self, trainer: Any) -> None:
        super().attach(trainer)
        self.critics["patches"] = PatchCritic(6)

    def nearest(self, init: nn.Module, trainer: Any) -> int | None:
        """The style of `init` whose pictures look most like those that were made."""
        count = int(getattr(init, "style_size", 0))
        if count < 2 or hasattr(init, "encode"):
            return None
        chosen = self.shown[:_COMPARED]
        before, after = (np.stack([middle(picture) for picture in side])
                         for side in zip(*(pair[:2] for pair in chosen), strict=True))  # fmt: skip
        layers = trainer.recipe.style_layers
        with torch.no_grad():
            target = trainer.features(to_float(after, trainer.device), layers)
            far = []
            for style in range(count):
                painted = stylize(init, before, torch.eye(count)[style : style + 1])
                features = trainer.features(to_float(painted, trainer.device), layers)
                far.append(float(sum(relative_l1(features[k], target[k]).mean() for k in layers)))
        return int(np.argmin(far))

    def terms(self) -> tuple[Terms, Weights]:
        trainer, r = self.trainer, self.trainer.recipe
        before, after, mask = self._batch(r.crop_at(trainer.done), r.batch)
        canvas = trainer.canvas(before)
        painted = trainer.paint(before + canvas)
        # outside the mask nothing is asked: there the target is what was painted
        target = after if mask is None else torch.where(mask, after, painted.detach())
        with torch.no_grad():
            wanted = trainer.features(target, r.style_layers)
        features = trainer.features(painted, r.style_layers)
        self._seen = before, target, painted.detach()
        terms = {
            "l1": (painted - target).abs().mean((1, 2, 3)),
            "features": _over_layers(unlikeness, features, wanted, r.style_layers),
            "texture": total_distance(_GRAM, features, describe(_GRAM, wanted)) / len(wanted),
            "adversarial": fooling(self.critics["patches"], torch.cat([before, painted], 1)),
        }
        weights = {**self.weights, "stability": r.stability_weight * r.stability_every}
        return terms | self._stability(before, canvas, painted), weights

    def _stability(self, before: Tensor, canvas: Tensor, painted: Tensor) -> Terms:
        return self.trainer.stability(before, canvas, painted)

    def teach_critics(self) -> dict[str, float]:
        before, after, painted = self._seen
        critic, trainer = self.critics["patches"], self.trainer
        loss = telling(critic, torch.cat([before, after], 1), torch.cat([before, painted], 1))
        critic.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        trainer.optimizers["critics"].step(trainer.recipe.critic_lr)
        return {"critic": float(loss.detach())}

    def _batch(self, size: int, count: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Random crops: before and after (N, 3, S, S), and where they count (N, 1, S, S)."""
        rng, device = self.trainer.rng, self.trainer.device
        crops = [crop_of(self.taught[int(rng.integers(len(self.taught)))], size, rng)
                 for _ in range(count)]  # fmt: skip
        before, after = (
            to_float(np.stack(side), device)
            for side in ([crop.before for crop in crops], [crop.after for crop in crops])
        )
        if all(crop.mask is None for crop in crops):
            return before, after, None
        masks = [np.ones((size, size), bool) if c.mask is None else c.mask for c in crops]
        return before, after, torch.from_numpy(np.stack(masks)[:, None]).to(device)

    def sheet(self, net: nn.Module) -> Image:
        """Pictures, what was made of them, and what the net makes of them: pairs that it was not
        taught, where there are enough."""
        shown = self.shown[:_SHOWN]
        before, after = (
            np.stack([middle(picture) for picture in side])
            for side in zip(*(pair[:2] for pair in shown), strict=True)
        )
        return contact_sheet([before, after, stylize(net, before)])

    def provenance(self) -> dict[str, Any]:
        return {"pairs": len(self.taught)}


def middle(picture: Image) -> Image:
    """The middle (256, 256, 3) of a picture as large as it is: strokes keep their size."""
    picture = resize_short_side(picture, max(SIDE, min(picture.shape[:2])), enlarge=True)
    y, x = ((side - SIDE) // 2 for side in picture.shape[:2])
    return picture[y : y + SIDE, x : x + SIDE]


def relative_l1(x: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference over the target's mean absolute value: (N, C, H, W) twice → (N,)."""
    x, target = x.float(), target.float()
    return (x - target).abs().mean((1, 2, 3)) / (target.abs().mean((1, 2, 3)) + 1e-6)


def features_l1(
    features: Mapping[str, Tensor], wanted: Mapping[str, Tensor], layers: Mapping[str, float]
) -> Tensor:
    """The mean of `relative_l1` over the layers, each (N, C, H, W), by their weights → (N,)."""
    return _over_layers(relative_l1, features, wanted, layers)


def _over_layers(
    distance: Callable[[Tensor, Tensor], Tensor],
    features: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    layers: Mapping[str, float],
) -> Tensor:
    parts = [weight * distance(features[k], wanted[k]) for k, weight in layers.items()]
    return torch.stack(parts).sum(0) / sum(layers.values())


def crop_of(pair: Pair, size: int, rng: np.random.Generator) -> Pair:
    """A random square of the pair; with a mask, one around a random place of it. Pictures that are
    smaller are enlarged."""
    if min(pair.before.shape[:2]) < size:
        before, after = (resize_short_side(p, size, enlarge=True) for p in pair[:2])
        pair = Pair(before, after)
    limits = [side - size for side in pair.before.shape[:2]]
    if pair.mask is None:
        y, x = (int(rng.integers(limit + 1)) for limit in limits)
    else:
        places = np.argwhere(pair.mask)
        place = places[int(rng.integers(len(places)))] - rng.integers(size, size=2)
        y, x = (int(np.clip(at, 0, limit)) for at, limit in zip(place, limits, strict=True))
    cut = np.s_[y : y + size, x : x + size]
    return Pair(pair.before[cut], pair.after[cut], None if pair.mask is None else pair.mask[cut])
