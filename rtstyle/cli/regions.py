"""`rtstyle regions`: a map of the frame in, a model that paints by it out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from rtstyle.cli.options import Overwrite, Quiet
from rtstyle.errors import RtstyleError, UsageError

_NAMED = {
    "black": "000000", "white": "ffffff", "red": "ff0000", "green": "00ff00", "blue": "0000ff",
    "yellow": "ffff00", "cyan": "00ffff", "magenta": "ff00ff", "grey": "808080",
}  # fmt: skip


def regions(
    picture: Annotated[
        Path, typer.Argument(help="The map: a picture whose colours tell the regions.")
    ],
    region: Annotated[
        list[str],
        typer.Option(
            "--region",
            metavar="COLOUR=STYLE",
            help="Such as white=stylebank:udnie or '#ff0000=stylebank:a=0.5,stylebank:b=0.5'.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The model file (.onnx).")],
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Divide the frame among the styles of a StyleBank: makes a model that `--style` takes.

    Every place of the map belongs to the region whose colour is nearest.
    """
    from rtstyle.style.parse import find_style

    if output.suffix != ".onnx":
        raise UsageError(f"The model's file must end in .onnx, not {output.name!r}.")
    if output.exists() and not overwrite:
        raise UsageError(f"{output} exists already; choose another name or pass --overwrite.")
    told = {}
    for text in region:
        name, _, style = text.partition("=")
        if (colour := _colour(name, text)) in told:
            raise UsageError(f"The region {name} is told twice; tell each colour once.")
        told[colour] = find_style(style)
    try:
        from rtstyle.bench.parity import require_parity
        from rtstyle.train.regions import write_regions
    except ImportError as error:
        raise RtstyleError(
            f"Regions need {error.name}, which is not installed: pip install 'rtstyle[train]'."
        ) from error
    write_regions(picture, told, output, check=require_parity)
    if not quiet:
        typer.echo(f"The model is {output}; paint with --style {output}.")


def _colour(name: str, text: str) -> tuple[int, int, int]:
    digits = _NAMED.get(name.strip().lower(), name.strip().removeprefix("#"))
    if not re.fullmatch(r"[0-9a-fA-F]{6}", digits) or not text.partition("=")[2]:
        raise UsageError(
            f"A region is written like '#ff8000=STYLE' or white=STYLE, with one of the colours "
            f"{', '.join(_NAMED)}; {text!r} does not fit that."
        )
    red, green, blue = bytes.fromhex(digits)
    return red, green, blue
