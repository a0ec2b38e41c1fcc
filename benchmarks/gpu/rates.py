"""Frames a second of the pipeline in memory and from file to file; idle gaps of a GPU."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

from rtstyle.bench.case import Case
from rtstyle.bench.levels import run_pipeline
from rtstyle.bench.sources import EndlessClip, EndlessPictures, make_clip
from rtstyle.engines.base import Batch, Engine
from rtstyle.media import WriteOptions, open_sink
from rtstyle.media.synthetic import NullSink
from rtstyle.style.style import Style

_CAPACITY = 4  # frames between two stages: a GPU has several in flight


def pipeline_rate(engine: Engine, style: Style, shape: tuple[int, int], count: int) -> float:
    """Frames a second of the whole pipeline without files: frames in memory in, nothing out."""
    case = _case("memory", style, shape, count)
    with EndlessPictures(case.width, case.height) as source, NullSink() as sink:
        return run_pipeline(case, source, engine, sink, style, capacity=_CAPACITY).fps


def file_rate(
    engine: Engine, style: Style, shape: tuple[int, int], count: int, folder: Path
) -> float:
    """Frames a second from an H.264 file to another, by the encoder's fastest preset."""
    case = _case("file", style, shape, count)
    clip = folder / f"clip-{case.size}.mp4"
    if not clip.exists():
        make_clip(clip, case.width, case.height)
    options = WriteOptions(preset="ultrafast", overwrite=True)
    with EndlessClip(clip) as source, open_sink(folder / "out.mp4", source, options) as sink:
        return run_pipeline(case, source, engine, sink, style, capacity=_CAPACITY).fps


def _case(level: str, style: Style, shape: tuple[int, int], count: int) -> Case:
    """A case that ends after `count` frames of `shape` (H, W)."""
    height, width = shape
    return Case(
        level=level, style=style.name, width=width, height=height, frames=count, burn_in=0.0
    )


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
