"""The open engines of renders: one for each model, and for each size that it paints at."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from fractions import Fraction

import numpy as np

from rtstyle.closing import Closing
from rtstyle.engines import EngineOptions, open_engine
from rtstyle.engines.base import Engine
from rtstyle.engines.registry import engine_rows
from rtstyle.frame import StreamInfo
from rtstyle.image import Look, prepare
from rtstyle.masks import PersonMasks
from rtstyle.media.base import Sink, Source
from rtstyle.pipeline import Pipeline
from rtstyle.rendering.job import RenderJob
from rtstyle.rendering.memory import return_large_blocks
from rtstyle.rendering.timeline import Timeline
from rtstyle.steady import SteadyFilter, lead_seconds
from rtstyle.style.style import Style

_LARGE = 4_000_000  # pixels of a frame


class Engines(Closing):
    """Opens engines when they are asked for, and closes them all. Raises `EngineError`."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._open: dict[object, Engine] = {}

    def get(self, options: EngineOptions, style: Style, look: Look) -> Engine:
        """The engine that has the model of the style. What an engine gives may depend on the sizes
        that it saw before, by single grey levels, so another size has its own."""
        key = options, style.model.path, look.height, look.scale, look.stroke, look.upscale
        if key not in self._open:
            self._open[key] = self._stack.enter_context(open_engine(options, style.model))
        return self._open[key]

    def close(self) -> None:
        self._open.clear()
        self._stack.close()


def pipeline_of(
    job: RenderJob,
    engines: Engines,
    source: Source,
    sink: Sink,
    *,
    steady: SteadyFilter | None = None,
    starts: Sequence[Fraction] = (),
    announces: bool = False,
) -> Pipeline:
    """The pipeline that paints the source of the job, or a part of it, into `sink`; with
    `announces`, engines are prepared for the source's size. `starts` are those of segments."""
    is_large = source.info.width * source.info.height > _LARGE
    if is_large:
        return_large_blocks()
    announced = set[Engine]()

    def engine_for(style: Style, look: Look) -> Engine:
        engine = engines.get(job.engine, style, look)
        if announces and engine not in announced:
            announced.add(engine)
            announce(source.info, style, look, engine)
        return engine

    engine = engine_for(job.style, job.look)
    # Where a CPU paints large frames, all else waits for it: no use in keeping many of them.
    row = engine_rows().get(engine.name)
    is_slow = is_large and row is not None and not row.runs_on_gpu
    pipeline = Pipeline(
        source, engine, sink, style=job.style, look=job.look, steady=steady,
        capacity=1 if is_slow else 2,
    )  # fmt: skip
    if job.changes or job.areas:
        pipeline.timeline = Timeline(job.states, engine_for)
    pipeline.cuts_out = job.writing.alpha
    if job.finds_areas:
        pipeline.masks = PersonMasks(starts=starts, lead=lead_seconds(source.info.rate))
    return pipeline


def announce(info: StreamInfo, style: Style, look: Look, engine: Engine) -> None:
    """Prepare an engine that runs its first frames in another way for the size of all of them."""
    black = np.zeros((info.height, info.width, 3), np.uint8)
    engine.expect(prepare(black, model=engine.model, look=look), style.vector)
