"""The command line: options in, one library call, one line out. Heavy imports inside commands."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from rtstyle import __version__
from rtstyle.arguments import (
    Devices,
    EngineName,
    HwAccel,
    NoProgress,
    Overwrite,
    Precision,
    Quiet,
    StyleName,
    Threads,
    device_numbers,
    frame_rate,
    given,
    pairs,
    seconds,
)
from rtstyle.cli_bench import bench
from rtstyle.cli_live import devices, live, serve
from rtstyle.cli_paint import paint
from rtstyle.cli_train import train
from rtstyle.errors import RtstyleError, UsageError
from rtstyle.terminal import frame_bar

USAGE, FAILURE, INTERRUPTED = 2, 1, 130

app = typer.Typer(
    name="rtstyle",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Turns a video into a painting while you watch.",
    epilog="Try it without a file of your own:  [bold]rtstyle demo[/bold]",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rtstyle {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", callback=_show_version, is_eager=True, help="Show the version."
        ),
    ] = False,
) -> None:
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING, format="%(message)s")


@app.command()
def render(
    source: Annotated[
        str | None,
        typer.Argument(metavar="INPUT", help="Video, picture, folder, glob or frames_%05d.png."),
    ] = None,
    output: Annotated[str | None, typer.Argument(metavar="OUTPUT", help="What to write.")] = None,
    input_option: Annotated[
        str | None, typer.Option("--input", "-i", help="Same as INPUT.")
    ] = None,
    output_option: Annotated[
        str | None, typer.Option("--output", "-o", help="Same as OUTPUT.")
    ] = None,
    style: StyleName = "starry_night",
    strength: Annotated[
        float, typer.Option("--strength", help="0 is the picture, 1 the painting.")
    ] = 1.0,
    preserve_color: Annotated[
        bool, typer.Option("--preserve-color", help="Keep the picture's own colours.")
    ] = False,
    scale: Annotated[
        float | None,
        typer.Option("--scale", help="Paint at this share of the size: larger strokes, faster."),
    ] = None,
    height: Annotated[
        int | None,
        typer.Option("--height", help="Paint at this height in pixels; the output keeps its size."),
    ] = None,
    start: Annotated[
        str | None, typer.Option("--start", "-ss", help="Begin here: seconds or HH:MM:SS.")
    ] = None,
    duration: Annotated[
        str | None, typer.Option("--duration", "-t", help="Paint this much: seconds or HH:MM:SS.")
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option("--rate", "-r", help="Frames a second where the input is pictures."),
    ] = None,
    no_audio: Annotated[
        bool, typer.Option("--no-audio", "-an", help="Leave the sound out.")
    ] = False,
    codec: Annotated[
        str | None, typer.Option("--codec", "-c:v", help="Video encoder; libx264 by default.")
    ] = None,
    crf: Annotated[
        int | None,
        typer.Option("--crf", help="Quality: smaller is better and larger; 18 by default."),
    ] = None,
    preset: Annotated[
        str | None, typer.Option("--preset", help="The encoder's trade of speed for size.")
    ] = None,
    encoder_option: Annotated[
        list[str] | None, typer.Option("-e", metavar="KEY=VALUE", help="Any option of the encoder.")
    ] = None,
    engine: EngineName = "auto",
    threads: Threads = None,
    precision: Precision = "auto",
    device_list: Devices = None,
    hwaccel: HwAccel = "none",
    overwrite: Overwrite = False,
    no_progress: NoProgress = False,
    quiet: Quiet = False,
) -> None:
    """Paint a video, a picture or a folder of pictures.

    Sound, subtitles, chapters and every frame's time stay as they are.
    """
    from rtstyle.image import Look
    from rtstyle.media import ReadOptions, WriteOptions
    from rtstyle.render import render as render_file

    look = Look(strength=strength, preserve_color=preserve_color, scale=scale, height=height)
    with frame_bar("Painting", hidden=quiet or no_progress) as bar:
        report = render_file(
            given("INPUT", source, input_option),
            given("OUTPUT", output, output_option),
            style=style,
            look=look,
            reading=ReadOptions(seconds(start), seconds(duration), frame_rate(rate), hwaccel),
            writing=WriteOptions(
                codec=codec, crf=crf, preset=preset, options=pairs(encoder_option or []),
                keep_audio=not no_audio, overwrite=overwrite, hwaccel=hwaccel,
            ),
            engine=engine,
            threads=threads,
            precision=precision,
            devices=device_numbers(device_list),
            on_frame=bar,
            on_note=_note(quiet),
        )  # fmt: skip
    if not quiet:
        typer.echo(str(report))


@app.command()
def demo(
    output: Annotated[Path, typer.Argument(help="The video to write.")] = Path("rtstyle-demo.mp4"),
    style: StyleName = "starry_night",
    engine: EngineName = "auto",
    threads: Threads = None,
    overwrite: Overwrite = False,
    no_progress: NoProgress = False,
    quiet: Quiet = False,
) -> None:
    """Paint a short clip that rtstyle makes itself."""
    from tempfile import TemporaryDirectory

    from rtstyle.demo import make_clip
    from rtstyle.media import WriteOptions
    from rtstyle.render import render as render_file

    with TemporaryDirectory() as folder, frame_bar("Painting", hidden=quiet or no_progress) as bar:
        clip = Path(folder) / "demo.mp4"
        make_clip(clip)
        report = render_file(
            clip, output, style=style, writing=WriteOptions(overwrite=overwrite),
            engine=engine, threads=threads, on_frame=bar, on_note=_note(quiet),
        )  # fmt: skip
    if not quiet:
        typer.echo(f"{report}\nThe painted clip is {output}.")


@app.command()
def styles(
    preview: Annotated[
        Path | None, typer.Option("--preview", help="Also write a picture of every style as PNG.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """List the styles, each with a sentence."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from rtstyle.model import find_models
    from rtstyle.style import find_styles, name_key, styles_of

    models = find_models()
    found: dict[str, str] = {}  # the model that a plain name means
    table = Table("style", "what it looks like", "model", "net", box=None, pad_edge=False)
    for style in sorted(
        (style for model in models for style in styles_of(model)),
        key=lambda style: name_key(style.name),
    ):
        stem = style.model.path.stem
        plain = found.setdefault(name_key(style.name), stem) == stem
        name = escape(style.name if plain else f"{stem}:{style.name}")
        table.add_row(f"[bold]{name}[/bold]", style.description, stem, style.model.architecture)
    Console().print(table)
    if painters := [model.path.stem for model in models if model.style_input == "statistics"]:
        typer.echo(f"Any picture is a style too, painted by {painters[0]}: --style my_painting.jpg")
    if preview:
        from rtstyle.gallery import write_gallery

        write_gallery(find_styles(), preview, overwrite=overwrite)
        typer.echo(f"The preview is {preview}.")


