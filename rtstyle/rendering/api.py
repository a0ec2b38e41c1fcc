"""Stylizing a file from start to end: what `rtstyle render` runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path

from rtstyle.engines import EngineOptions
from rtstyle.errors import EngineError, MediaError
from rtstyle.image import Look
from rtstyle.masks import find_mask_model
from rtstyle.media import (
    ReadOptions,
    WriteOptions,
    open_sink,
    open_source,
    place_of,
    sink_kind,
    source_kind,
)
from rtstyle.metrics import Report
from rtstyle.rendering.engines import pipeline_of
from rtstyle.rendering.job import SILENT, Listener, RenderJob, Segments
from rtstyle.rendering.pictures import render_pictures
from rtstyle.rendering.run import LocalExecutor, render_in_segments
from rtstyle.rendering.timeline import Change
from rtstyle.steady import SteadyFilter
from rtstyle.style.parse import find_style
from rtstyle.style.style import Area, Style


def render(
    source: str | PathLike[str],
    output: str | PathLike[str],
    *,
    style: str | Style,
    look: Look | None = None,
    steady: float | None = None,
    changes: Sequence[Change] = (),
    areas: Sequence[Area] = (),
    reading: ReadOptions | None = None,
    writing: WriteOptions | None = None,
    engine: str | EngineOptions = "auto",
    resume: bool = True,
    segments: Segments | None = None,
    on_frame: Callable[[Report, int | None], None] = SILENT.on_frame,
    on_note: Callable[[str], None] = SILENT.on_note,
) -> Report:
    """Paint the video, picture or folder `source` into `output`.

    `style` and `engine` are what `find_style` and `open_engine` take. `steady` is how much of the
    last painting is held, 0 to 1, by default as `RenderJob.steadiness` says. `changes` are what is
    painted otherwise from given times on, `areas` in given places. `on_frame` gets the
    report so far and the expected number of frames, where it is known; `on_note` gets a sentence
    for everything that could not stay as it was.

    The output appears under its name only when it is complete. A source that turns out damaged, a
    GPU that is lost, or Ctrl-C leaves a playable file of the frames until then, and the error is
    raised all the same. Any other error leaves no file. Raises the errors of `rtstyle.errors`.

    With `resume`, a video is encoded in `segments`, kept in a folder beside the output until it is
    complete: the same call after a kill continues there, and comes to the same result. Of pictures
    into pictures, those already written are kept.
    """
    job = RenderJob(
        source=place_of(source),
        output=Path(output),
        style=find_style(style) if isinstance(style, str) else style,
        look=look or Look(),
        steady=steady,
        changes=tuple(changes),
        areas=tuple(areas),
        reading=reading or ReadOptions(),
        writing=writing or WriteOptions(),
        engine=EngineOptions.of(engine),
        segments=segments or Segments() if resume else None,
    )
    return render_job(job, Listener(on_frame, on_note))


def render_job(
    job: RenderJob, listener: Listener = SILENT, executor: LocalExecutor | None = None
) -> Report:
    """Render one job in this process, as `render` describes; with the engines of `executor`, for
    several jobs."""
    if executor is None:
        with LocalExecutor() as executor:
            return render_job(job, listener, executor)
    if job.finds_areas:
        find_mask_model()  # raises before any work
    kinds = source_kind(job.source), sink_kind(job.output)
    if job.segments is not None and kinds == ("sequence", "sequence"):
        return render_pictures(job, executor, listener)
    if job.segments is not None and job.joins:
        return render_in_segments(job, executor, listener)
    return _in_one_go(job, executor, listener)


def _in_one_go(job: RenderJob, executor: LocalExecutor, listener: Listener) -> Report:
    with (
        open_source(job.source, job.reading) as source,
        open_sink(job.output, source, job.writing) as sink,
    ):
        steady = SteadyFilter(job.steadiness) if job.is_steadied else None
        pipeline = pipeline_of(job, executor.engines, source, sink, steady=steady)
        total = source.info.n_frames
        try:
            report = pipeline.run(lambda report: listener.on_frame(report, total))
        except (MediaError, EngineError, KeyboardInterrupt):
            if n_frames := pipeline.report.frames_out:
                sink.finish(complete=False)
                listener.on_note(
                    f"{job.output} holds the {n_frames} frames that were painted until then"
                )
            raise
        else:
            sink.finish()
        finally:
            for note in (*job.remarks(source.info), *source.notes, *sink.notes):
                listener.on_note(note)
    return report
