"""The command line: options in, one library call, one line out. Heavy imports inside commands."""

from __future__ import annotations

import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

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
    inputs_and_output,
    pairs,
    seconds,
    targets,
)
from rtstyle.cli_bench import bench
from rtstyle.cli_live import devices, live, serve
from rtstyle.cli_paint import paint
from rtstyle.cli_train import train
from rtstyle.errors import RtstyleError, UsageError
from rtstyle.terminal import frame_bar, own_stderr, plain, terminable

if TYPE_CHECKING:
    from rtstyle.metrics import Report
    from rtstyle.segments.job import Segments

USAGE, FAILURE, INTERRUPTED = 2, 1, 130
LEFT_BEHIND = ("rtstyle-reader", "rtstyle-engine", "rtstyle-hanging")  # threads, where one hangs

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
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT... OUTPUT",
            help="Video, picture, folder, glob or frames_%05d.png, and what to write; several "
            "inputs go into a folder.",
        ),
    ] = None,
    input_option: Annotated[
        list[str] | None, typer.Option("--input", "-i", help="Same as INPUT.")
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
    no_resume: Annotated[
        bool, typer.Option("--no-resume", help="Paint in one go; what is killed begins anew.")
    ] = False,
    segment: Annotated[
        str, typer.Option("--segment", help="Seconds, at least, that a kill can cost.")
    ] = "10",
    keep_segments: Annotated[
        bool, typer.Option("--keep-segments", help="Keep the folder of painted segments.")
    ] = False,
    cluster: Annotated[
        str | None,
        typer.Option(
            "--cluster",
            metavar="auto|HOST:PORT",
            help="Paint on the machines of a Ray cluster; auto starts one here if none runs.",
        ),
    ] = None,
    cluster_workers: Annotated[
        int | None,
        typer.Option("--cluster-workers", help="How many; each has --threads CPUs or a card."),
    ] = None,
    overwrite: Overwrite = False,
    no_progress: NoProgress = False,
    quiet: Quiet = False,
) -> None:
    """Paint a video, a picture or a folder of pictures.

    Sound, subtitles, chapters and every frame's time stay as they are. After a kill or a power cut
    the same command goes on where it was.
    """
    from rtstyle.image import Look
    from rtstyle.media import ReadOptions, WriteOptions
    from rtstyle.segments.job import Segments

    if cluster is None and cluster_workers is not None:
        raise UsageError("--cluster-workers goes with --cluster.")
    if cluster is not None and no_resume:
        raise UsageError("A cluster paints segments that are kept; leave --no-resume out.")
    found = inputs_and_output(paths or [], input_option or [], output_option)
    wanted = targets(*found, folder=cluster is not None)
    look = Look(strength=strength, preserve_color=preserve_color, scale=scale, height=height)
    cutting = Segments(seconds=seconds(segment) or Fraction(0), keep=keep_segments)
    options: dict[str, Any] = {
        "look": look,
        "reading": ReadOptions(seconds(start), seconds(duration), frame_rate(rate), hwaccel),
        "writing": WriteOptions(
            codec=codec, crf=crf, preset=preset, options=pairs(encoder_option or []),
            keep_audio=not no_audio, overwrite=overwrite, hwaccel=hwaccel,
        ),
        "engine": engine,
        "threads": threads,
        "precision": precision,
        "devices": device_numbers(device_list),
    }  # fmt: skip
    for report in (
        _painted_here(wanted, style, not no_resume and cutting, options, quiet, no_progress)
        if cluster is None
        else _painted_on(
            cluster, cluster_workers, wanted, style, cutting, options, quiet, no_progress
        )
    ):
        if not quiet:
            typer.echo(str(report))


def _painted_here(
    wanted: list[tuple[str, str]], style: str, resume: bool | Segments, options: dict[str, Any],
    quiet: bool, no_progress: bool,
) -> Iterator[Report]:  # fmt: skip
    from rtstyle.render import render as render_file

    for source, output in wanted:
        with terminable(), frame_bar("Painting", hidden=quiet or no_progress) as bar:
            report = render_file(
                source, output, style=style, resume=resume, on_frame=bar, on_note=_note(quiet),
                **options,
            )  # fmt: skip
        yield report


