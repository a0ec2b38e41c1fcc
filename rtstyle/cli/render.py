"""`rtstyle render` and `rtstyle demo`: files in, a stylized file out."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from rtstyle.cli.options import (
    EngineChoice,
    HwAccel,
    Overwrite,
    Steady,
    Stroke,
    StyleName,
    TerminalChoice,
    Upscale,
    bits,
    frame_rate,
    inputs_and_output,
    length,
    pairs,
    raw_video,
    seconds,
    targets,
)
from rtstyle.cli.scenes import AreaChoice, At, SceneChoice, changes_of
from rtstyle.cli.terminal import terminable
from rtstyle.errors import EngineError, OutputError, RtstyleError, UsageError


def render(
    paths: Annotated[
        list[str] | None,
        Argument(
            metavar="INPUT... OUTPUT",
            help="Video, picture, folder, glob, frames_%05d.png, http(s) address, lavfi:GRAPH, or "
            "- for a pipe, and what to write; several inputs go into a folder.",
        ),
    ] = None,
    input_option: Annotated[
        list[str] | None, Option("--input", "-i", help="Same as INPUT.")
    ] = None,
    output_option: Annotated[str | None, Option("--output", "-o", help="Same as OUTPUT.")] = None,
    style: StyleName = "starry_night",
    at: At = None,
    *,
    scenes: SceneChoice,
    areas: AreaChoice,
    strength: Annotated[float, Option(help="0 is the picture, 1 the painting.")] = 1.0,
    preserve_color: Annotated[
        bool, Option("--preserve-color", help="Keep the picture's own colours.")
    ] = False,
    lut: Annotated[
        Path | None,
        Option(
            metavar="FILE.cube",
            help="Filter the colours last; --engine identity filters without painting.",
        ),
    ] = None,
    scale: Annotated[
        float | None, Option(help="Paint at this share of the size: larger strokes, faster.")
    ] = None,
    height: Annotated[
        int | None,
        Option(help="Paint at this height (upright: width); the output keeps its size."),
    ] = None,
    stroke: Stroke = None,
    upscale: Upscale = 1,
    steady: Steady = None,
    start: Annotated[
        str | None, Option("--start", "-ss", help="Begin here: seconds or HH:MM:SS.")
    ] = None,
    duration: Annotated[
        str | None, Option("--duration", "-t", help="Paint this much: seconds or HH:MM:SS.")
    ] = None,
    end: Annotated[
        str | None, Option("--to", "-to", help="Stop here: seconds or HH:MM:SS of the input.")
    ] = None,
    rate: Annotated[
        str | None,
        Option("--rate", "-r", help="Frames a second where the input is pictures or raw video."),
    ] = None,
    size: Annotated[
        str | None,
        Option(
            "--size",
            "-video_size",
            metavar="WxH[:PIX_FMT]",
            help="Of raw video on standard input; PIX_FMT is yuv420p by default.",
        ),
    ] = None,
    hdr: Annotated[
        str,
        Option(metavar="sdr|keep", help="High dynamic range: tone-map it, or put it back after."),
    ] = "sdr",
    deinterlace: Annotated[bool, Option(help="Make progressive frames of interlaced ones.")] = True,
    no_audio: Annotated[bool, Option("--no-audio", "-an", help="Leave the sound out.")] = False,
    audio_codec: Annotated[
        str | None, Option("--audio-codec", "-c:a", help="Sound encoder; copied by default.")
    ] = None,
    codec: Annotated[
        str | None, Option("--codec", "-c:v", help="Video encoder; libx264 by default.")
    ] = None,
    crf: Annotated[
        int | None, Option(help="Quality: smaller is better and larger; 18 by default.")
    ] = None,
    bitrate: Annotated[
        str | None, Option("--bitrate", "-b:v", help="Bits a second, as 800k or 2.5M, for --crf.")
    ] = None,
    pixel_format: Annotated[
        str | None,
        Option(
            "--pix-fmt", "-pix_fmt", help="As yuv444p; yuv420p by default, which plays anywhere."
        ),
    ] = None,
    piped_format: Annotated[
        str | None,
        Option(
            "--format",
            "-f",
            metavar="matroska|mpegts|yuv4mpegpipe|rawvideo|nut",
            help="Of a video to a pipe; matroska by default.",
        ),
    ] = None,
    preset: Annotated[str | None, Option(help="The encoder's trade of speed for size.")] = None,
    encoder_option: Annotated[
        list[str] | None, Option("-e", metavar="KEY=VALUE", help="Any option of the encoder.")
    ] = None,
    engine: EngineChoice,
    hwaccel: HwAccel = "none",
    no_resume: Annotated[
        bool, Option("--no-resume", help="Paint in one go; what is killed begins anew.")
    ] = False,
    segment: Annotated[
        str | None, Option(help="Seconds, at least, that a kill can cost; 10 by default.")
    ] = None,
    keep_segments: Annotated[
        bool, Option("--keep-segments", help="Keep the folder of painted segments.")
    ] = False,
    cluster: Annotated[
        str | None,
        Option(
            metavar="auto|HOST:PORT",
            help="Paint on the machines of a Ray cluster; auto starts one here if none runs.",
        ),
    ] = None,
    cluster_workers: Annotated[
        int | None, Option(help="How many; each has --threads CPUs or a GPU.")
    ] = None,
    alpha: Annotated[
        bool, Option("--alpha", help="The person alone, on nothing: mov, webm, mkv, apng or png.")
    ] = False,
    overwrite: Overwrite = False,
    skip_existing: Annotated[
        bool, Option("--skip-existing", help="Leave out inputs whose output is there already.")
    ] = False,
    recursive: Annotated[
        bool, Option("--recursive", help="Paint what is in folders of folders, too.")
    ] = False,
    terminal: TerminalChoice,
) -> None:
    """Paint a video, a picture or a folder of pictures.

    Sound, subtitles, chapters and every frame's time stay as they are. After a kill or a power cut
    the same command goes on where it was.
    """
    from rtstyle.image import Look
    from rtstyle.media import ReadOptions, WriteOptions, place_of, sink_kind, source_kind
    from rtstyle.rendering.api import render_job
    from rtstyle.rendering.cuts import find_cuts
    from rtstyle.rendering.job import RenderJob, Segments
    from rtstyle.rendering.run import LocalExecutor
    from rtstyle.style.parse import find_style

    if cluster is None and cluster_workers is not None:
        raise UsageError("--cluster-workers goes with --cluster.")
    if cluster is not None and no_resume:
        raise UsageError("A cluster paints segments that are kept; leave --no-resume out.")
    if crf is not None and bitrate is not None:
        raise UsageError("Quality or bit rate: give --crf or -b:v, not both.")
    if codec == "copy":
        raise UsageError(
            "The pictures are painted, so their stream cannot be copied; leave -c:v out. Sound, "
            "subtitles and the rest are copied anyway."
        )
    found = inputs_and_output(paths or [], input_option or [], output_option)
    wanted = targets(*found, folder=cluster is not None, recursive=recursive)
    if skip_existing:
        n_inputs = len(wanted)
        wanted = [(source, output) for source, output in wanted if not Path(output).is_file()]
        if n_there := n_inputs - len(wanted):
            terminal.note(f"{n_there} of {n_inputs} outputs are there already and were left out")
    if not wanted:
        return
    is_piped = sink_kind(wanted[0][1]) == "pipe"
    if piped_format is not None and not is_piped:
        raise UsageError("-f is the format of a pipe; a file's is told by its suffix.")
    if is_piped:
        terminal = replace(terminal, results_on_stderr=True)
    if segment is not None or keep_segments:
        for source, output in wanted:
            if "pipe" in (source_kind(place_of(source)), sink_kind(output)):
                terminal.note("a pipe is painted in one go, without segments")
    look = Look(
        strength=strength,
        preserve_color=preserve_color,
        scale=scale,
        height=height,
        stroke=stroke,
        upscale=upscale,
        lut=None if lut is None else str(lut),
    )
    segments = Segments(seconds=seconds(segment or "10") or Fraction(0), keep=keep_segments)
    begin = seconds(start)
    if hdr not in ("sdr", "keep"):
        raise UsageError(f"High dynamic range is --hdr sdr or --hdr keep, not {hdr!r}.")
    raw = raw_video(size)
    if raw is not None and any(source_kind(place_of(name)) != "pipe" for name, _ in wanted):
        raise UsageError("--size is of raw video on standard input; a file says its own.")
    reading = ReadOptions(
        begin,
        length(begin, duration, end),
        frame_rate(rate),
        hwaccel,
        keep_hdr=hdr == "keep",
        deinterlace=deinterlace,
        raw=raw,
    )
    writing = WriteOptions(
        codec=codec,
        crf=crf,
        preset=preset,
        pixel_format=pixel_format,
        bitrate=bits(bitrate),
        format=piped_format,
        options=pairs(encoder_option or []),
        keep_audio=not no_audio,
        audio_codec=None if audio_codec == "copy" else audio_codec,
        overwrite=overwrite,
        hwaccel=hwaccel,
        alpha=alpha,
    )
    chosen = find_style(style)
    if (first := scenes.first) is not None:
        chosen, look = first.style or chosen, first.look(look)
        steady = steady if first.steady is None else first.steady
        areas = areas or first.on or ()
    jobs = [
        RenderJob(
            source=place_of(source),
            output=Path(output),
            style=chosen,
            look=look,
            steady=steady,
            reading=reading,
            writing=writing,
            engine=engine,
            segments=None if no_resume else segments,
            areas=areas,
        )
        for source, output in wanted
    ]
    if at:
        jobs = [
            replace(
                job, changes=changes_of(at, scenes, job, partial(find_cuts, job.source, reading))
            )
            for job in jobs
        ]
    with terminable():
        if cluster is not None:
            from rtstyle.cluster.run import Cluster, render_on_cluster

            with terminal.listener() as listener:
                where = Cluster(address=cluster, workers=cluster_workers)
                report = render_on_cluster(jobs, where, listener)
            terminal.result(report)
            return
        failed = 0
        executor = LocalExecutor()
        try:
            for job in jobs:
                try:
                    with terminal.listener() as listener:
                        report = render_job(job, listener, executor)
                except RtstyleError as error:
                    if len(jobs) == 1:
                        raise
                    failed += 1
                    name, text = str(job.source), str(error)
                    terminal.failure(text if name in text else f"{name}: {text}")
                    if isinstance(error, EngineError):
                        executor.close()  # the next input gets a new one
                else:
                    terminal.result(report)
        finally:
            executor.close()
    if len(jobs) > 1:
        terminal.result(f"{len(jobs) - failed} of {len(jobs)} inputs are painted.")
    if failed:
        raise OutputError(f"{failed} of {len(jobs)} inputs failed, see above.")


def demo(
    output: Annotated[Path, Argument(help="The video to write.")] = Path("rtstyle-demo.mp4"),
    style: StyleName = "starry_night",
    *,
    engine: EngineChoice,
    hwaccel: HwAccel = "none",
    overwrite: Overwrite = False,
    terminal: TerminalChoice,
) -> None:
    """Paint a short clip that rtstyle makes itself."""
    from tempfile import TemporaryDirectory

    from rtstyle.demo import make_clip
    from rtstyle.media import ReadOptions, WriteOptions
    from rtstyle.rendering.api import render_job
    from rtstyle.rendering.job import RenderJob
    from rtstyle.style.parse import find_style

    with TemporaryDirectory() as folder, terminal.listener() as listener:
        clip = Path(folder) / "demo.mp4"
        make_clip(clip)
        job = RenderJob(
            source=clip,
            output=output,
            style=find_style(style),
            reading=ReadOptions(hwaccel=hwaccel),
            writing=WriteOptions(overwrite=overwrite, hwaccel=hwaccel),
            engine=engine,
            segments=None,
        )
        report = render_job(job, listener)
    terminal.result(f"{report}\nThe painted clip is {output}.")
