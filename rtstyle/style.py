"""A named point in what a model can paint: find one by name, mix several."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rtstyle.errors import StyleNotFoundError, UsageError
from rtstyle.model import SUFFIXES, ModelSpec, find_models, read_model


@dataclass(frozen=True, slots=True)
class Style:
    """One style of one model. `vector` steers the net and is None when the model takes none."""

    name: str
    model: ModelSpec
    vector: NDArray[np.float32] | None = field(default=None, compare=False)  # (1, S), read-only


def find_styles() -> list[Style]:
    """Every style of the user's and the shipped models, sorted by name.

    Where two models offer the same name, the user's own wins.
    """
    found: dict[str, Style] = {}
    for model in find_models():
        for style in styles_of(model):
            found.setdefault(_key(style.name), style)
    return [found[key] for key in sorted(found)]


def find_style(text: str) -> Style:
    """The style that `text` tells: a name, a path to a model file, or a mix "a=0.7,b=0.3".

    Case, spaces, hyphens and underscores in a name do not matter. A path stands for the model's
    first style. Raises `StyleNotFoundError` for an unknown name, `UsageError` for a mix that cannot
    be, `InputNotFoundError` and `ModelError` as `read_model` does.
    """
    text = text.strip()
    if text.lower().endswith(SUFFIXES):
        return styles_of(read_model(Path(text).expanduser()))[0]
    styles = {_key(style.name): style for style in find_styles()}
    if "=" in text:
        return mix([(_named(name, styles), weight) for name, weight in _parts(text)])
    return _named(text, styles)


def styles_of(model: ModelSpec) -> list[Style]:
    """The styles that one model offers, in its own order."""
    if not model.style_size:
        return [Style(name, model) for name in model.styles]
    rows = np.eye(model.style_size, dtype=np.float32)[:, None]  # (S, 1, S)
    rows.setflags(write=False)
    return [Style(name, model, row) for name, row in zip(model.styles, rows, strict=True)]


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


def _parts(text: str) -> list[tuple[str, float]]:
    """ "a=0.7,b=0.3" → [("a", 0.7), ("b", 0.3)]."""
    parts = []
    for part in text.split(","):
        name, _, weight = part.partition("=")
        try:
            parts.append((name, float(weight)))
        except ValueError:
            raise UsageError(
                f"A mix is written like candy=0.7,mosaic=0.3; {part.strip()!r} does not fit that."
            ) from None
    return parts


def _named(name: str, styles: dict[str, Style]) -> Style:
    if style := styles.get(_key(name)):
        return style
    near = difflib.get_close_matches(_key(name), styles, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(styles[key].name for key in near)}? " if near else ""
    raise StyleNotFoundError(
        f"There is no style {name.strip()!r}. {hint}`rtstyle styles` lists them; a path to a "
        "model.onnx is fine too."
    )


def _key(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).casefold()
