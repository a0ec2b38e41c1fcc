"""`rtstyle render` and `rtstyle demo`: files in, a painted file out."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rtstyle.cli.options import (
    EngineOptions,
    HwAccel,
    NoProgress,
    Overwrite,
    Quiet,
    StyleName,
    frame_rate,
    inputs_and_output,
    pairs,
    seconds,
    takes_engine,
    targets,
)
from rtstyle.cli.terminal import frame_bar, note, terminable
from rtstyle.errors import UsageError

if TYPE_CHECKING:
    from rtstyle.metrics import Report
    from rtstyle.rendering.job import Segments


@takes_engine()
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
    *,
    engine: EngineOptions,
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
    from rtstyle.rendering.job import Segments

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
    from rtstyle.rendering.api import render as render_file

    for source, output in wanted:
        with terminable(), frame_bar("Painting", hidden=quiet or no_progress) as bar:
            report = render_file(
                source, output, style=style, resume=resume, on_frame=bar, on_note=note(quiet),
                **options,
            )  # fmt: skip
        yield report


def _painted_on(
    cluster: str, workers: int | None, wanted: list[tuple[str, str]], style: str,
    cutting: Segments, options: dict[str, Any], quiet: bool, no_progress: bool,
) -> Iterator[Report]:  # fmt: skip
    from rtstyle.cluster.run import Cluster, render_on_cluster
    from rtstyle.rendering.job import RenderJob
    from rtstyle.style.parse import find_style

    jobs = [
        RenderJob(
            source=Path(source), output=Path(output), style=style, segments=cutting, **options
        )
        for source, output in wanted
    ]
    with terminable(), frame_bar("Painting", hidden=quiet or no_progress) as bar:
        report = render_on_cluster(
            jobs, style=find_style(style), cluster=Cluster(address=cluster, workers=workers),
            on_frame=bar, on_note=note(quiet),
        )  # fmt: skip
    yield report


@takes_engine()
def demo(
    output: Annotated[Path, typer.Argument(help="The video to write.")] = Path("rtstyle-demo.mp4"),
    style: StyleName = "starry_night",
    *,
    engine: EngineOptions,
    hwaccel: HwAccel = "none",
    overwrite: Overwrite = False,
    no_progress: NoProgress = False,
    quiet: Quiet = False,
) -> None:
    """Paint a short clip that rtstyle makes itself."""
    from tempfile import TemporaryDirectory

    from rtstyle.demo import make_clip
    from rtstyle.media import ReadOptions, WriteOptions
    from rtstyle.rendering.api import render as render_file

    with TemporaryDirectory() as folder, frame_bar("Painting", hidden=quiet or no_progress) as bar:
        clip = Path(folder) / "demo.mp4"
        make_clip(clip)
        report = render_file(
            clip, output, style=style, reading=ReadOptions(hwaccel=hwaccel),
            writing=WriteOptions(overwrite=overwrite, hwaccel=hwaccel), engine=engine,
            resume=False, on_frame=bar, on_note=note(quiet),
        )  # fmt: skip
    if not quiet:
        typer.echo(f"{report}\nThe painted clip is {output}.")
