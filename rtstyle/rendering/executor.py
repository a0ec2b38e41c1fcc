"""What runs the segments of a job: this process, or workers elsewhere."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Protocol

from rtstyle.closing import Closing
from rtstyle.engines import open_engine
from rtstyle.engines.base import Engine
from rtstyle.metrics import Report
from rtstyle.rendering.encode import Batch, encode_segments
from rtstyle.rendering.job import RenderJob


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
    """Runs one segment after the other with one engine, which closing it closes."""

    engine_threads: int | None = None

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._engine: Engine | None = None

    def open(self, job: RenderJob) -> None:
        """Load the model."""
        if self._engine is None:
            self._engine = self._stack.enter_context(open_engine(job.engine, job.style.model))

    def encode(self, batch: Batch) -> Report:
        """See `Executor.encode`."""
        self.open(batch.job)
        assert self._engine is not None
        return encode_segments(batch, self._engine)

    def close(self) -> None:
        self._stack.close()
