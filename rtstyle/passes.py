"""How one frame is painted: passes of nets, and the share that each has of the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from rtstyle.engines.base import Engine
from rtstyle.frame import Image
from rtstyle.image import Batch, Look, finish
from rtstyle.masks import Mask
from rtstyle.style.style import Area, Style, mix
from rtstyle.upscale import upscaled

_IN_VIEW = 0.002  # share of a frame from where on an area is painted


@dataclass(frozen=True, slots=True)
class Pass:
    """One run of a net: `engine` has the model of `style` loaded. `share` of the result, 0 to 1."""

    engine: Engine
    style: Style
    look: Look
    share: float = 1.0

    @property
    def key(self) -> object:
        """Differs where two paintings have nothing in common to hold on to."""
        vector = self.style.vector
        return self.style.model.path, self.look, None if vector is None else vector.tobytes()

    def finish(self, painted: Batch, original: Image) -> Image:
        """The finished picture of what the net gave, (1, H', W', 3), for `original` (H, W, 3)."""
        model = self.engine.model
        painted = upscaled(painted, original, model=model, look=self.look)
        return finish(painted, original, model=model, look=self.look)


@dataclass(frozen=True, slots=True)
class Passes:
    """All passes of one frame, at least one; their shares sum to 1.

    `SteadyFilter` begins afresh at another `key`; `steady` is its strength, None for its own.
    `areas` lie over that, each with the pass of its style if it has one.
    """

    passes: tuple[Pass, ...]
    key: object
    steady: float | None = None
    areas: tuple[tuple[Area, Pass | None], ...] = ()

    @classmethod
    def of(cls, only: Pass) -> Passes:
        return cls((only,), only.key)

    def in_view(self, masks: Mapping[str, Mask]) -> Passes:
        """Without the areas that are not in the frame."""
        areas = tuple(one for one in self.areas if masks[one[0].where].mean() > 255 * _IN_VIEW)
        return self if areas == self.areas else replace(self, areas=areas)

    @property
    def runs(self) -> tuple[Pass, ...]:
        """Every run of a net: of the whole frame, then of the areas."""
        return self.passes + tuple(one for _, one in self.areas if one is not None)


def fade(before: Pass, after: Pass, share: float) -> Passes:
    """`share` of the way from one way to paint to another.

    One pass where both run the same net at the same size, which then paints the mix of both styles;
    else two passes, whose pictures are mixed.
    """
    if share <= 0:
        return Passes((before,), after.key)
    if share >= 1:
        return Passes.of(after)
    if before.engine is after.engine and _only_strength_differs(before.look, after.look):
        strength = before.look.strength + share * (after.look.strength - before.look.strength)
        style = after.style
        if style.vector is not None:
            style = mix([(before.style, 1 - share), (style, share)])
        look = replace(after.look, strength=strength)
        return Passes((Pass(after.engine, style, look),), after.key)
    return Passes((replace(before, share=1 - share), replace(after, share=share)), after.key)


def combine(
    images: Sequence[Image], how: Passes, original: Image, masks: Mapping[str, Mask]
) -> Image:
    """One picture of the paintings of all runs, all (H, W, 3): mixed by their shares, and each area
    where the mask (H, W) of its place has it."""
    result = whole = _mixed(images[: len(how.passes)], how.passes)
    painted = iter(images[len(how.passes) :])
    for area, one in how.areas:
        image = whole if one is None else next(painted)
        if area.backdrop is not None:
            image = area.backdrop.behind(original)
        if area.strength == 0:
            image = original
        elif area.strength is not None:
            image = _weighted(image, area.strength, original)
        result = _masked(image, result, masks[area.where])
    return result


def _mixed(images: Sequence[Image], passes: Sequence[Pass]) -> Image:
    result = images[0]
    weight = passes[0].share
    for image, one in zip(images[1:], passes[1:], strict=True):
        total = weight + one.share
        result = _weighted(result, weight / total, image)
        weight = total
    return result


def _weighted(one: Image, weight: float, other: Image) -> Image:
    return np.asarray(cv2.addWeighted(one, weight, other, 1 - weight, 0), np.uint8)


def _masked(inside: Image, outside: Image, mask: Mask) -> Image:
    """In bytes throughout, which is twice as fast as `cv2.blendLinear`."""
    weights = cv2.merge([mask] * 3)
    shown = cv2.multiply(inside, weights, scale=1 / 255)
    around = cv2.multiply(outside, cv2.bitwise_not(weights), scale=1 / 255)
    return np.asarray(cv2.add(shown, around), np.uint8)


def _only_strength_differs(one: Look, other: Look) -> bool:
    return replace(one, strength=other.strength) == other
