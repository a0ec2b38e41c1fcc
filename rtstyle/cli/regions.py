"""`rtstyle regions`: a map of the frame in, a model that paints by it out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from rtstyle.cli.options import Overwrite, Quiet
from rtstyle.errors import UsageError, needs_extra

_NAMED = {
    "black": "000000", "white": "ffffff", "red": "ff0000", "green": "00ff00", "blue": "0000ff",
    "yellow": "ffff00", "cyan": "00ffff", "magenta": "ff00ff", "grey": "808080",
}  # fmt: skip


def regions(
    picture: Annotated[Path, Argument(help="The map: a picture whose colours mark the regions.")],
    region: Annotated[
        list[str],
        Option(
            metavar="COLOUR=STYLE",
            help="Such as white=udnie, '#ff0000=stylebank:a=0.5,stylebank:b=0.5', or black=keep, "
            "which leaves the picture as it is.",
        ),
    ],
    output: Annotated[Path, Option("--output", "-o", help="The model file (.onnx).")],
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Divide the frame among styles of any models: makes a model that `--style` takes.

    Every place of the map belongs to the region whose colour is nearest. A pass of the net for each
    style, or one for all where they are of one StyleBank.
    """
    from rtstyle.style.parse import find_style

    if output.suffix != ".onnx":
        raise UsageError(f"The model's file must end in .onnx, not {output.name!r}.")
    if output.exists() and not overwrite:
        raise UsageError(f"{output} exists already; choose another name or pass --overwrite.")
    styles = {}
    for text in region:
        name, _, style = text.partition("=")
        if (colour := _colour(name, text)) in styles:
            raise UsageError(f"The region {name} is given twice; give each colour once.")
        styles[colour] = None if style == "keep" else find_style(style)
    with needs_extra("train", "A map of regions"):
        from rtstyle.bench.parity import require_parity
        from rtstyle.train.regions import write_regions
    write_regions(picture, styles, output, check=require_parity)
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
