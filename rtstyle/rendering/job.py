"""What is to be painted, and how: everything that a segment's bytes follow from."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

from rtstyle.engines.options import DEFAULTS, EngineOptions
from rtstyle.errors import UsageError
from rtstyle.frame import StreamInfo
from rtstyle.image import Look
from rtstyle.media import ReadOptions, WriteOptions
from rtstyle.media.video.formats import container_for
from rtstyle.media.video.nvcodec import device_encoder


@dataclass(frozen=True, slots=True, kw_only=True)
class Segments:
    """How a render is cut: into segments of at least `seconds`, each the loss of a kill at most.

    With `keep`, their folder beside the output stays when all is done. Raises `UsageError`.
    """

    seconds: Fraction = Fraction(10)
    keep: bool = False

    def __post_init__(self) -> None:
        if self.seconds <= 0:
            raise UsageError(f"A segment lasts more than 0 seconds, not {float(self.seconds):g}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderJob:
    """One video or sequence of pictures to be painted into one video. Picklable.

    `style` is the text that `rtstyle.find_style` takes; `engine` is what
    `rtstyle.open_engine` takes.
    """

    source: Path
    output: Path
    style: str
    look: Look = field(default_factory=Look)
    reading: ReadOptions = field(default_factory=ReadOptions)
    writing: WriteOptions = field(default_factory=WriteOptions)
    engine: EngineOptions = DEFAULTS
    segments: Segments = field(default_factory=Segments)


def settled(
    job: RenderJob,
    info: StreamInfo,
    *,
    threads: int | None = None,
    engine_threads: int | None = None,
) -> RenderJob:
    """The job with nothing left to what a machine has: its encoder and how many threads that uses.

    `info` is that of the source; `threads` are those of the encoder that an earlier run began with,
    `engine_threads` those of the engine. None of the latter leaves them to the engine, which paints
    the same on one machine; their number changes the last digit of sums, and so single grey levels.
    """
    usual = container_for(job.output).codec
    codec = (
        job.writing.codec
        or device_encoder(usual, job.writing.hwaccel, info.width, info.height)
        or usual
    )
    threads = job.writing.threads or threads or _usual_threads()
    writing = replace(job.writing, codec=codec, threads=threads)
    engine = replace(job.engine, threads=job.engine.threads or engine_threads)
    return replace(job, writing=writing, engine=engine)


def _usual_threads() -> int:
    """As many as x264 takes by itself, within what helps."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(16, (cores or 1) * 3 // 2))
