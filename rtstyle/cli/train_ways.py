"""What `rtstyle train` learns from other than paintings: the options, and the material of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from rtstyle.errors import UsageError

if TYPE_CHECKING:
    from rtstyle.frame import Image
    from rtstyle.train.ways import Material

_PAIRS, _KEYFRAMES, _UNPAIRED, _WORDS = (
    "Another program: pairs and teachers", "Painted keyframes of a video", "Unpaired collections",
    "Words",
)  # fmt: skip
_NEED_CONTENT = ("teacher", "distil", "unpaired", "ink", "text")


@dataclass(frozen=True, slots=True)
class Way:
    """What to learn, other than paintings: a row of `rtstyle.train.ways.WAYS` and its settings."""

    kind: str | None
    settings: dict[str, Any]


def way_options(
    teacher: Annotated[
        str | None,
        Option(
            metavar="'COMMAND {input} {output}'|MODEL.onnx",
            rich_help_panel=_PAIRS,
            help="Imitate a program or a model: it paints the --content, a net learns that.",
        ),
    ] = None,
    count: Annotated[
        int | None,
        Option(min=1, rich_help_panel=_PAIRS, help="Pictures it paints; all by default."),
    ] = None,
    jobs: Annotated[
        int | None, Option(min=1, rich_help_panel=_PAIRS, help="Pictures it paints at a time.")
    ] = None,
    limit: Annotated[
        float | None,
        Option(min=0.1, rich_help_panel=_PAIRS, help="Seconds it may take; 300 by default."),
    ] = None,
    pairs: Annotated[
        tuple[Path, Path] | None,
        Option(
            metavar="BEFORE AFTER",
            rich_help_panel=_PAIRS,
            help="Folders with pictures of the same names.",
        ),
    ] = None,
    distil: Annotated[
        str | None,
        Option(
            metavar="MODEL",
            rich_help_panel=_PAIRS,
            help="A smaller net that paints every style of this model.",
        ),
    ] = None,
    keyframe: Annotated[
        list[str] | None,
        Option(
            metavar="FRAME=PAINTED.png",
            rich_help_panel=_KEYFRAMES,
            help="A frame, as a picture of it or by its number from 0, and what you painted of it; "
            "=MASK.png says where that counts. Can be repeated.",
        ),
    ] = None,
    video: Annotated[
        Path | None, Option(rich_help_panel=_KEYFRAMES, help="The video of the frames.")
    ] = None,
    unpaired: Annotated[
        Path | None,
        Option(
            metavar="DIR|PAINTING",
            rich_help_panel=_UNPAIRED,
            help="Paintings of one kind, hundreds of them; the --content is painted alike.",
        ),
    ] = None,
    method: Annotated[
        str | None,
        Option(
            metavar="fastcut|cut|cyclegan|sincut",
            rich_help_panel=_UNPAIRED,
            help="fastcut by default; sincut is for one painting.",
        ),
    ] = None,
    cartoon: Annotated[
        bool,
        Option("--cartoon", rich_help_panel=_UNPAIRED, help="White-box cartoon's losses join."),
    ] = False,
    ink: Annotated[
        bool, Option("--ink", rich_help_panel=_UNPAIRED, help="Losses of ink wash join.")
    ] = False,
    text: Annotated[
        str | None,
        Option(
            metavar="WORDS",
            rich_help_panel=_WORDS,
            help="What the --content should look like, such as 'an oil painting of fire'.",
        ),
    ] = None,
    clip: Annotated[
        Path | None,
        Option(
            metavar="DIR",
            rich_help_panel=_WORDS,
            help="Your CLIP, a folder as Transformers saves it.",
        ),
    ] = None,
) -> Any:  # Way
    ways: dict[str, tuple[Any, dict[str, Any]]] = {
        "pairs": (pairs, {}),
        "teacher": (teacher, {"count": count, "jobs": jobs, "limit": limit}),
        "distil": (distil, {}),
        "keyframe": (keyframe, {"video": video}),
        "unpaired": (
            unpaired,
            {"method": method, "cartoon": cartoon or None, "ink": ink or None},
        ),
        "text": (text, {"clip": clip}),
    }
    chosen = [kind for kind, (given, _) in ways.items() if given]
    for kind, (_, options) in ways.items():
        if kind not in chosen and (strays := [k for k, v in options.items() if v is not None]):
            raise UsageError(f"--{strays[0]} belongs to --{kind}, which was not given.")
    if not chosen:
        return Way(None, {})
    if len(chosen) > 1:
        raise UsageError(f"Name one way to learn, not both --{chosen[0]} and --{chosen[1]}.")
    given, options = ways[chosen[0]]
    settings = {k: v for k, v in options.items() if v is not None}
    match chosen[0]:
        case "pairs":
            settings |= {"before": given[0], "after": given[1]}
        case "teacher":
            settings["command"] = given
        case "distil":
            settings["model"] = Path(given)
        case "keyframe":
            if video is None:
                raise UsageError("The video of the keyframes is missing: --video CLIP.mp4.")
            settings["frames"] = given
        case "unpaired":
            settings["paintings"] = given
        case "text":
            if clip is None:
                raise UsageError("Words are understood by CLIP, which you bring: --clip DIR.")
            settings["text"] = given
    return Way("ink" if ink else chosen[0], settings)


def material_of(way: Way, content: tuple[Path, ...], stack: ExitStack) -> Material:
    """What the way learns from."""
    from rtstyle.train.ways import WAYS

    assert way.kind is not None
    settings = dict(way.settings)
    if way.kind in _NEED_CONTENT:
        settings["content"] = content
    if way.kind == "teacher" and "{" not in settings["command"]:
        settings["command"] = _painter(settings["command"], stack)
    if way.kind == "keyframe":
        from rtstyle.train.ways.keyframes import Keyframe

        settings["frames"] = tuple(map(Keyframe.from_text, settings["frames"]))
    material: Material = resolve_name(WAYS[way.kind].material)(**settings)
    return material


def _painter(text: str, stack: ExitStack) -> Callable[[Image], Image]:
    """What paints a picture by the style or model called `text`."""
    from rtstyle.engines import open_engine
    from rtstyle.image import Look, finish, prepare
    from rtstyle.style.parse import find_style

    style, look = find_style(text), Look()
    engine = stack.enter_context(open_engine("auto", style.model))

    def paint(picture: Image) -> Image:
        batch = prepare(picture, model=engine.model, look=look)
        painted = engine.submit(batch, style.vector).result()
        return finish(painted, picture, model=engine.model, look=look)

    paint.__name__ = text
    return paint
