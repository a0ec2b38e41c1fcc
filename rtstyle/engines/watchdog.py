"""Batches handed to an engine and taken back: whatever it does wrong becomes one `EngineError`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rtstyle.engines.base import Batch, Engine, Pending, StyleVector
from rtstyle.engines.batch import cannot_paint, hanging
from rtstyle.errors import EngineError, RtstyleError

_Work = tuple[Engine, tuple[int, ...]]  # an engine and the shape of the batch that it has


@dataclass(frozen=True, slots=True)
class Painting:
    """A batch that `engine` is painting; `shape` is its shape."""

    engine: Engine
    shape: tuple[int, ...]
    pending: Pending

    def result(self) -> Batch:
        """Wait for what was painted. Raises `EngineError` when it is no batch of that shape."""
        try:
            painted = self.pending.result()
        except Exception as error:
            raise _blamed(self.engine, self.shape, error) from error
        kind, shape = getattr(painted, "dtype", None), getattr(painted, "shape", None)
        if kind != np.uint8 or shape != self.shape:
            raise EngineError(
                f"The engine {self.engine.name} gave {kind} {shape}, where uint8 {self.shape} was "
                "expected; try another --engine."
            )
        return painted


class EngineWatch:
    """Submits batches, and notices when an engine does not come back from that.

    `submit` is called by one thread. Another one, which waits for what it gives, calls `tick` after
    every `SECONDS` without anything. An engine that has been busy with one batch for `patience`
    seconds is taken to hang; the first batch of a size may take as long as it likes, as engines
    build what they need for it. Ticks count, not the clock, so that a laptop may sleep meanwhile.
    """

    SECONDS = 1.0

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._known: _Work | None = None  # for which nothing is left to build
        self._busy: _Work | None = None
        self._suspect: _Work | None = None
        self._silent_seconds = 0.0

    def submit(
        self, engine: Engine, batch: Batch, style: StyleVector | None, strength: float
    ) -> Painting:
        """Have `engine` start painting; see `Engine.submit`. Raises `EngineError`."""
        work = engine, batch.shape
        self._busy = work if work == self._known else None
        try:
            pending = engine.submit(batch, style, strength)
        except Exception as error:
            raise _blamed(engine, batch.shape, error) from error
        self._busy, self._known = None, work
        return Painting(engine, batch.shape, pending)

    def tick(self) -> None:
        """Raise `EngineError` when `submit` has been busy with the same batch for too long."""
        busy = self._busy  # a tuple of its own for every batch
        if busy is None or busy is not self._suspect:
            self._suspect, self._silent_seconds = busy, 0.0
            return
        self._silent_seconds += self.SECONDS
        if self._silent_seconds >= self._patience:
            raise hanging(f"The engine {busy[0].name}", self._silent_seconds)


def _blamed(engine: Engine, shape: tuple[int, ...], error: Exception) -> RtstyleError:
    """An error of the engine's as one of ours; those that are stay as they are."""
    if isinstance(error, RtstyleError):
        return error
    told = " ".join(str(error).split()) or type(error).__name__
    return cannot_paint(f"The engine {engine.name}", shape, told)
