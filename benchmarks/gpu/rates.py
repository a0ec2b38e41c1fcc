"""Frames a second of an engine, of the pipeline in memory and from file to file; idle gaps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from rtstyle.engines.base import Batch, Engine
from rtstyle.frame import Frame
from rtstyle.media import WriteOptions, open_sink, open_source
from rtstyle.media.synthetic import NullSink, SyntheticSource
from rtstyle.style.style import Style


def engine_rate(engine: Engine, frames: list[Batch], style: Any, seconds: float) -> float:
    """Frames a second with three batches on their way, results taken by this thread."""
    pending = [engine.submit(frames[i % len(frames)], style) for i in range(3)]
    start, done = perf_counter(), 0
    while (elapsed := perf_counter() - start) < seconds or done < 3:
        pending.pop(0).result()
        pending.append(engine.submit(frames[done % len(frames)], style))
        done += 1
    for waiting in pending:
        waiting.result()
    return done / elapsed


def pipeline_rate(engine: Engine, style: Style, shape: tuple[int, int], count: int) -> float:
    """Frames a second of the whole pipeline without files: pictures in memory in, nothing out."""
    from rtstyle.pipeline import Pipeline

    with _InMemory(shape, count) as source, NullSink() as sink:
        return Pipeline(source, engine, sink, style=style, capacity=4).run().fps


class _InMemory(SyntheticSource):
    """Four pictures of the pattern over and over, which costs no time of their own."""

    def __init__(self, shape: tuple[int, int], count: int) -> None:
        super().__init__(shape[1], shape[0], n_frames=4)
        self._ready = [frame.image for frame in super().frames()]
        self.info = replace(self.info, n_frames=count)

    def frames(self) -> Iterator[Frame]:
        step = 1 / self.info.rate
        for i in range(self.info.n_frames or 0):
            yield Frame(self._ready[i % 4], i * step, i, step)


def file_rate(
    engine: Engine, style: Style, shape: tuple[int, int], count: int, folder: Path
) -> float:
    """Frames a second from an H.264 file to another, by the encoder's fastest preset."""
    from rtstyle.pipeline import Pipeline

    clip = folder / f"clip-{shape[0]}x{shape[1]}.mp4"
    fast = WriteOptions(preset="ultrafast", overwrite=True)
    if not clip.exists():
        pattern = SyntheticSource(shape[1], shape[0], n_frames=count)
        with pattern, open_sink(clip, pattern, fast) as sink:
            for frame in pattern.frames():
                sink.write(frame)
            sink.finish()
    with open_source(clip) as source, open_sink(folder / "out.mp4", source, fast) as sink:
        report = Pipeline(source, engine, sink, style=style, capacity=4).run()
        sink.finish()
    return report.fps


def idle_gap(engine: Engine, frames: list[Batch], style: Any) -> float | None:
    """Median milliseconds between the end of a kernel and the start of the next, over 30 batches
    with all slots busy, as torch's profiler sees the GPU; None where it sees nothing."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        pending = [engine.submit(frames[i % len(frames)], style) for i in range(30)]
        for waiting in pending:
            waiting.result()
    spans = sorted(
        (event.time_range.start, event.time_range.end)
        for event in seen.events()
        if "CUDA" in str(event.device_type) and "Memcpy" not in event.name
    )
    gaps, busy_until = [], None
    for begin, end in spans:
        if busy_until is not None:
            gaps.append(max(0.0, begin - busy_until))
        busy_until = end if busy_until is None else max(busy_until, end)
    return median(gaps) / 1e3 if gaps else None
