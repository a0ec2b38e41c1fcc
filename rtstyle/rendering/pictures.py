"""Pictures into pictures: each is written whole at once, so those of an earlier run are kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

from rtstyle.errors import MediaError
from rtstyle.frame import Frame
from rtstyle.media import open_sink
from rtstyle.media.sequence import SequenceSink
from rtstyle.media.video.parts import Part, PicturesPart, Video
from rtstyle.metrics import Report
from rtstyle.rendering.engines import pipeline_of
from rtstyle.rendering.job import Listener, RenderJob
from rtstyle.rendering.plan import look_at
from rtstyle.rendering.run import LocalExecutor
from rtstyle.rendering.store import Record, State, fingerprint


def render_pictures(job: RenderJob, executor: LocalExecutor, listener: Listener) -> Report:
    """Render a sequence of pictures into a folder or pattern; otherwise as `rtstyle.render`.

    Pictures that an interrupted run with the same settings wrote stay as they are. One that cannot
    be read is noted, the others are rendered, and a `MediaError` counts those that were not.
    """
    video = look_at(job)
    with State(job.output) as state:
        record = Record(settings=job.settings(), source=fingerprint(Path(job.source)))
        continues = state.why_afresh(record.settings, record.source) is None
        writing = replace(job.writing, overwrite=job.writing.overwrite or continues)
        with _Rest(video) as source:
            sink = cast(SequenceSink, open_sink(job.output, source, writing))
            done = {
                index
                for index in range(len(video.origin.paths))
                if continues and state.is_newer(sink.path_of(index))
            }
            if done:
                listener.on_note(
                    f"going on where an earlier run ended: {len(done)} pictures are painted"
                )
            source.skip = done
            with sink:
                executor.open(job)
                if not continues:
                    state.begin(record)
                pipeline = pipeline_of(job, executor.engines, source, sink)
                pipeline.report.resumed = len(done)

                def on_frame(report: Report) -> None:
                    state.has_pictures = True
                    listener.on_frame(report, video.info.n_frames)

                try:
                    report = pipeline.run(on_frame)
                    if report.frames_out or not done:
                        sink.finish()
                finally:
                    for note in (*source.notes, *sink.notes):
                        listener.on_note(note)
        state.remove()
        if failed := source.failed:
            raise MediaError(
                f"{failed} of {video.info.n_frames} pictures failed, see above; the rest is done."
            )
        return report


class _Rest(PicturesPart):
    """The pictures of a sequence without those to `skip`."""

    def __init__(self, video: Video) -> None:
        super().__init__(video, Part())
        self.skip: set[int] = set()
        self.failed = 0

    def frames(self) -> Iterator[Frame]:
        """Every other picture in order; those that cannot be read are noted."""
        for index in self._span:
            if index not in self.skip:
                try:
                    yield from self._pictures([index])
                except MediaError as error:
                    self.failed += 1
                    self.notes.append(str(error))
