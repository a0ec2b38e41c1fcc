"""Measuring a case at its level, in this process, with an engine that is open."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np

from rtstyle.bench.case import Case
from rtstyle.bench.sources import EndlessClip, EndlessPictures, make_clip, make_pictures
from rtstyle.engines.base import Batch, Engine, StyleVector
from rtstyle.engines.cuda.slot import Slot
from rtstyle.errors import EngineError, OutputError
from rtstyle.image import Look, geometry, prepare
from rtstyle.media import WriteOptions, open_sink, open_source
from rtstyle.media.base import Sink, Source
from rtstyle.media.synthetic import NullSink
from rtstyle.metrics import Latencies, Report
from rtstyle.pipeline import Pipeline
from rtstyle.style.style import Style

LEAST = 3  # measured pictures or batches, however slow they are
_MOST_ENQUEUED = 512  # batches that a GPU's queue holds without making the one who fills it wait
_SAME = 2.0  # grey levels: kernels may be chosen anew, pictures may not differ
IN_FLIGHT = 3  # batches that an engine has at once, as in the pipeline
CAMERA_RATE = 30


@dataclass(frozen=True, slots=True)
class Timing:
    """What a level gives: frames a second, single durations, and the stages' busy times."""

    fps: float
    latency_of: str
    latencies_ms: list[float]
    stages_ms: dict[str, float] = field(default_factory=dict)
    dropped: int | None = None


def measure_level(
    case: Case, engine: Engine, style: Style, on_begin: Callable[[], None] = lambda: None
) -> Timing:
    """Measure `case`; `on_begin` hears when the burn-in is over. Raises what engine and media
    raise."""
    geometry(case.height, case.width, model=engine.model, look=Look())  # raises before any work
    return _LEVELS[case.level](case, engine, style, on_begin)


def engine_level(
    case: Case, engine: Engine, style: Style, on_begin: Callable[[], None] = lambda: None
) -> Timing:
    """The engine alone. On a GPU the pictures stay there, see `Engine.open_slot`; on a CPU they are
    arrays of this process that the engine reads where they lie, and gives new ones."""
    batches = [
        np.repeat(prepare(image, model=engine.model, look=Look()), case.batch, axis=0)
        for image in make_pictures(case.width, case.height)
    ]
    stylized = engine.submit(batches[0], style.vector).result()  # compiles for this size
    slot = engine.open_slot(batches[0], style.vector)
    if slot is None:
        return _submitting(case, engine, style, batches, on_begin)
    with slot:
        return _in_slot(case, slot, stylized, on_begin)


def _in_slot(case: Case, slot: Slot, stylized: Batch, on_begin: Callable[[], None]) -> Timing:
    """A batch that stays on the GPU. Raises `EngineError` when what comes out there is not what
    comes out otherwise: its speed would mean nothing."""
    count, begin = 1, perf_counter()
    while perf_counter() - begin < case.burn_in:
        count = max(1, int(100 / max(sum(slot.time_run_ms(count)) / count, 1e-3)))  # about 0.1 s
    latencies: list[float] = []
    on_begin()
    while sum(latencies) < case.seconds * 1e3 or len(latencies) < LEAST:
        latencies += slot.time_run_ms(min(count, _MOST_ENQUEUED))
    off = np.abs(slot.download().astype(np.int16) - stylized).mean()
    if off > _SAME:
        raise EngineError(
            f"What stays on the GPU is painted differently, by {off:.1f} grey levels in the mean; "
            "its speed means nothing."
        )
    fps = len(latencies) * case.batch / (sum(latencies) / 1e3)
    return Timing(fps, f"one batch that stays on the GPU, {slot.clock}", latencies)


def _submitting(
    case: Case, engine: Engine, style: Style, batches: list[Batch], on_begin: Callable[[], None]
) -> Timing:
    """Batches one after the other for the latency, then several in flight for the rate."""
    latencies_ms(engine, batches, style.vector, seconds=case.burn_in, count=0)
    on_begin()
    latencies = latencies_ms(engine, batches, style.vector, seconds=case.seconds / 2)
    fps = frame_rate(engine, batches, style.vector, seconds=case.seconds / 2)
    return Timing(fps, "one batch, from submit to result", latencies)


def latencies_ms(
    engine: Engine,
    batches: Sequence[Batch],
    style: StyleVector | None,
    *,
    seconds: float,
    count: int = LEAST,
) -> list[float]:
    """Milliseconds from submit to result, batch after batch, over `seconds` and `count` batches."""
    latencies: list[float] = []
    begin = perf_counter()
    while (start := perf_counter()) - begin < seconds or len(latencies) < count:
        engine.submit(batches[len(latencies) % len(batches)], style).result()
        latencies.append((perf_counter() - start) * 1e3)
    return latencies