def _painted_on(
    cluster: str, workers: int | None, wanted: list[tuple[str, str]], style: str,
    cutting: Segments, options: dict[str, Any], quiet: bool, no_progress: bool,
) -> Iterator[Report]:  # fmt: skip
    from rtstyle.cluster.run import Cluster, render_on_cluster
    from rtstyle.segments.job import RenderJob
    from rtstyle.style_text import find_style

    jobs = [
        RenderJob(
            source=Path(source), output=Path(output), style=style, segments=cutting, **options
        )
        for source, output in wanted
    ]
    with terminable(), frame_bar("Painting", hidden=quiet or no_progress) as bar:
        report = render_on_cluster(
            jobs, style=find_style(style), cluster=Cluster(address=cluster, workers=workers),
            on_frame=bar, on_note=_note(quiet),
        )  # fmt: skip
    yield report


@app.command()
def demo(
    output: Annotated[Path, typer.Argument(help="The video to write.")] = Path("rtstyle-demo.mp4"),
    style: StyleName = "starry_night",
    engine: EngineName = "auto",
    threads: Threads = None,
    precision: Precision = "auto",
    device_list: Devices = None,
    hwaccel: HwAccel = "none",
    overwrite: Overwrite = False,
    no_progress: NoProgress = False,
    quiet: Quiet = False,
) -> None:
    """Paint a short clip that rtstyle makes itself."""
    from tempfile import TemporaryDirectory

    from rtstyle.demo import make_clip
    from rtstyle.media import ReadOptions, WriteOptions
    from rtstyle.render import render as render_file

    with TemporaryDirectory() as folder, frame_bar("Painting", hidden=quiet or no_progress) as bar:
        clip = Path(folder) / "demo.mp4"
        make_clip(clip)
        report = render_file(
            clip, output, style=style, reading=ReadOptions(hwaccel=hwaccel),
            writing=WriteOptions(overwrite=overwrite, hwaccel=hwaccel), engine=engine,
            threads=threads, precision=precision, devices=device_numbers(device_list),
            resume=False, on_frame=bar, on_note=_note(quiet),
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
        is_first = found.setdefault(name_key(style.name), stem) == stem
        name = escape(style.name if is_first else f"{stem}:{style.name}")
        table.add_row(
            f"[bold]{name}[/bold]",
            *(escape(plain(t)) for t in (style.description, stem, style.model.architecture)),
        )
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
    with nullcontext() if "--debug" in sys.argv else own_stderr():
        try:
            _interruptible()
        except SystemExit as ended:
            if any(thread.name in LEFT_BEHIND for thread in threading.enumerate()):
                # What an engine or a driver does not come back from would keep the process, too.
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(ended.code if isinstance(ended.code, int) else FAILURE)
            raise


def _interruptible() -> NoReturn:
    try:
        _main()
    except KeyboardInterrupt:  # before typer listens, or after
        _fail("Interrupted.", INTERRUPTED)


def _main() -> NoReturn:
    try:
        status = app(standalone_mode=False)  # of an early exit; typer makes 130 of Ctrl-C
    except RtstyleError as error:
        _fail(str(error), USAGE if isinstance(error, UsageError) else FAILURE)
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILURE)
    except MemoryError:
        _fail(
            "There is too little memory for this; paint at a smaller --height, or close other "
            "programs.",
            FAILURE,
        )
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
    return lambda sentence: None if quiet else typer.echo(f"note: {plain(sentence)}", err=True)


def _fail(sentence: str, status: int) -> NoReturn:
    """Say it on stderr and leave; with --debug, the traceback before it."""
    if "--debug" in sys.argv and sys.exc_info()[0] is not None:
        traceback.print_exc()
    print(f"rtstyle: {plain(sentence)}", file=sys.stderr)
    sys.exit(status)


if __name__ == "__main__":
    main()