@app.command()
def engines() -> None:
    """List the engines and which of them work here."""
    from rich.console import Console
    from rich.table import Table

    from rtstyle.engines import automatic, available_engines

    order = automatic()
    table = Table("engine", "version", "state", box=None, pad_edge=False)
    for info in available_engines():
        place = (
            f"works, auto tries it as number {order.index(info.name) + 1}"
            if info.name in order
            else "works"
        )
        table.add_row(f"[bold]{info.name}[/bold]", info.version, info.problem or place)
    Console().print(table)


app.command()(live)
app.command()(serve)
app.command()(devices)
app.command()(bench)
app.command()(train)
app.command()(paint)


def main() -> None:
    """Entry point: errors become one sentence on stderr and an exit status."""
    try:
        status = app(standalone_mode=False)  # of an early exit; typer makes 130 of Ctrl-C
    except RtstyleError as error:
        _fail(str(error), USAGE if isinstance(error, UsageError) else FAILURE)
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILURE)
    except Exception as error:
        if (show := getattr(error, "show", None)) is not None:
            show()  # wrong options: typer's own error, which shows the usage
            sys.exit(getattr(error, "exit_code", USAGE))
        _fail(
            f"Something that should not happen did: {type(error).__name__}: {error}. Run it again "
            "as `rtstyle --debug …` and report what that prints.",
            FAILURE,
        )
    if status == INTERRUPTED:
        _fail("Interrupted.", INTERRUPTED)
    sys.exit(status or 0)


def _note(quiet: bool) -> Callable[[str], None]:
    return lambda sentence: None if quiet else typer.echo(f"note: {sentence}", err=True)


def _fail(sentence: str, status: int) -> NoReturn:
    """Say it on stderr and leave; with --debug, the traceback before it."""
    if "--debug" in sys.argv and sys.exc_info()[0] is not None:
        traceback.print_exc()
    print(f"rtstyle: {sentence}", file=sys.stderr)
    sys.exit(status)


if __name__ == "__main__":
    main()
