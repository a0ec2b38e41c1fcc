"""Pictures into pictures: each is written whole at once, so an earlier run's need no painting."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import cast

from rtstyle.engines import open_engine
from rtstyle.frame import Frame
from rtstyle.media import open_sink
from rtstyle.media.sequence import SequenceSink
from rtstyle.media.video.parts import Part, PicturesPart, Video
from rtstyle.metrics import Report
from rtstyle.pipeline import Pipeline
from rtstyle.rendering.job import RenderJob
from rtstyle.rendering.plan import look_at
from rtstyle.rendering.store import State, fingerprint, settings_of
from rtstyle.style.style import Style


def render_pictures(
    job: RenderJob,
    *,
    style: Style,
    on_frame: Callable[[Report, int | None], None] = lambda report, n_frames: None,
    on_note: Callable[[str], None] = lambda sentence: None,
) -> Report:
    """Paint a sequence of pictures into a folder or pattern; as `rtstyle.render` otherwise.

    Pictures that an interrupted run with the same settings wrote stay as they are.
    """
    video = look_at(job)
    with State(job.output) as state:
        settings, inputs = settings_of(job, style), fingerprint(job.source)
        goes_on = state.why_afresh(settings, inputs) is None
        writing = replace(job.writing, overwrite=job.writing.overwrite or goes_on)
        with _Rest(video) as source:
            sink = cast(SequenceSink, open_sink(job.output, source, writing))
            painted = {
                index
                for index in range(len(video.origin.paths))
                if goes_on and state.is_newer(sink.path_of(index))
            }
            if painted:
                on_note(f"going on where an earlier run ended: {len(painted)} pictures are painted")
            source.skip = painted
            with sink, open_engine(job.engine, style.model) as engine:
                if not goes_on:
                    state.begin(settings, inputs, [], None)
                pipeline = Pipeline(source, engine, sink, style=style, look=job.look)
                pipeline.report.resumed = len(painted)

                def tell(report: Report) -> None:
                    state.has_pictures = True
                    on_frame(report, video.info.n_frames)

                try:
                    report = pipeline.run(tell)
                    if report.frames_out or not painted:
                        sink.finish()
                finally:
                    for note in (*source.notes, *sink.notes):
                        on_note(note)
        state.remove()
        return report


class _Rest(PicturesPart):
    """The pictures of a sequence but for those to `skip`."""

    def __init__(self, video: Video) -> None:
        super().__init__(video, Part())
        self.skip: set[int] = set()

    def frames(self) -> Iterator[Frame]:
        """Every other picture in order. Raises `MediaError` at one that cannot be read."""
        yield from self._pictures(index for index in self._span if index not in self.skip)
