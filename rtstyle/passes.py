"""How one frame is painted: passes of nets, and the share that each has of the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from rtstyle.engines.base import Engine
from rtstyle.frame import Image
from rtstyle.image import Look
from rtstyle.style.style import Style, mix


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


@dataclass(frozen=True, slots=True)
class Passes:
    """All passes of one frame, at least one; their shares sum to 1.

    `SteadyFilter` begins afresh at another `key`; `steady` is its strength, None for its own.
    """

    passes: tuple[Pass, ...]
    key: object
    steady: float | None = None

    @classmethod
    def of(cls, only: Pass) -> Passes:
        return cls((only,), only.key)


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


def combine(images: Sequence[Image], passes: Sequence[Pass]) -> Image:
    """The paintings (H, W, 3) of the passes mixed by their shares."""
    result = images[0]
    weight = passes[0].share
    for image, one in zip(images[1:], passes[1:], strict=True):
        total = weight + one.share
        result = np.asarray(
            cv2.addWeighted(result, weight / total, image, one.share / total, 0), np.uint8
        )
        weight = total
    return result


def _only_strength_differs(one: Look, other: Look) -> bool:
    return replace(one, strength=other.strength) == other
