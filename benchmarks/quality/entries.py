"""What is measured: the shipped styles, any painting as a style, and a list of other nets."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rtstyle.errors import InputNotFoundError, UsageError
from rtstyle.model.file import read_model
from rtstyle.model.spec import ModelSpec
from rtstyle.model.zoo import find_models, shipped_folder
from rtstyle.nets.checkpoint import load_checkpoint_net
from rtstyle.style.encoder import style_from_image
from rtstyle.style.style import Style, styles_named, styles_of
from rtstyle.train.recipe import Recipe

SHIPPED, UNSEEN = "shipped", "unseen"  # groups; those of a list are named there
_KEYS = {"label", "group", "file", "style", "painting", "style_size", "against"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One style of one model, and the painting it should look like.

    `painting` is a file in the folder of paintings, at `style_size` pixels on its shorter side;
    both are None when nothing tells them. `against` is the label of the entry that this one is
    compared with.
    """

    label: str
    group: str
    style: Style
    painting: str | None = None
    style_size: int | None = None
    against: str | None = None


def shipped_entries() -> list[Entry]:
    """Every style that comes with rtstyle; where two models offer one, with the model's name."""
    models = [model for model in find_models() if model.path.parent == shipped_folder()]
    styles = [style for model in models for style in styles_of(model)]
    offered = Counter(style.name for style in styles)
    return [
        _entry(
            style.name if offered[style.name] == 1 else f"{style.model.path.stem}:{style.name}",
            SHIPPED,
            style,
        )
        for style in styles
    ]


def unseen_entries(names: list[str], paintings: Path, style_size: int) -> list[Entry]:
    """Every shipped model for any painting on the paintings of that name, never trained on, as far
    as they are in the folder."""
    return [
        Entry(f"{model.path.stem}: {name}", UNSEEN, style, name, style_size)
        for model in find_models()
        if model.path.parent == shipped_folder() and model.style_input == "statistics"
        for name in names
        if (paintings / name).is_file()
        for style in [style_from_image(paintings / name, model=model)]
    ]


def listed_entries(path: Path) -> list[Entry]:
    """The entries of a TOML list.

    Raises `InputNotFoundError` and `UsageError` for a list that cannot be read or is not right,
    and whatever `read_model` raises for its files.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputNotFoundError(f"There is no list of entries {path}.") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} is no TOML file that can be read: {error}.") from None
    rows = document.get("entry")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UsageError(f"{path} must hold [[entry]] tables, each with label, group and file.")
    return list(_listed(rows, path))


def _listed(rows: list[dict[str, Any]], path: Path) -> Iterator[Entry]:
    for row in rows:
        label = row.get("label", "one without a label")
        if unknown := set(row) - _KEYS:
            raise UsageError(f"{path}: {label} has the unknown {', '.join(sorted(unknown))}.")
        for key in _KEYS:
            needed, kind = key in ("label", "group", "file"), int if key == "style_size" else str
            if (needed or key in row) and not isinstance(row.get(key), kind):
                raise UsageError(f"{path}: {label} needs {key}, a {kind.__name__}.")
        model = _with_styles(read_model(path.parent / row["file"]))
        offered = styles_of(model)
        if not offered:
            raise UsageError(f"{path}: {label} is a model for any painting; ship it to measure it.")
        style = styles_named(row["style"], offered)[0] if "style" in row else offered[0]
        entry = _entry(row["label"], row["group"], style)
        yield replace(
            entry,
            painting=row.get("painting", entry.painting),
            style_size=row.get("style_size", entry.style_size),
            against=row.get("against"),
        )


def _entry(label: str, group: str, style: Style) -> Entry:
    """With the painting and its size as training wrote them down.

    A model of several styles tells its `paintings` in their order.
    """
    origin = style.model.provenance
    painting = origin.get("painting")
    paintings = origin.get("paintings")
    if isinstance(paintings, list) and len(paintings) == len(style.model.styles):
        painting = paintings[style.model.styles.index(style.name)]
    size = origin.get("recipe", {}).get("style_size")
    return Entry(
        label,
        group,
        style,
        painting if isinstance(painting, str) else None,
        size if isinstance(size, int) else None,
    )


def _with_styles(model: ModelSpec) -> ModelSpec:
    """A checkpoint with the number of its styles and its recipe; they are called 0, 1, 2, …
    where the file does not name them."""
    if model.path.suffix != ".safetensors":
        return model
    net, settings = load_checkpoint_net(model.path)
    provenance = model.provenance | {"recipe": {"style_size": Recipe(**settings).style_size}}
    count = int(getattr(net, "style_size", 0))
    if not count or model.style_size:
        return replace(model, provenance=provenance)
    names = tuple(map(str, range(count)))
    return replace(model, provenance=provenance, style_size=count, styles=names)
