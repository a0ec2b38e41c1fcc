"""How `rtstyle paint` paints: the settings and their presets."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from rtstyle.errors import UsageError
from rtstyle.train.classic import CONTENT_WEIGHT, STYLE_WEIGHT
from rtstyle.train.style_losses import style_loss

MIN_SIDE = 32  # pixels: the perceptual network halves a picture four times

METHODS: dict[str, Literal["lbfgs", "adam"]] = {"lbfgs": "lbfgs", "adam": "adam"}
STARTS = ("content", "noise")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a picture is painted.

    The weights are those of relative losses, or with `squared` those of squared errors as most
    programs have them (`rtstyle.train.classic`). `size` and `style_size` are the shorter sides in
    pixels that content and painting are shrunk to.

    Raises `UsageError` for values that cannot be right.
    """

    optimizer: str = "lbfgs"
    steps: int = 150
    style_weight: float = 10.0
    content_weight: float = 1.0
    tv_weight: float = 0.0
    squared: bool = False
    style_loss: str = "gram"
    size: int = 512
    style_size: int = 512
    start: str = "content"
    seed: int = 0

    def __post_init__(self) -> None:
        for what, chosen, known in (
            ("optimiser", self.optimizer, METHODS), ("start", self.start, STARTS),
        ):  # fmt: skip
            if chosen not in known:
                raise UsageError(f"There is no {what} {chosen!r}; known are {', '.join(known)}.")
        style_loss(self.style_loss)
        if self.squared and self.style_loss != "gram":
            raise UsageError(
                f"The preset classic is about the loss gram; {self.style_loss} needs the preset "
                "relative."
            )
        for name in ("style_weight", "content_weight", "tv_weight"):
            value = getattr(self, name)
            if not (value >= 0 and math.isfinite(value)):
                raise UsageError(f"The {name.replace('_', ' ')} must be 0 or more, not {value:g}.")
        if self.steps < 1:
            raise UsageError(f"At least 1 step is needed, not {self.steps}.")
        if min(self.size, self.style_size) < MIN_SIDE:
            raise UsageError(
                f"Pictures need at least {MIN_SIDE} pixels a side, not "
                f"{min(self.size, self.style_size)}."
            )


PRESETS = {
    "relative": Settings(),
    "classic": Settings(
        optimizer="adam", steps=500, squared=True,
        content_weight=CONTENT_WEIGHT, style_weight=STYLE_WEIGHT,
    ),
}  # fmt: skip


def preset(name: str, **changes: object) -> Settings:
    """The settings of that name, with those `changes` that are not None."""
    if name not in PRESETS:
        raise UsageError(f"There is no preset {name!r}; known are {', '.join(PRESETS)}.")
    given = {key: value for key, value in changes.items() if value is not None}
    return replace(PRESETS[name], **given)  # type: ignore[arg-type]
