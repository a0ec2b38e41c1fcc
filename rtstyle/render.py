"""Painting a file from end to end: what `rtstyle render` runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike

from rtstyle.engines import open_engine
from rtstyle.errors import EngineError, MediaError
from rtstyle.image import Look
from rtstyle.media import ReadOptions, WriteOptions, open_sink, open_source
from rtstyle.metrics import Report
from rtstyle.pipeline import Pipeline
from rtstyle.style import Style
from rtstyle.style_text import find_style


def render(
    source: str | PathLike[str],
    output: str | PathLike[str],
    *,
    style: str | Style,
    look: Look | None = None,
    reading: ReadOptions | None = None,
    writing: WriteOptions | None = None,
    engine: str = "auto",
    threads: int | None = None,
    precision: str = "auto",
    devices: Sequence[int] = (),
    on_frame: Callable[[Report, int | None], None] = lambda report, n_frames: None,
    on_note: Callable[[str], None] = lambda sentence: None,
) -> Report:
    """Paint the video, picture or folder `source` into `output`.

    `precision` and `devices` are those of `open_engine`.

    `on_frame` gets the report so far and the expected number of frames, where it is known;
    `on_note` gets a sentence for everything that could not stay as it was.

    The output appears under its name only when it is complete. A source that turns out damaged, a
    device that is lost, or Ctrl-C leaves a playable file with what was painted until then, and the
    error is raised all the same. Any other error leaves no file. Raises the errors of
    `rtstyle.errors`.
    """
    chosen = find_style(style) if isinstance(style, str) else style
    look = look or Look()
    with (
        open_source(source, reading) as frames,
        open_sink(output, frames, writing) as sink,
        open_engine(
            engine, chosen.model, threads=threads, precision=precision, devices=devices
        ) as painter,
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
