"""Engines by model and picture size, opened in the background and shared by all sessions."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np

from rtstyle.closing import Closing
from rtstyle.engines import EngineOptions, open_engine
from rtstyle.engines.base import Batch, Engine, Pending, StyleVector
from rtstyle.engines.wrappers import DelegatingEngine
from rtstyle.errors import RtstyleError
from rtstyle.model.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Canvas:
    """A model and the size (height, width) of the batches that its engine runs."""

    model: ModelSpec
    size: tuple[int, int]

    @property
    def key(self) -> tuple[Path, tuple[int, int]]:
        return self.model.path, self.size


class EnginePool(Closing):
    """Lends warmed-up engines, so that the first frame takes no longer than the rest.

    Every lease is released by its holder. Up to `keep` idle engines stay open; the least recently
    used is closed first. Safe from any thread. Used as a context manager, which closes all.
    """

    def __init__(self, engine: str | EngineOptions = "auto", *, keep: int = 6) -> None:
        self.options, self._keep = EngineOptions.of(engine), keep
        self._lock = Lock()
        # least recently used first
        self._open: dict[tuple[Path, tuple[int, int]], _SharedEngine] = {}
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="rtstyle-engines")

    def lease(self, canvas: Canvas) -> Engine:
        """An engine for the canvas, opened now where there is none. Raises `EngineError`."""
        engine = self.lease_if_open(canvas)
        if engine is not None:
            return engine
        fresh = open_engine(self.options, canvas.model)
        opened = _SharedEngine(fresh, canvas)
        try:
            _warm_up(opened, canvas)
        except BaseException:
            opened.close()
            raise
        with self._lock:
            known = self._open.setdefault(canvas.key, opened)
            known.users += 1
            closing = self._surplus()
        if known is not opened:
            closing.append(opened)
        for engine_ in closing:
            engine_.close()
        return known

    def lease_if_open(self, canvas: Canvas) -> Engine | None:
        """An engine for the canvas if one is open; never waits."""
        with self._lock:
            known = self._open.pop(canvas.key, None)
            if known is not None:
                self._open[canvas.key] = known  # now the most recently used
                known.users += 1
            return known

    def lease_soon(
        self,
        canvas: Canvas,
        *,
        wanted: Callable[[], bool],
        ready: Callable[[Engine], None],
        failed: Callable[[RtstyleError], None],
    ) -> None:
        """Lease in the background; `ready` or `failed` is then called in that thread.

        If `wanted()` is false when its turn comes, nothing is opened and neither is called.
        """

        def open_it() -> None:
            if not wanted():
                return
            try:
                engine = self.lease(canvas)
            except RtstyleError as error:
                failed(error)
            else:
                ready(engine)

        try:
            self._worker.submit(open_it)
        except RuntimeError:
            return  # closed: no session runs any more

    def release(self, engine: Engine) -> None:
        """Give a leased engine back."""
        with self._lock:
            if isinstance(engine, _SharedEngine):
                engine.users -= 1
                if self._open.pop(engine.key, None) is not None:
                    self._open[engine.key] = engine  # now the most recently used
            closing = self._surplus()
        for surplus in closing:
            surplus.close()

    def close(self) -> None:
        self._worker.shutdown(wait=True, cancel_futures=True)
        with self._lock:
            closing, self._open = list(self._open.values()), {}
        for engine in closing:
            engine.close()

    def _surplus(self) -> list[_SharedEngine]:
        """Remove the engines to close. The caller holds the lock, and closes them later."""
        idle = [key for key, engine in self._open.items() if engine.users == 0]
        return [self._open.pop(key) for key in idle[: max(0, len(idle) - self._keep)]]


class _SharedEngine(DelegatingEngine):
    """An engine with a lock around `submit`, which several threads may call."""

    def __init__(self, engine: Engine, canvas: Canvas) -> None:
        super().__init__((engine,))
        self.key = canvas.key
        self.users = 0
        self._lock = Lock()

    def submit(
        self, frames: Batch, style: StyleVector | None = None, strength: float = 1.0
    ) -> Pending:
        with self._lock:
            return super().submit(frames, style, strength)

    def close(self) -> None:
        with self._lock:
            super().close()


def _warm_up(engine: Engine, canvas: Canvas) -> None:
    """Run twice: engines compile for a size when it comes again."""
    frames = np.zeros((1, *canvas.size, 3), np.uint8)
    size = canvas.model.style_size
    style = np.full((1, size), 1 / size, np.float32) if size else None
    for _ in range(2):
        engine.submit(frames, style).result()
