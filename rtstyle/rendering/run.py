"""A render in segments from start to end, continuing what an earlier run left."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from rtstyle.closing import Closing
from rtstyle.errors import EngineError, MediaError, OutputError, RtstyleError
from rtstyle.files import Workplace, check_output
from rtstyle.media.video.nvcodec import encoder_notes
from rtstyle.media.video.parts import NotCuttableError
from rtstyle.metrics import Report
from rtstyle.rendering.encode import Batch, encode_segments
from rtstyle.rendering.engines import Engines
from rtstyle.rendering.job import SILENT, Listener, RenderJob, Segments, settled
from rtstyle.rendering.mux import mux, open_output
from rtstyle.rendering.packet_file import BrokenSegmentError, SegmentResult
from rtstyle.rendering.plan import Plan, Segment, cut, look_at, plan
from rtstyle.rendering.store import Record, State, fingerprint


def render_in_segments(job: RenderJob, executor: Executor, listener: Listener = SILENT) -> Report:
    """Render the job segment by segment and join them; otherwise as `rtstyle.render`.

    Segments that an earlier run with the same input and settings finished are kept; with others, a
    note says why the render starts afresh. Segments are in a folder beside the output, which is
    removed at the end, or when it holds nothing to continue from.
    """
    video = look_at(job)
    segments = job.segments or Segments()
    check_output(job.output, overwrite=True, inputs=video.origin.paths, parents=True)
    with State(job.output) as state:
        kept = state.record
        engine_threads = kept.engine_threads or executor.engine_threads
        chosen = job.writing.codec
        job = settled(job, video.info, kept.encoder_threads, engine_threads)
        remarks = encoder_notes(job.writing.hwaccel, chosen or str(job.writing.codec))
        for note in (*remarks, *job.remarks(video.info)):
            listener.on_note(note)
        record = Record(
            settings=job.settings(),
            source=fingerprint(Path(job.source)),
            encoder_threads=job.writing.threads,
            engine_threads=job.engine.threads,
        )
        why_afresh = state.why_afresh(record.settings, record.source)
        continues = why_afresh is None
        if continues and state.owns_output(complete=True):  # killed before it had tidied up
            listener.on_note(f"{job.output} was complete already")
            state.leave_done(keep=segments.keep)
            return Report()
        is_ours = continues and state.owns_output(complete=False)
        check_output(job.output, overwrite=job.writing.overwrite or is_ours)
        job = replace(job, writing=replace(job.writing, overwrite=True))
        planned = cut(video, kept.cuts) if continues else plan(job, video)
        with open_output(job, planned, Workplace(state.folder)):
            pass  # reports what is wrong with the encoder's options before any work
        if not continues:
            executor.open(job)  # before anything is lost for an engine that does not open
            if why_afresh:
                listener.on_note(f"painting starts afresh: {why_afresh}")
            state.begin(replace(record, cuts=planned.cuts))
        render = _Render(job, planned, state, executor, listener)
        try:
            report = render.run()
        except NotCuttableError as error:
            listener.on_note(f"{error} So it is painted in one piece.")
            state.begin(record)
            report = replace(render, plan=cut(video, ())).run()
        state.leave_done(keep=segments.keep)
        return report


@dataclass(frozen=True, slots=True)
class _Render:
    job: RenderJob
    plan: Plan
    state: State
    executor: Executor
    listener: Listener

    def run(self) -> Report:
        """Encode the missing segments, then join all."""
        report = Report()
        for _ in range(2):  # a segment's file may go bad before it is joined
            done = self._finished()
            missing = [s for s in self.plan.segments if s.number not in done]
            if missing:
                report = self._encode(missing, done)
            elif not report.frames_out:
                report.resumed = _n_frames(done.values())
            self._check_input()
            try:
                self._join([self.state.path(s.number) for s in self.plan.segments], complete=True)
            except BrokenSegmentError:
                continue
            return report
        raise OutputError(
            f"What is written in {self.state.folder} does not stay as it was; check the disk."
        )

    def _finished(self) -> dict[int, SegmentResult]:
        done, damaged = self.state.finished()
        if damaged:
            self.listener.on_note(
                f"{len(damaged)} kept segments were damaged and are painted again"
            )
        if done:
            self.listener.on_note(
                f"going on where an earlier run ended: {len(done)} of "
                f"{len(self.plan.segments)} segments are painted"
            )
        return done

    def _encode(self, segments: Sequence[Segment], done: dict[int, SegmentResult]) -> Report:
        total = self.plan.video.info.n_frames
        batch = Batch(
            job=self.job,
            segments=segments,
            path=self.state.path,
            resumed=_n_frames(done.values()),
            on_frame=lambda report: self.listener.on_frame(report, total),
        )
        try:
            return self.executor.encode(batch)
        except NotCuttableError:
            raise
        except (MediaError, EngineError, KeyboardInterrupt) as error:
            self._save(can_continue=not isinstance(error, MediaError))
            raise

    def _save(self, *, can_continue: bool) -> None:
        """Make an output of the frames that are done without a gap from the first on."""
        try:
            files = self.state.gapless()
            n_frames = _n_frames(result for _, result in files)
            if not n_frames:
                return
            self._join([path for path, _ in files], complete=False)
        except (RtstyleError, BrokenSegmentError) as error:
            self.listener.on_note(f"what was painted until then could not be made a video: {error}")
            return
        sentence = f"{self.job.output} holds the {n_frames} frames that were painted until then"
        if can_continue:
            sentence += "; the same command goes on from there"
        self.listener.on_note(sentence)
        if not can_continue:
            self.state.remove()

    def _join(self, files: Sequence[Path], *, complete: bool) -> None:
        workplace = Workplace(
            self.state.folder, lambda file: self.state.leave(file, complete=complete)
        )
        for note in mux(self.job, self.plan, files, complete=complete, workplace=workplace):
            self.listener.on_note(note)

    def _check_input(self) -> None:
        try:
            is_same = fingerprint(Path(self.job.source)) == self.state.record.source
        except OSError:  # it is gone
            is_same = False
        if not is_same:
            raise MediaError(f"{self.job.source} changed while it was painted; paint it again.")


def _n_frames(results: Iterable[SegmentResult]) -> int:
    return sum(result.frames for result in results)


class Executor(Protocol):
    """Runs segments of settled jobs. `engine_threads` is how many threads an engine gets where the
    job leaves that open; None leaves it to the engine."""

    engine_threads: int | None

    def open(self, job: RenderJob) -> None:
        """Check that it can run the job; harmless the second time. Raises an engine's errors."""
        ...

    def encode(self, batch: Batch) -> Report:
        """As `encode_segments`."""
        ...


class LocalExecutor(Closing):
    """Runs one segment after the other here, with engines that closing it closes."""

    engine_threads: int | None = None

    def __init__(self) -> None:
        self.engines = Engines()

    def open(self, job: RenderJob) -> None:
        """Load every model."""
        for style in job.styles:
            self.engines.get(job.engine, style, job.look)

    def encode(self, batch: Batch) -> Report:
        """See `Executor.encode`."""
        return encode_segments(batch, self.engines)

    def close(self) -> None:
        self.engines.close()
