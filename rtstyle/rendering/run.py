"""A render in segments from end to end: goes on with what an earlier run left."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rtstyle.errors import EngineError, MediaError, OutputError, RtstyleError
from rtstyle.files import Workplace, check_output
from rtstyle.media.video.parts import NotCuttableError
from rtstyle.metrics import Report
from rtstyle.rendering.executor import LocalPainter, Painter
from rtstyle.rendering.job import RenderJob, settled
from rtstyle.rendering.mux import assemble, open_output
from rtstyle.rendering.packet_file import BrokenSegmentError, SegmentResult
from rtstyle.rendering.plan import Plan, Segment, cut, look_at, plan
from rtstyle.rendering.store import State, fingerprint, settings_of
from rtstyle.style.style import Style


def render_in_segments(
    job: RenderJob,
    *,
    style: Style,
    painter: Painter | None = None,
    on_frame: Callable[[Report, int | None], None] = lambda report, n_frames: None,
    on_note: Callable[[str], None] = lambda sentence: None,
) -> Report:
    """Paint the job segment by segment and join them; as `rtstyle.render` in everything else.

    What a run before this one finished is not painted again if it had the same input and settings;
    if it had not, a note says so. Kept segments stand in a folder beside the output, which goes
    when all is done, or where there is nothing to go on with. `painter` paints; None is this
    process.
    """
    if painter is None:
        with LocalPainter() as local:
            return render_in_segments(
                job, style=style, painter=local, on_frame=on_frame, on_note=on_note
            )
    video = look_at(job)
    check_output(job.output, overwrite=True, inputs=video.origin.paths)
    with State(job.output) as state:
        job = settled(
            job, video.info, threads=state.encoder_threads,
            engine_threads=state.engine_threads or painter.threads,
        )  # fmt: skip
        settings, source = settings_of(job, style), fingerprint(job.source)
        why_afresh = state.why_afresh(settings, source)
        goes_on = why_afresh is None
        if goes_on and state.owns_output(complete=True):  # killed before it had tidied up
            on_note(f"{job.output} was complete already")
            state.leave_done(keep=job.segments.keep)
            return Report()
        mine = goes_on and state.owns_output(complete=False)
        check_output(job.output, overwrite=job.writing.overwrite or mine)
        job = replace(job, writing=replace(job.writing, overwrite=True))
        planned = cut(video, state.cuts) if goes_on else plan(job, video)
        with open_output(job, planned, job.output, workplace=Workplace(state.folder)):
            pass  # what is wrong with the encoder's options shows before any work
        if not goes_on:
            painter.open(job, style)  # before anything is lost for one that does not open
            if why_afresh:
                on_note(f"painting starts afresh: {why_afresh}")
            state.begin(settings, source, planned.cuts, job.writing.threads, job.engine.threads)
        render = _Render(job, style, planned, state, painter, on_frame, on_note)
        try:
            report = render.run()
        except NotCuttableError as error:
            on_note(f"{error} So it is painted in one piece.")
            planned = cut(video, [])
            state.begin(settings, source, planned.cuts, job.writing.threads, job.engine.threads)
            report = replace(render, plan=planned).run()
        state.leave_done(keep=job.segments.keep)
        return report


@dataclass(frozen=True, slots=True)
class _Render:
    job: RenderJob
    style: Style
    plan: Plan
    state: State
    painter: Painter
    on_frame: Callable[[Report, int | None], None]
    on_note: Callable[[str], None]

    def run(self) -> Report:
        """Paint what is not painted, then join everything."""
        report = Report()
        for _ in range(2):  # a segment may go bad between being painted and being joined
            done = self._finished()
            todo = [s for s in self.plan.segments if s.number not in done]
            if todo:
                report = self._paint(todo, done)
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
            self.on_note(f"{len(damaged)} kept segments were damaged and are painted again")
        if done:
            self.on_note(
                f"going on where an earlier run ended: {len(done)} of "
                f"{len(self.plan.segments)} segments are painted"
            )
        return done

    def _paint(self, todo: Sequence[Segment], done: dict[int, SegmentResult]) -> Report:
        total = self.plan.video.info.n_frames
        try:
            return self.painter.paint(
                self.job, self.style, todo, self.state.path, resumed=_n_frames(done.values()),
                on_frame=lambda report: self.on_frame(report, total),
            )  # fmt: skip
        except NotCuttableError:
            raise
        except (MediaError, EngineError, KeyboardInterrupt) as error:
            self._save(goes_on=not isinstance(error, MediaError))
            raise

    def _save(self, *, goes_on: bool) -> None:
        """Make an output of what is painted without a gap from the beginning on."""
        try:
            files = self.state.gapless()
            n_frames = _n_frames(result for _, result in files)
            if not n_frames:
                return
            self._join([path for path, _ in files], complete=False)
        except (RtstyleError, BrokenSegmentError) as error:
            self.on_note(f"what was painted until then could not be made a video: {error}")
            return
        told = f"{self.job.output} holds the {n_frames} frames that were painted until then"
        self.on_note(told + ("; the same command goes on from there" if goes_on else ""))
        if not goes_on:
            self.state.remove()

    def _join(self, files: Sequence[Path], *, complete: bool) -> None:
        workplace = Workplace(
            self.state.folder, lambda file: self.state.leave(file, complete=complete)
        )
        notes = assemble(
            self.job, self.plan, files, self.job.output, complete=complete, workplace=workplace
        )
        for note in notes:
            self.on_note(note)

    def _check_input(self) -> None:
        try:
            is_same = fingerprint(self.job.source) == self.state.source
        except OSError:  # it is gone
            is_same = False
        if not is_same:
            raise MediaError(f"{self.job.source} changed while it was painted; paint it again.")


def _n_frames(results: Iterable[SegmentResult]) -> int:
    return sum(result.frames for result in results)
