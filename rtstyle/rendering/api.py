"""Painting a file from end to end: what `rtstyle render` runs."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from pathlib import Path

from rtstyle.engines import EngineOptions, open_engine
from rtstyle.errors import EngineError, MediaError
from rtstyle.image import Look
from rtstyle.media import (
    ReadOptions,
    WriteOptions,
    open_sink,
    open_source,
    sink_kind,
    source_kind,
)
from rtstyle.metrics import Report
from rtstyle.pipeline import Pipeline
from rtstyle.rendering.job import RenderJob, Segments
from rtstyle.rendering.pictures import render_pictures
from rtstyle.rendering.run import render_in_segments
from rtstyle.style.parse import find_style
from rtstyle.style.style import Style


def render(
    source: str | PathLike[str],
    output: str | PathLike[str],
    *,
    style: str | Style,
    look: Look | None = None,
    reading: ReadOptions | None = None,
    writing: WriteOptions | None = None,
    engine: str | EngineOptions = "auto",
    resume: bool | Segments = True,
    on_frame: Callable[[Report, int | None], None] = lambda report, n_frames: None,
    on_note: Callable[[str], None] = lambda sentence: None,
) -> Report:
    """Paint the video, picture or folder `source` into `output`.

    `engine` is what `open_engine` takes: a name, or `EngineOptions`.

    `on_frame` gets the report so far and the expected number of frames, where it is known;
    `on_note` gets a sentence for everything that could not stay as it was.

    The output appears under its name only when it is complete. A source that turns out damaged, a
    device that is lost, or Ctrl-C leaves a playable file with what was painted until then, and the
    error is raised all the same. Any other error leaves no file. Raises the errors of
    `rtstyle.errors`.

    With `resume`, what becomes one video is painted in segments, kept in a folder beside the output
    until it is complete: the same call goes on where one ended that was killed, and comes to the
    same result. `Segments` says how they are cut. Of pictures into pictures, those that are there
    are not painted again.
    """
    chosen = find_style(style) if isinstance(style, str) else style
    look = look or Look()
    kinds = source_kind(Path(source)), sink_kind(Path(output))
    if resume and kinds in (("file", "file"), ("sequence", "file"), ("sequence", "sequence")):
        job = RenderJob(
            source=Path(source),
            output=Path(output),
            style=style if isinstance(style, str) else style.name,
            look=look,
            reading=reading or ReadOptions(),
            writing=writing or WriteOptions(),
            engine=EngineOptions.of(engine),
            segments=resume if isinstance(resume, Segments) else Segments(),
        )
        run = render_in_segments if kinds[1] == "file" else render_pictures
        return run(job, style=chosen, on_frame=on_frame, on_note=on_note)
    with (
        open_source(source, reading) as frames,
        open_sink(output, frames, writing) as sink,
        open_engine(engine, chosen.model) as painter,
    ):
        pipeline = Pipeline(frames, painter, sink, style=chosen, look=look)
        total = frames.info.n_frames
        try:
            report = pipeline.run(lambda report: on_frame(report, total))
        except (MediaError, EngineError, KeyboardInterrupt):
            if n_painted := pipeline.report.frames_out:
                sink.finish(complete=False)
                on_note(f"{output} holds the {n_painted} frames that were painted until then")
            raise
        else:
            sink.finish()
        finally:
            for note in (*frames.notes, *sink.notes):
                on_note(note)
    return report
