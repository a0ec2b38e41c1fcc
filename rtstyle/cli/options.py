"""Options that several commands share, and what their texts mean."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import wraps
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from rtstyle.cli.terminal import Terminal
from rtstyle.errors import UsageError

if TYPE_CHECKING:
    from rtstyle.engines.options import EngineOptions


@dataclass(frozen=True, slots=True)
class Group:
    """Marks a parameter that stands for several options: those of `make`, which returns its value.

    `defaults` replace defaults of these options.
    """

    make: Callable[..., Any]
    defaults: Mapping[str, Any] = field(default_factory=dict)


def with_groups(command: Callable[..., None]) -> Callable[..., None]:
    """The command as typer takes it, with the options of every `Group` in its parameters."""
    parameters: list[inspect.Parameter] = []
    groups: dict[str, tuple[Group, list[str]]] = {}
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        marks = getattr(parameter.annotation, "__metadata__", ())
        if group := next((mark for mark in marks if isinstance(mark, Group)), None):
            found = inspect.signature(group.make, eval_str=True).parameters
            groups[parameter.name] = group, list(found)
            parameters += [
                option.replace(default=group.defaults.get(name, option.default))
                for name, option in found.items()
            ]
        else:
            parameters.append(parameter)

    @wraps(command)
    def run(**given: Any) -> None:
        for name, (group, options) in groups.items():
            given[name] = group.make(**{option: given.pop(option) for option in options})
        command(**given)

    run.__annotations__ = {one.name: one.annotation for one in parameters}
    vars(run)["__signature__"] = inspect.Signature(
        [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in parameters]
    )
    return run


_UNITS = {"k": 1000, "K": 1000, "M": 10**6, "G": 10**9}
Quiet = Annotated[bool, Option("--quiet", "-q", help="Print errors only.")]
Overwrite = Annotated[bool, Option("--overwrite", "-y", help="Replace the output where it exists.")]
Threads = Annotated[
    int | None, Option("--threads", help="CPU threads of the engine; all cores by default.")
]
HwAccel = Annotated[
    str,
    Option("--hwaccel", metavar="auto|cuda|none", help="Decode and encode on an NVIDIA GPU."),
]
Steady = Annotated[
    float | None,
    Option(
        metavar="0..1",
        help="Hold on to the last painting where nothing changes, against flicker; by default 1 "
        "for a net in float32 on a CPU, else 0, since it would cost more than a tenth of the rate.",
    ),
]
Stroke = Annotated[
    float | None,
    Option(
        metavar="SHARE",
        help="Length of a stroke as a share of the picture's shorter side, such as 0.03, at every "
        "resolution; smaller is finer and slower.",
    ),
]
Upscale = Annotated[
    int,
    Option(
        metavar="1|2",
        help="With 2, paint at half of the size and let a small net enlarge the painting: two to "
        "four times faster, with larger strokes.",
    ),
]
StyleName = Annotated[
    str,
    Option(
        "--style",
        "-s",
        metavar="NAME|PICTURE|MODEL.onnx",
        help="See [bold]rtstyle styles[/bold]; a mix is a=0.7,b=0.3.",
    ),
]


def _engine_options(
    engine: Annotated[
        str, Option(metavar="auto|openvino|onnxruntime|torch", help="What runs the net.")
    ] = "auto",
    threads: Threads = None,
    precision: Annotated[
        str,
        Option(
            metavar="auto|fastest|fp32|fp16|int8",
            help="Of the net's arithmetic. auto: fp32 on a CPU, fp16 on a GPU; fastest: int8 on a "
            "CPU, which is slightly off.",
        ),
    ] = "auto",
    devices: Annotated[
        str | None, Option(metavar="0,1", help="GPUs to use, by number, in turn.")
    ] = None,
) -> Any:  # EngineOptions, whose import costs time that --help does not need
    from rtstyle.engines.options import EngineOptions

    try:
        numbers = () if devices is None else tuple(int(part) for part in devices.split(","))
    except ValueError:
        raise UsageError(f"GPUs are numbers such as 0,1, not {devices!r}.") from None
    return EngineOptions(name=engine, threads=threads, precision=precision, devices=numbers)


def _terminal(
    no_progress: Annotated[bool, Option("--no-progress", help="No progress bar.")] = False,
    quiet: Quiet = False,
) -> Terminal:
    return Terminal(quiet=quiet, shows_progress=not quiet and not no_progress)


EngineChoice = Annotated["EngineOptions", Group(_engine_options)]
FastEngineChoice = Annotated["EngineOptions", Group(_engine_options, {"precision": "fastest"})]
TerminalChoice = Annotated[Terminal, Group(_terminal)]


def inputs_and_output(
    paths: Sequence[str], inputs: Sequence[str], output: str | None
) -> tuple[list[str], str]:
    """The inputs and the output in `paths`, "INPUT… OUTPUT", where either may be an option."""
    found = [*inputs, *paths]
    if output is None:
        output = found.pop() if paths and len(found) > 1 else None
    for what, given in (("INPUT", found), ("OUTPUT", output)):
        if not given:
            raise UsageError(f"{what} is missing: rtstyle render INPUT OUTPUT --style NAME.")
    assert output is not None
    return found, output


def targets(
    inputs: list[str], output: str, *, folder: bool, recursive: bool = False
) -> list[tuple[str, str]]:
    """Each input with its output. Several go into the folder `output`, by their names, which is
    made; a single one too if `folder` is set and `output` is no file's name. With `recursive`,
    folders within folders are kept."""
    from rtstyle.files import make_folder  # loads numpy

    if output in ("-", "pipe:", "pipe:1"):
        if len(inputs) > 1:
            raise UsageError("Several inputs are painted into a folder, but the output is a pipe.")
        return [(inputs[0], output)]
    place = Path(output)
    is_file = bool(place.suffix) and not place.is_dir()
    if not is_file:
        members = [member for source in inputs for member in _members(source, recursive=recursive)]
        folder = folder or [name for name, _ in members] != inputs
    if len(inputs) == 1 and (is_file or not folder):
        return [(inputs[0], output)]
    if is_file:
        raise UsageError(f"Several inputs are painted into a folder, but {output} names a file.")
    make_folder(place)
    found = [(name, str(place / within / _output_name(name))) for name, within in members]
    if len({name for _, name in found}) < len(found):
        raise UsageError("Two inputs have the same name; paint them into different folders.")
    return found


def _members(source: str, *, recursive: bool) -> list[tuple[str, Path]]:
    """The videos and pictures of a folder or glob that is not of still pictures alone, each with
    the folder within the output; anything else is itself."""
    from rtstyle.media.options import (
        PHOTO_SUFFIXES,
        PICTURE_SUFFIXES,
        VIDEO_SUFFIXES,
        is_animation,
        is_glob,
        is_picture,
    )

    path = Path(source)
    if path.is_dir():
        found = sorted(path.rglob("*") if recursive else path.iterdir())
    else:
        found = sorted(map(Path, glob(source, recursive=True))) if is_glob(path) else []
    known = (*VIDEO_SUFFIXES, *PHOTO_SUFFIXES, *PICTURE_SUFFIXES)
    found = [member for member in found if member.suffix.lower() in known and member.is_file()]
    within = {
        member: member.parent.relative_to(path) if path.is_dir() else Path() for member in found
    }
    if recursive or any(not is_picture(member) or is_animation(member) for member in found):
        return [(str(member), folder) for member, folder in within.items()]
    return [(source, Path())]


def _output_name(source: str) -> str:
    """What the output of one of several inputs is called."""
    from rtstyle.media.options import (
        BROADCAST_SUFFIXES,
        PHOTO_SUFFIXES,
        PICTURE_SUFFIXES,
        VIDEO_SUFFIXES,
        is_animation,
    )

    path = Path("stdin" if source in ("-", "pipe:", "pipe:0") else source)
    if path.is_dir():  # of still pictures alone, and painted into one
        return path.resolve().name
    suffix = path.suffix.lower()
    moves = suffix in (*PICTURE_SUFFIXES, *PHOTO_SUFFIXES) and is_animation(path)
    if suffix in PHOTO_SUFFIXES:
        return f"{path.stem}{'.mp4' if moves else '.jpg'}"
    if suffix in {*VIDEO_SUFFIXES, *PICTURE_SUFFIXES} - {*BROADCAST_SUFFIXES}:
        return f"{path.stem}.apng" if moves else path.name
    return f"{path.stem}.mp4"


def raw_video(text: str | None) -> tuple[int, int, str] | None:
    """ "640x360" or "640x360:rgb24": width, height and pixel format of video without a header."""
    if text is None:
        return None
    size, _, pixel_format = text.partition(":")
    width, _, height = size.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) * int(height)):
        raise UsageError(f"A size is written as 640x360 or 640x360:rgb24, not {text!r}.")
    return int(width), int(height), pixel_format or "yuv420p"


def seconds(text: str | None) -> Fraction | None:
    """ "90", "1.5" or "HH:MM:SS.fff" in seconds, exactly."""
    if text is None:
        return None
    try:
        total = Fraction(0)
        for part in text.split(":"):
            total = total * 60 + Fraction(part)
    except (ValueError, ZeroDivisionError):
        raise UsageError(f"A time is written as seconds or HH:MM:SS, not {text!r}.") from None
    return total


def length(start: Fraction | None, duration: str | None, end: str | None) -> Fraction | None:
    """The seconds to paint, given as such or by the time where they end."""
    if end is None:
        return seconds(duration)
    if duration is not None:
        raise UsageError("Where to stop is said by --duration or by --to, not by both.")
    found = (seconds(end) or Fraction(0)) - (start or Fraction(0))
    if found <= 0:
        raise UsageError(f"--to {end} is not after the start; give a later time.")
    return found


def bits(text: str | None) -> int | None:
    """ "800k", "2.5M" or "1000000" in bits a second."""
    if text is None:
        return None
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "")
    try:
        rate = round(Fraction(number) * _UNITS.get(unit, 1))
    except (ValueError, ZeroDivisionError):
        rate = 0
    if not 0 < rate < 2**31:
        raise UsageError(f"A bit rate is written as 800k or 2.5M, up to 2147M, not {text!r}.")
    return rate


def frame_rate(text: str | None) -> Fraction | None:
    """ "25" or "30000/1001", exactly."""
    if text is None:
        return None
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if rate <= 0:
        raise UsageError(f"A rate is a number above 0 such as 25 or 30000/1001, not {text!r}.")
    return rate


def pairs(texts: list[str]) -> dict[str, str]:
    """The key and value of each KEY=VALUE."""
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals and value):
            raise UsageError(f"An option is written as KEY=VALUE, not {text!r}.")
        found[key] = value
    return found


def net_options(texts: list[str]) -> dict[str, int | str]:
    """The key of each KEY=VALUE, and its whole number or word."""
    return {key: int(value) if value.isdecimal() else value for key, value in pairs(texts).items()}


def amounts(texts: list[str]) -> dict[str, float]:
    """The key and number of each KEY=NUMBER."""
    try:
        return {key: float(value) for key, value in pairs(texts).items()}
    except ValueError as error:
        raise UsageError(f"A weight is a number, such as l1=4 ({error}).") from None
