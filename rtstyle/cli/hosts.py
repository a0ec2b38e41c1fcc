"""`rtstyle export-for`: a style as a file that another program loads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from rtstyle.cli.options import Overwrite
from rtstyle.errors import UsageError


def export_for(
    host: Annotated[
        str,
        Argument(
            metavar="HOST", show_default=False,
            help="vapoursynth, ffmpeg, opencv, comfyui, onnxruntime, csharp or javascript.",
        ),
    ],
    style: Annotated[
        str, Argument(metavar="STYLE", show_default=False, help="A name, picture or model.onnx.")
    ],
    output: Annotated[
        Path, Option("--output", "-o", metavar="FILE.onnx", show_default=False, help="To write.")
    ],
    size: Annotated[
        str | None,
        Option(metavar="WxH", help="Of every frame; hosts that take any size can do without."),
    ] = None,
    overwrite: Overwrite = False,
) -> None:  # fmt: skip
    """Write a style as a file for another program, with a few lines that use it there."""
    from rtstyle.hosts import export_for as write
    from rtstyle.style.parse import find_style

    written = write(host, find_style(style), output, size=_size(size), overwrite=overwrite)
    typer.echo(
        f"{written.model} paints as rtstyle does, within {written.mean:.2g} grey levels on average "
        f"and {written.p999:.2g} at the 99.9th percentile; {written.snippet} shows how to use it."
    )


def _size(text: str | None) -> tuple[int, int] | None:
    """ "1280x720" → (720, 1280)."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,5})[x×](\d{1,5})", text.strip().lower())
    if match is None:
        raise UsageError(f"A size is written like 1280x720, not {text!r}.")
    return int(match[2]), int(match[1])
