"""Options that several commands share, and what their texts mean."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated

import typer

from rtstyle.errors import UsageError

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
NoProgress = Annotated[bool, typer.Option("--no-progress", help="No progress bar.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", "-y", help="Replace the output where it exists.")
]
EngineName = Annotated[
    str,
    typer.Option("--engine", metavar="auto|openvino|onnxruntime|torch", help="What runs the net."),
]
Threads = Annotated[
    int | None, typer.Option("--threads", help="CPU threads of the engine; all cores by default.")
]
Precision = Annotated[
    str,
    typer.Option(
        "--precision", metavar="auto|fp32|fp16|int8",
        help="Of the net's arithmetic; int8 is faster on a CPU and slightly off.",
    ),
]  # fmt: skip
Devices = Annotated[
    str | None,
    typer.Option("--devices", metavar="0,1", help="Cards that paint, by number, in turn."),
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


def given(what: str, positional: str | None, option: str | None) -> str:
    """The one of two ways to give INPUT or OUTPUT that was used."""
    if positional and option:
        raise UsageError(f"{what} is given twice: as {positional} and as {option}.")
    if not (chosen := positional or option):
        raise UsageError(f"{what} is missing: rtstyle render INPUT OUTPUT --style NAME.")
    return chosen


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
