"""A slower engine that paints at once, until a faster one is ready in the background."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from threading import Lock, Thread
from typing import Protocol

from rtstyle.closing import Closing
from rtstyle.engines.base import Batch, Engine, Pending, StyleVector
from rtstyle.engines.batch import to_inputs
from rtstyle.errors import EngineError
from rtstyle.model.spec import ModelSpec

Shapes = dict[str, tuple[int, ...]]
_log = logging.getLogger("rtstyle")


class BuildingEngine(Engine, Protocol):
    """An engine that has to build something for every size, which takes long the first time."""

    def is_ready(self, shapes: Shapes) -> bool:
        """Whether a batch of these shapes would be painted without building."""
        ...

    def prepare(self, shapes: Shapes) -> None:
        """Build for these shapes; called from another thread. Raises `EngineError`."""
        ...


class UpgradingEngine(Closing):
    """Every batch goes to `better` where it is ready for the batch's size, else to `first`.

    One size is built at a time, by a thread of its own. No batch waits for that and none is lost:
    each is submitted to one engine and its `Pending` belongs to that. What cannot be built is said
    once in the log, and `first` goes on. Closes both engines.
    """

    def __init__(self, first: Engine, better: BuildingEngine) -> None:
        self._first, self._better = first, better
        self._failed: set[str] = set()
        self._thread: Thread | None = None
        self._lock = Lock()
        self.name, self.device = first.name, first.device
        self.model: ModelSpec = first.model

    def submit(
        self, frames: Batch, style: StyleVector | None = None, strength: float = 1.0
    ) -> Pending:
        """Start painting; see `Engine.submit`."""
        inputs = to_inputs(self.model, frames, style, strength)
        shapes = {name: array.shape for name, array in inputs.items()}
        if self._use_better(shapes):
            return self._better.submit(frames, style, strength)
        return self._first.submit(frames, style, strength)

    def wait(self, timeout: float | None = None) -> None:
        """Wait until nothing is being built."""
        if self._thread is not None:
            self._thread.join(timeout)

    def _use_better(self, shapes: Shapes) -> bool:
        key = repr(sorted(shapes.items()))
        with self._lock:
            if key in self._failed:
                return False
            if self._thread is not None and self._thread.is_alive():
                return False
            if self._better.is_ready(shapes):
                if self.name != self._better.name:
                    self.name, self.device = self._better.name, self._better.device
                    _log.info("Engine %s on %s from now on.", self.name, self.device)
                return True
            _log.info("%s is being built while %s paints.", self._better.name, self._first.name)
            self._thread = Thread(
                target=self._build, args=(key, shapes), name="rtstyle-build", daemon=True
            )
            self._thread.start()
            return False

    def _build(self, key: str, shapes: Shapes) -> None:
        try:
            self._better.prepare(shapes)
        except EngineError as error:
            self._failed.add(key)
            _log.warning("%s goes on, as %s failed: %s", self._first.name, self._better.name, error)

    def close(self) -> None:
        self.wait()  # a build cannot be broken off, and what it makes is kept for the next time
        with ExitStack() as stack:
            stack.push(self._first)
            stack.push(self._better)
