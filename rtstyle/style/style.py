"""A named point in what a model can paint: list them, find one by its plain name, mix several."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rtstyle.errors import StyleNotFoundError, UsageError
from rtstyle.model.spec import ModelSpec
from rtstyle.model.zoo import find_models
from rtstyle.style.backdrop import Backdrop


@dataclass(frozen=True, slots=True)
class Style:
    """One style of one model. `vector` steers the net and is None when the model takes none."""

    name: str
    model: ModelSpec
    vector: NDArray[np.float32] | None = field(default=None, compare=False)  # (1, S), read-only

    @property
    def description(self) -> str:
        """A sentence on the style, or on its model when there is none; may be empty."""
        sentences = dict(zip(self.model.styles, self.model.style_descriptions, strict=False))
        return sentences.get(self.name, self.model.description)


PLACES = ("background", "person", "face")  # the later one lies on top


@dataclass(frozen=True, slots=True)
class Area:
    """What is painted otherwise: the "person", the "background" or the "face" of a frame, in a
    `style` of its own, by a `strength` of its own, or both. A `backdrop` is shown in place of a
    painting."""

    where: str
    style: Style | None = None
    strength: float | None = None
    backdrop: Backdrop | None = None


def find_styles() -> list[Style]:
    """Every style of the user's and the shipped models, sorted by name.

    Where two models offer the same name, the first one's counts, in the order of `find_models`.
    """
    found: dict[str, Style] = {}
    for model in find_models():
        for style in styles_of(model):
            found.setdefault(name_key(style.name), style)
    return [found[key] for key in sorted(found)]


def styles_of(model: ModelSpec) -> list[Style]:
    """The styles that one model offers by name, in its own order."""
    if not model.style_size or model.style_input == "statistics":
        return [Style(name, model) for name in model.styles]
    rows = np.eye(model.style_size, dtype=np.float32)[:, None]  # (S, 1, S)
    rows.setflags(write=False)
    return [Style(name, model, row) for name, row in zip(model.styles, rows, strict=True)]


def styles_named(name: str, styles: Sequence[Style]) -> list[Style]:
    """Those of `styles` that are called `name`, at least one.

    Case, spaces, hyphens and underscores do not matter. Raises `StyleNotFoundError`, which names
    what is called nearly so.
    """
    key = name_key(name)
    if found := [style for style in styles if name_key(style.name) == key]:
        return found
    known = {name_key(style.name): style.name for style in styles}
    near = difflib.get_close_matches(key, known, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(known[key] for key in near)}? " if near else ""
    raise StyleNotFoundError(
        f"There is no style {name.strip()!r}. {hint}`rtstyle styles` lists them; a path to a "
        "model.onnx or to a picture is fine too."
    )


def name_key(name: str) -> str:
    """What two ways to write one name have in common."""
    return re.sub(r"[\s_-]+", "", name).casefold()


def can_mix(one: Style, other: Style) -> bool:
    """Whether the two styles share a net that can run a mix of them."""
    return one.vector is not None and one.model.path == other.model.path


def mix(parts: Sequence[tuple[Style, float]]) -> Style:
    """The convex mix of styles of one model; weights need not sum to 1.

    Raises `UsageError` when a weight is negative or all are 0, or when the styles are not of one
    model that takes a style vector.
    """
    if not parts:
        raise UsageError("A mix needs at least one style.")
    total = math.fsum(weight for _, weight in parts)
    for style, weight in parts:
        if not (weight >= 0 and math.isfinite(total)):
            raise UsageError(f"The weight of {style.name!r} must be 0 or more, not {weight:g}.")
    if total == 0:
        raise UsageError("The weights of a mix must not all be 0.")
    model = parts[0][0].model
    vector = np.zeros((1, model.style_size), np.float32)
    for style, weight in parts:
        if style.vector is None:
            raise UsageError(
                f"The style {style.name!r} is a net of its own and cannot be mixed; only styles "
                "that share one model can."
            )
        if style.model.path != model.path:
            raise UsageError(
                f"The styles {parts[0][0].name!r} and {style.name!r} belong to different models; "
                "only styles that share one model can be mixed."
            )
        vector += style.vector * np.float32(weight / total)
    vector.setflags(write=False)
    name = ",".join(f"{style.name}={weight / total:.3g}" for style, weight in parts)
    return Style(name, model, vector)
