"""What --scenes, --scene and --at mean."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option
from typer.core import TyperCommand

from rtstyle.cli.options import Group, pairs, seconds
from rtstyle.errors import UsageError

if TYPE_CHECKING:
    from click import Context

    from rtstyle.rendering.job import RenderJob
    from rtstyle.rendering.timeline import Change
    from rtstyle.style.scene import Scene
    from rtstyle.style.style import Area

_KNOB = re.compile(r"[a-z]+=.")
_CUT = "cut"


class AtCommand(TyperCommand):
    """A command whose --at takes the words after it that set something: --at 0:30 style=udnie."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:  # type: ignore[override]
        joined: list[str] = []
        for word in args:
            if joined[-2:-1] == ["--at"] and _KNOB.match(word):
                joined[-1] += f" {shlex.quote(word)}"
            else:
                joined.append(word)
        return super().parse_args(ctx, joined)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Scenes:
    """The scenes of the file, and the one to begin with."""

    all: tuple[Scene, ...] = ()
    first: Scene | None = None


def _scenes(
    scenes: Annotated[
        Path | None,
        Option(metavar="FILE.toml", help="Scenes: a table each, of style, strength, fade …"),
    ] = None,
    scene: Annotated[
        str | None, Option(metavar="NAME", help="Begin with this scene of the file.")
    ] = None,
) -> Any:
    if scenes is None and scene is None:
        return Scenes()
    from rtstyle.style.scene import read_scenes, scene_named

    found = () if scenes is None else read_scenes(scenes)
    return Scenes(found, None if scene is None else scene_named(scene, found))


SceneChoice = Annotated[Scenes, Group(_scenes)]


def _areas(
    on: Annotated[
        list[str] | None,
        Option(
            metavar="PLACE=STYLE|0..1|blur|picture:FILE",
            help="Another style or strength for the person, the background or the face, or the "
            "background blurred, or a picture.",
        ),
    ] = None,
    keep: Annotated[
        str | None, Option(metavar="PLACE", help="Leave the person, background or face unpainted.")
    ] = None,
) -> Any:
    if not on and keep is None:
        return ()
    from rtstyle.style.scene import read_area, sorted_areas

    found = [read_area(*_place(text)) for text in on or []]
    return sorted_areas(found if keep is None else [*found, read_area(keep, 0.0)])


def _place(text: str) -> tuple[str, str]:
    place, equals, value = text.partition("=")
    if not (place and equals and value):
        raise UsageError(f"--on is written as person=udnie or face=0.3, not {text!r}.")
    return place, value


AreaChoice = Annotated["tuple[Area, ...]", Group(_areas)]
At = Annotated[
    list[str] | None,
    Option(
        "--at",
        metavar="TIME KNOB=VALUE...",
        help="From that time of the output on: style=, scene=, strength=, color=, stroke=, "
        "steady=, with fade= seconds; at every cut of the film with TIME cut, in turn.",
    ),
]


def changes_of(
    texts: Sequence[str],
    scenes: Scenes,
    job: RenderJob,
    cuts: Callable[[], Sequence[Fraction]],
) -> tuple[Change, ...]:
    """The changes that --at asks for, by time. `cuts` finds those of the film, if it is asked.

    Knobs that a change does not name stay as they were; a scene's, as the job begins. Raises
    `UsageError`.
    """
    from rtstyle.rendering.timeline import Change
    from rtstyle.style.scene import Scene, scene_named, scene_of

    at: dict[Fraction, tuple[Scene | None, Scene]] = {}
    at_cuts: list[tuple[Scene | None, Scene]] = []
    for text in texts:
        try:
            time, *words = shlex.split(text)
        except ValueError:
            raise UsageError(f"--at is written as 0:30 style=udnie, not {text!r}.") from None
        knobs = pairs(words)
        named = knobs.pop("scene", None)
        scene = None if named is None else scene_named(named, scenes.all)
        wanted = (scene, scene_of(knobs))
        if time == _CUT:
            at_cuts += [wanted] if words else [(scene, Scene()) for scene in scenes.all]
            if not at_cuts:
                raise UsageError("--at cut needs what to change to, or the scenes of --scenes.")
            continue
        if not words:
            raise UsageError(f"--at {time} needs what changes then, such as style=udnie.")
        moment = seconds(time) or Fraction(0)
        if moment < 0 or moment in at:
            raise UsageError(f"--at {time}: give each time from 0 on once.")
        at[moment] = wanted
    if at_cuts:
        for number, moment in enumerate(cuts()):
            at.setdefault(moment, at_cuts[number % len(at_cuts)])
    states = [
        Change(time=Fraction(0), style=job.style, look=job.look, steady=job.steady, areas=job.areas)
    ]
    for moment in sorted(at):
        scene, knobs_ = at[moment]
        state = states[0 if scene is not None else -1]
        for one in (scene, knobs_):
            if one is not None:
                state = Change(
                    time=moment,
                    style=one.style or state.style,
                    look=one.look(state.look),
                    steady=state.steady if one.steady is None else one.steady,
                    areas=state.areas if one.on is None else one.on,
                    fade=one.fade or (scene.fade if scene is not None else Fraction(0)),
                )
        states.append(state)
    return tuple(states[1:])
