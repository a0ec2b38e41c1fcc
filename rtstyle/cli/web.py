"""`rtstyle web build`: the page for any static host, which paints in the viewer's browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from rtstyle.cli.options import Overwrite, Quiet, StyleName

web = typer.Typer(no_args_is_help=True, help="The page without a server.")


@web.callback()
def _web() -> None:
    """The page without a server."""


@web.command()
def build(
    output: Annotated[Path, Option("--output", "-o", help="The folder to write.")] = Path("site"),
    style: StyleName = "starry_night",
    any_picture: Annotated[
        bool, Option(help="With the model that takes any picture as a style: 4 MB more.")
    ] = True,
    runtime: Annotated[
        Path | None,
        Option(metavar="TGZ", help="npm's archive of onnxruntime-web, instead of fetching it."),
    ] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Write a static page that paints in the viewer's browser; no picture leaves it."""
    from rtstyle.live.engine_pool import EnginePool
    from rtstyle.live.settings import Settings
    from rtstyle.serve.pictures import Thumbnails
    from rtstyle.style.parse import find_style
    from rtstyle.style.style import find_styles
    from rtstyle.web.plan import plan_painting
    from rtstyle.web.runtime import fetch_runtime
    from rtstyle.web.site import build_site

    first, styles = find_style(style), find_styles()
    plan = plan_painting(styles, fetch_runtime(runtime), any_picture=any_picture)
    with EnginePool() as pool:
        sizes = build_site(
            output, plan, styles, Settings(style=first), thumbnail=Thumbnails(pool).jpeg,
            overwrite=overwrite,
        )  # fmt: skip
    if not quiet:
        typer.echo(
            f"{output}: {len(sizes)} files, {sum(sizes.values()) / 1e6:.1f} MB. Any static host "
            "serves it; cameras need https, or localhost."
        )
