"""Scenes: named sets of knobs, read from a TOML file or from words such as style=udnie.

    [night]
    style = "starry_night"
    strength = 0.8
    fade = 2

Each table is a scene; a knob that it does not name stays as the run began.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from fractions import Fraction
from pathlib import Path
from typing import Any

from rtstyle.errors import InputNotFoundError, RtstyleError, UsageError
from rtstyle.image import Look
from rtstyle.style.backdrop import read_backdrop
from rtstyle.style.parse import find_style
from rtstyle.style.style import PLACES, Area, Style, name_key

_LONGEST_FADE = 3600
_MOST_SCENES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What to paint with. A knob that is None stays as it is. `fade` is in seconds."""

    name: str = ""
    style: Style | None = None
    strength: float | None = None
    color: bool | None = None  # keep the picture's own
    stroke: float | None = None
    steady: float | None = None
    on: tuple[Area, ...] | None = None
    fade: Fraction = field(default=Fraction(0))

    def look(self, base: Look) -> Look:
        """The look with the knobs of the scene."""
        if self.stroke is not None:
            base = replace(base, stroke=self.stroke, height=None, scale=None)
        if self.strength is not None:
            base = replace(base, strength=self.strength)
        return base if self.color is None else replace(base, preserve_color=self.color)


def scene_of(knobs: Mapping[str, object], name: str = "") -> Scene:
    """A scene by its knobs, numbers or texts of such.

    Raises `UsageError` for an unknown knob, which names the nearest one, and for a value out of
    range; and what `find_style` raises.
    """
    found: dict[str, Any] = {}
    for knob, value in knobs.items():
        if knob not in _KNOBS:
            near = get_close_matches(knob, _KNOBS, n=1) or [", ".join(_KNOBS)]
            raise UsageError(f"There is no knob {knob[:40]!r}; did you mean {near[0]}?")
        found[knob] = _KNOBS[knob](knob, value)
    return Scene(name=name, **found)


def read_area(where: str, value: object) -> Area:
    """What is painted at a place, by a strength from 0 to 1, a style or a backdrop. Raises
    `UsageError`, and what `find_style` and `read_backdrop` raise."""
    if where not in PLACES:
        raise UsageError(f"A place is {', '.join(PLACES)}, not {where[:40]!r}.")
    try:
        strength = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        backdrop = read_backdrop(value) if isinstance(value, str) else None
        return Area(where, backdrop=backdrop) if backdrop else Area(where, _style(where, value))
    return Area(where, strength=_number(0, 1)(where, strength))


def sorted_areas(areas: Iterable[Area]) -> tuple[Area, ...]:
    """In the order in which they lie over each other. Raises `UsageError` for one given twice."""
    found: dict[tuple[str, bool], Area] = {}
    for area in areas:
        if found.setdefault((area.where, area.strength is not None), area) is not area:
            raise UsageError(f"The place {area.where} is given twice; once is enough.")
    merged = []
    for where in PLACES:
        what, strength = found.get((where, False)), found.get((where, True))
        if what is not None and strength is not None:
            merged.append(replace(what, strength=strength.strength))
        elif one := what or strength:
            merged.append(one)
    return tuple(merged)


def read_scenes(path: Path) -> tuple[Scene, ...]:
    """The scenes of a file in its order, at least one.

    Raises `InputNotFoundError`, and `UsageError` with the file and the scene for what is wrong.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputNotFoundError(f"There is no file {path}; check its name.") from None
    except (OSError, ValueError) as error:  # both kinds of broken text are ValueErrors
        raise UsageError(f"{path} cannot be read as TOML: {error}.") from None
    if not 0 < len(tables) <= _MOST_SCENES:
        raise UsageError(f"{path} must hold 1 to {_MOST_SCENES} scenes such as [night].")
    scenes = []
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise UsageError(f"{path}: {name} stands above the first scene, such as [night].")
        try:
            scenes.append(scene_of(table, name))
        except RtstyleError as error:
            raise UsageError(f"{path}, scene {name}: {error}") from error
    return tuple(scenes)


def scene_named(name: str, scenes: Sequence[Scene]) -> Scene:
    """The scene of that name, or of that number from 1 on. Raises `UsageError`."""
    if name.isascii() and name.isdecimal() and len(name) <= 4 and 1 <= int(name) <= len(scenes):
        return scenes[int(name) - 1]
    known = {name_key(scene.name): scene for scene in scenes}
    if scene := known.get(name_key(name)):
        return scene
    if not known:
        raise UsageError("There are no scenes; name their file with --scenes FILE.toml.")
    near = get_close_matches(name_key(name), known, n=1)
    hint = f"did you mean {known[near[0]].name}?" if near else "there are " + ", ".join(
        scene.name for scene in scenes[:20]
    )  # fmt: skip
    raise UsageError(f"There is no scene {name[:40]!r}; {hint}")


def _areas(knob: str, value: object) -> tuple[Area, ...]:
    if not isinstance(value, dict):
        raise UsageError(f'{knob} is a table such as {{ person = "udnie", face = 0.3 }}.')
    return sorted_areas(read_area(where, one) for where, one in value.items())


def _style(knob: str, value: object) -> Style:
    if not isinstance(value, str):
        raise UsageError(f"A style is a text such as 'udnie', not {value!r}.")
    return find_style(value)


def _number(least: float, most: float, *, open_below: bool = False) -> Callable[..., float]:
    def read(knob: str, value: object) -> float:
        try:
            number = float("nan") if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            number = float("nan")
        if not least <= number <= most or (open_below and number == least):
            above = "above" if open_below else "from"
            raise UsageError(f"{knob} is a number {above} {least:g} to {most:g}, not {value!r}.")
        return number

    return read


def _switch(knob: str, value: object) -> bool:
    if value in ("on", "off"):
        return value == "on"
    if not isinstance(value, bool):
        raise UsageError(f"{knob} is true or false, or on or off, not {value!r}.")
    return value


def _seconds(knob: str, value: object) -> Fraction:
    return Fraction(str(_number(0, _LONGEST_FADE)(knob, value)))


_KNOBS: dict[str, Callable[[str, object], object]] = {
    "style": _style,
    "strength": _number(0, 1),
    "color": _switch,
    "stroke": _number(0, 1, open_below=True),
    "steady": _number(0, 1),
    "on": _areas,
    "fade": _seconds,
}
KNOBS = tuple(_KNOBS)
