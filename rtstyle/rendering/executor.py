"""Who paints the segments of a job: this process, or workers elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

from rtstyle.closing import Closing
from rtstyle.engines import open_engine
from rtstyle.engines.base import Engine
from rtstyle.metrics import Report
from rtstyle.rendering.encode import paint_segments
from rtstyle.rendering.job import RenderJob
from rtstyle.rendering.plan import Segment
from rtstyle.style.style import Style


class Painter(Protocol):
    """Paints segments of settled jobs. `threads` are those of an engine where nobody says how many,
    None for what the engine takes by itself."""

    threads: int | None

    def open(self, job: RenderJob, style: Style) -> None:
        """See whether it can paint; harmless the second time. Raises the errors of an engine."""
        ...

    def paint(
        self,
        job: RenderJob,
        style: Style,
        todo: Sequence[Segment],
        path: Callable[[int], Path],
        *,
        resumed: int,
        on_frame: Callable[[Report], None],
    ) -> Report:
        """As `paint_segments`; an earlier run painted `resumed` frames."""
        ...


class LocalPainter(Closing):
    """Paints one segment after the other with one engine, which closing it closes."""

    threads: int | None = None

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._engine: Engine | None = None

    def open(self, job: RenderJob, style: Style) -> None:
        """Load the model."""
        if self._engine is None:
            self._engine = self._stack.enter_context(open_engine(job.engine, style.model))

    def paint(
        self,
        job: RenderJob,
        style: Style,
        todo: Sequence[Segment],
        path: Callable[[int], Path],
        *,
        resumed: int,
        on_frame: Callable[[Report], None],
    ) -> Report:
        """See `Painter.paint`."""
        self.open(job, style)
        assert self._engine is not None
        return paint_segments(
            job, todo, path, engine=self._engine, style=style, resumed=resumed, on_frame=on_frame
        )

    def close(self) -> None:
        self._stack.close()