def frame_rate(
    engine: Engine,
    batches: Sequence[Batch],
    style: StyleVector | None,
    *,
    seconds: float = 0.0,
    count: int = LEAST,
    in_flight: int = IN_FLIGHT,
) -> float:
    """Frames a second with several batches in flight, over `seconds` and `count` batches.

    A result is an array in this process's memory, so the work is over when its time is taken.
    """
    waiting = deque(engine.submit(batches[n % len(batches)], style) for n in range(in_flight))
    done = frames = 0
    begin = perf_counter()
    while (elapsed := perf_counter() - begin) < seconds or done < count:
        frames += len(waiting.popleft().result())
        waiting.append(engine.submit(batches[(done + in_flight) % len(batches)], style))
        done += 1
    for pending in waiting:
        pending.result()
    return frames / elapsed


def memory_level(
    case: Case, engine: Engine, style: Style, on_begin: Callable[[], None] = lambda: None
) -> Timing:
    """The pipeline from pictures in memory to a sink that keeps nothing."""
    with EndlessPictures(case.width, case.height) as source, NullSink() as sink:
        return run_pipeline(case, source, engine, sink, style, on_begin=on_begin)


def file_level(
    case: Case, engine: Engine, style: Style, on_begin: Callable[[], None] = lambda: None
) -> Timing:
    """The pipeline from a video file to another, with the encoder's default settings."""
    try:
        with TemporaryDirectory(prefix="rtstyle-bench-") as name:
            clip, out = Path(name) / "clip.mp4", Path(name) / "out.mp4"
            make_clip(clip, case.width, case.height)
            source = EndlessClip(clip)
            with source, open_sink(out, source, WriteOptions()) as sink:
                return run_pipeline(case, source, engine, sink, style, on_begin=on_begin)
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"No clip can be written to measure with: {error.strerror}.") from error


def live_level(
    case: Case, engine: Engine, style: Style, on_begin: Callable[[], None] = lambda: None
) -> Timing:
    """A synthetic camera at its own pace; latencies are the pictures' ages when they are shown."""
    camera = f"lavfi:testsrc2=size={case.width}x{case.height}:rate={CAMERA_RATE}"
    engine.submit(
        prepare(make_pictures(case.width, case.height, 1)[0], model=engine.model, look=Look()),
        style.vector,
    ).result()
    with open_source(camera, live=True) as source, NullSink() as sink:
        return run_pipeline(
            case, source, engine, sink, style, clock=source.clock, on_begin=on_begin
        )


def run_pipeline(
    case: Case,
    source: Source,
    engine: Engine,
    sink: Sink,
    style: Style,
    *,
    clock: Callable[[], float] | None = None,
    on_begin: Callable[[], None] = lambda: None,
    capacity: int = 2,
) -> Timing:
    """Run the pipeline until the case is over. With `clock` the source is live."""
    live = clock is not None
    pipeline = Pipeline(
        source, engine, sink, style=style, newest_wins=live, capacity=1 if live else capacity
    )
    pipeline.clock = clock
    watch = _Stopwatch(pipeline, case, on_begin)
    report = pipeline.run(watch)
    return Timing(
        fps=watch.fps,
        latency_of="a picture's age when it is shown" if live else "between two frames delivered",
        latencies_ms=watch.ages_ms if live else watch.gaps_ms,
        stages_ms={
            name: round(times.mean_ms, 3)
            for name, times in report.stages.items()
            if times.count and not (live and name == "decode")  # waiting for a camera is no work
        },
        dropped=report.dropped if live else None,
    )


class _Stopwatch:
    """Sees every frame delivered; begins anew after the burn-in and stops the pipeline in time."""

    def __init__(self, pipeline: Pipeline, case: Case, on_begin: Callable[[], None]) -> None:
        self.gaps_ms: list[float] = []
        self.ages_ms: list[float] = []
        self._pipeline, self._case, self._on_begin = pipeline, case, on_begin
        self._made = perf_counter()
        self._began = self._last = 0.0
        self._over = False

    @property
    def fps(self) -> float:
        """Frames delivered a second between the burn-in and the stop."""
        return len(self.gaps_ms) / (self._last - self._began)

    def __call__(self, report: Report) -> None:
        now = perf_counter()
        if self._over:  # frames that were read before the stop, with nothing read beside them
            return
        if not self._began:
            if now - self._made >= self._case.burn_in:
                self._began = self._last = now
                report.stages.update({name: Latencies() for name in report.stages})
                self._on_begin()
            return
        self.gaps_ms.append((now - self._last) * 1e3)
        self.ages_ms.append(report.latency.latest_ms)
        self._last = now
        wanted = self._case.frames
        enough = (
            len(self.gaps_ms) >= max(wanted, LEAST)
            if wanted
            else now - self._began >= self._case.seconds and len(self.gaps_ms) >= LEAST
        )
        if enough:
            self._over = True
            self._pipeline.stop()


_LEVELS: dict[str, Callable[[Case, Engine, Style, Callable[[], None]], Timing]] = {
    "engine": engine_level,
    "memory": memory_level,
    "file": file_level,
    "live": live_level,
}
