"""Options that several commands share, and what their texts mean."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rtstyle.errors import OutputError, UsageError

if TYPE_CHECKING:
    from rtstyle.engines.options import EngineOptions as EngineOptions
else:
    EngineOptions = object  # typer reads annotations; the class itself would load numpy for --help

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
NoProgress = Annotated[bool, typer.Option("--no-progress", help="No progress bar.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", "-y", help="Replace the output where it exists.")
]
Threads = Annotated[
    int | None, typer.Option("--threads", help="CPU threads of the engine; all cores by default.")
]
HwAccel = Annotated[
    str,
    typer.Option(
        "--hwaccel", metavar="auto|cuda|none", help="Decode and encode on an NVIDIA card."
    ),
]
StyleName = Annotated[
    str,
    typer.Option(
        "--style",
        "-s",
        metavar="NAME|PICTURE|MODEL.onnx",
        help="See [bold]rtstyle styles[/bold]; a mix is a=0.7,b=0.3.",
    ),
]


def engine_options(
    engine: Annotated[
        str,
        typer.Option(
            "--engine", metavar="auto|openvino|onnxruntime|torch", help="What runs the net."
        ),
    ] = "auto",
    threads: Threads = None,
    precision: Annotated[
        str,
        typer.Option(
            "--precision", metavar="auto|fastest|fp32|fp16|int8",
            help="Of the net's arithmetic. auto: fp32 on a CPU, fp16 on a card; fastest: int8 on a "
            "CPU, which is slightly off.",
        ),
    ] = "auto",
    devices: Annotated[
        str | None,
        typer.Option("--devices", metavar="0,1", help="Cards that paint, by number, in turn."),
    ] = None,
) -> EngineOptions:  # fmt: skip
    """What a user chose of an engine; the only place where its options are listed."""
    from rtstyle.engines.options import EngineOptions as Options

    return Options(
        name=engine, threads=threads, precision=precision, devices=device_numbers(devices)
    )


def takes_engine(**defaults: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A command whose parameter `engine: EngineOptions` becomes the options of `engine_options`,
    with `defaults` in place of theirs."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        chosen = inspect.signature(engine_options, eval_str=True).parameters
        parameters: list[inspect.Parameter] = []
        for parameter in inspect.signature(command, eval_str=True).parameters.values():
            if parameter.name == "engine":
                parameters += [
                    one.replace(default=defaults.get(one.name, one.default))
                    for one in chosen.values()
                ]
            else:
                parameters.append(parameter)

        @wraps(command)
        def run(**given: Any) -> None:
            engine = engine_options(**{name: given.pop(name) for name in chosen})
            command(engine=engine, **given)

        run.__annotations__ = {one.name: one.annotation for one in parameters}
        vars(run)["__signature__"] = inspect.Signature(parameters)
        return run

    return decorate


def inputs_and_output(
    paths: Sequence[str], inputs: Sequence[str], output: str | None
) -> tuple[list[str], str]:
    """What is painted into what, of `paths`, "INPUT… OUTPUT", where either may be an option."""
    found = [*inputs, *paths]
    if output is None:
        output = found.pop() if paths and len(found) > 1 else None
    for what, given in (("INPUT", found), ("OUTPUT", output)):
        if not given:
            raise UsageError(f"{what} is missing: rtstyle render INPUT OUTPUT --style NAME.")
    assert output is not None
    return found, output


def targets(inputs: list[str], output: str, *, folder: bool) -> list[tuple[str, str]]:
    """Each input with its output. Several go into the folder `output`, by their names, which is
    made; a single one too if `folder` is set and `output` is no file's name."""
    from rtstyle.media.options import PICTURE_SUFFIXES, VIDEO_SUFFIXES  # loads numpy beside it

    place = Path(output)
    is_file = bool(place.suffix) and not place.is_dir()
    if len(inputs) == 1 and (is_file or not folder):
        return [(inputs[0], output)]
    if is_file:
        raise UsageError(f"Several inputs are painted into a folder, but {output} names a file.")
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The folder {place} cannot be made: {error.strerror}.") from error
    found = []
    for path in map(Path, inputs):
        known = path.suffix.lower() in (*VIDEO_SUFFIXES, *PICTURE_SUFFIXES)
        found.append((str(path), str(place / (path.name if known else f"{path.stem}.mp4"))))
    if len({name for _, name in found}) < len(found):
        raise UsageError("Two inputs have the same name; paint them into different folders.")
    return found


def device_numbers(text: str | None) -> tuple[int, ...]:
    """The cards in "0,1"; none for None."""
    try:
        return () if text is None else tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"Cards are numbers such as 0,1, not {text!r}.") from None


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


def numbers(texts: list[str]) -> dict[str, int]:
    """The key and whole number of each KEY=NUMBER."""
    try:
        return {key: int(value) for key, value in pairs(texts).items()}
    except ValueError as error:
        raise UsageError(f"A net's option is a whole number, such as width=16 ({error}).") from None
