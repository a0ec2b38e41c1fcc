"""Whether hours of frames leave anything behind: memory, file handles, threads, wrong times.

Plays a synthetic clip at full speed through the pipeline into a sink that checks each frame's
number and exact time, and every hundredth picture. What the process holds is sampled a thousand
times; the median after warming up (from 5 to 15% of the run) is compared with that of the last
tenth.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from statistics import median
from threading import active_count
from time import perf_counter, process_time
from typing import Annotated

import numpy as np
import typer

from benchmarks.reliability.finding import Finding
from benchmarks.reliability.options import CheckOptions
from rtstyle.engines import EngineOptions, open_engine
from rtstyle.errors import UsageError
from rtstyle.frame import Frame, Image
from rtstyle.media.synthetic import NullSink, SyntheticSource
from rtstyle.pipeline import Pipeline
from rtstyle.style.parse import find_style

FRAMES, MOST_GROWTH = 10_000_000, 0.01
_SAMPLES, _FEWEST, _REPORT_SECONDS = 1000, 2000, 60.0
_RATE = Fraction(30_000, 1001)


@dataclass(frozen=True, slots=True)
class Sample:
    """What the process holds: resident bytes, open file handles, threads of the system's and of
    Python's."""

    rss: int
    handles: int
    os_threads: int
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(CheckOptions):
    """The command line."""

    frames: Annotated[int, typer.Option(help="how many frames to play")] = FRAMES
    width: Annotated[int, typer.Option(help="of the pictures, in pixels")] = 32
    height: Annotated[int, typer.Option(help="of the pictures, in pixels")] = 32
    engine: Annotated[str, typer.Option(help="what paints")] = "identity"
    style: Annotated[str, typer.Option(help="the style that it paints")] = "starry_night"


def measure(options: Options) -> Finding:
    """Play the frames. Interrupted, tell what was measured until then, and raise."""
    if options.frames < _FEWEST:
        raise UsageError(f"A soak is at least {_FEWEST} frames long, not {options.frames}.")
    source = SyntheticSource(options.width, options.height, n_frames=options.frames, rate=_RATE)
    style = find_style(options.style)
    sink = CheckingSink(options.frames, period=options.width)
    start, used = perf_counter(), process_time()
    threads_before = active_count()
    with open_engine(EngineOptions(name=options.engine, threads=1), style.model) as engine:
        pipeline = Pipeline(source, engine, sink, style=style)
        try:
            report = pipeline.run()
        except KeyboardInterrupt:
            _report(f"interrupted: {figures_of(sink)}")
            raise
    seconds, used = perf_counter() - start, process_time() - used
    growth, steady = _growth(sink.samples), _steady(sink.samples)
    left = active_count() - threads_before
    whole = (report.frames_in, report.frames_out, report.dropped) == (sink.n, sink.n, 0)
    figures = figures_of(sink) | {
        "frames dropped": report.dropped,
        "threads left": left,
        "frames a second": round(report.fps),
        "CPU microseconds a frame": round(used / sink.n * 1e6, 1),
        "engine": f"{engine.name}, {options.width}×{options.height}",
    }
    return Finding(
        check="soak",
        claim=f"{options.frames:,} frames through the pipeline: RSS grows by less than "
        f"{MOST_GROWTH:.0%}, handles and threads stay constant, every number and time is exact.",
        figures=figures,
        passed=growth < MOST_GROWTH
        and steady
        and left == 0
        and whole
        and sink.n == options.frames
        and sink.wrong == 0,
        command="python -m benchmarks reliability soak "
        f"--frames {options.frames} --width {options.width} --height {options.height} "
        f"--engine {options.engine} --style {options.style}",
        seconds=round(seconds, 1),
    )


class CheckingSink(NullSink):
    """Counts frames whose number, time or picture is not what it must be, and takes samples.

    The pattern comes back every `period` frames, so pictures are compared with those of one period
    soon after the start, when the engine has settled.
    """

    def __init__(self, n_expected: int, *, period: int) -> None:
        super().__init__()
        self.n = self.wrong = self.compared = 0
        self.samples: list[Sample] = []
        self._step = 1 / _RATE
        self._every, self._n_expected = max(1, n_expected // _SAMPLES), n_expected
        self._last_sample = n_expected - 20  # the other threads end before the last frames
        self._period = period
        self._pictures: dict[int, Image] = {}
        self._start = self._reported = perf_counter()

    def write(self, frame: Frame) -> None:
        """Check the frame."""
        time, step = frame.time, self._step
        exact = time.numerator * step.denominator == (self.n * step.numerator * time.denominator)
        if frame.index != self.n or not exact:
            self.wrong += 1
        self.n += 1
        if self._period <= self.n < 2 * self._period:
            self._pictures[frame.index % self._period] = frame.image.copy()
        elif self.n % 100 == 0 and self.n > 2 * self._period:
            self.compared += 1
            expected = self._pictures[frame.index % self._period]
            self.wrong += not np.array_equal(frame.image, expected)
        if self.n % self._every == 0 and self.n < self._last_sample:
            self.samples.append(take_sample())
            if perf_counter() - self._reported > _REPORT_SECONDS:
                self._reported = perf_counter()
                fps = self.n / (self._reported - self._start)
                left = (self._n_expected - self.n) / fps / 60
                _report(f"{figures_of(self)}, {fps:.0f} fps, {left:.0f} minutes to go")


def take_sample() -> Sample:
    """What this process holds now. Needs /proc."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    handles = len(os.listdir("/proc/self/fd")) - 1  # less the one that lists them
    threads = len(os.listdir("/proc/self/task"))
    return Sample(pages * os.sysconf("SC_PAGESIZE"), handles, threads, active_count())


def figures_of(sink: CheckingSink) -> dict[str, str | int | float]:
    """What is known so far."""
    figures: dict[str, str | int | float] = {
        "frames": sink.n,
        "wrong": sink.wrong,
        "pictures compared": sink.compared,
    }
    if len(sink.samples) < 20:
        return figures
    early, late = _windows(sink.samples)
    return figures | {
        "RSS after warm-up (MB)": round(median(s.rss for s in early) / 1e6, 2),
        "RSS at the end (MB)": round(median(s.rss for s in late) / 1e6, 2),
        "RSS growth (%)": round(100 * _growth(sink.samples), 3),
        "file handles": _range([s.handles for s in early + late]),
        "threads": _range([s.os_threads for s in early + late]),
    }


def _windows(samples: Sequence[Sample]) -> tuple[list[Sample], list[Sample]]:
    n = len(samples)
    return list(samples[n // 20 : n * 3 // 20 + 1]), list(samples[n * 9 // 10 :])


def _growth(samples: Sequence[Sample]) -> float:
    early, late = _windows(samples)
    return median(s.rss for s in late) / median(s.rss for s in early) - 1


def _steady(samples: Sequence[Sample]) -> bool:
    """Whether handles and threads were the same in every sample after warming up."""
    rest = samples[len(samples) // 20 :]
    return len({(s.handles, s.os_threads, s.threads) for s in rest}) == 1


def _range(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"


def _report(line: str) -> None:
    print(f"soak: {line}", file=sys.stderr, flush=True)
