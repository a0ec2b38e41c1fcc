"""Too little GPU memory: caches are dropped, then batches are run in smaller parts."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import RLock
from time import monotonic

import numpy as np

from rtstyle.engines.base import Batch, Pending, StyleVector, wait_for
from rtstyle.errors import EngineError
from rtstyle.model.spec import ModelSpec

HINT = "paint smaller pictures (--height) or leave the GPU to this program alone"
_log = logging.getLogger("rtstyle")


class OutOfDeviceMemoryError(EngineError):
    """A GPU whose memory does not hold a batch."""


def is_about_memory(text: str) -> bool:
    """Whether a runtime's message is about too little memory, and not about a bad address."""
    text = text.lower()
    phrases = ("out of memory", "out_of_memory", "failed to allocate", "smaller than requested")
    return any(phrase in text for phrase in phrases)


class BatchSplitter:
    """Runs batches whole, or in as many parts as the GPU's memory requires.

    `start` runs a batch or raises `OutOfDeviceMemoryError`, at once or in the result. Then
    `make_room` frees what the engine only keeps ready, and if that does not help the batch is
    halved, down to single pictures; what fits is remembered for every size. A single picture that
    does not fit is an `EngineError`. Safe from any thread.
    """

    def __init__(
        self,
        model: ModelSpec,
        start: Callable[[Batch, StyleVector | None, float], Pending],
        make_room: Callable[[], None],
    ) -> None:
        self._model, self._start, self._make_room = model, start, make_room
        self._most: dict[tuple[int, ...], int] = {}  # pictures at once, by their size
        self._lock = RLock()

    def submit(self, frames: Batch, style: StyleVector | None, strength: float) -> Pending:
        with self._lock:
            count = len(frames)
            most = max(1, min(count, self._most.get(frames.shape[1:], count)))
            if most >= count:
                return self._whole(frames, style, strength)
            parts = [slice(i, i + most) for i in range(0, count, most)]
            return _Joined(
                [self.submit(frames[part], _rows(style, part, count), strength) for part in parts]
            )

    def _whole(
        self, frames: Batch, style: StyleVector | None, strength: float, *, has_room: bool = False
    ) -> Pending:
        try:
            pending = self._start(frames, style, strength)
        except OutOfDeviceMemoryError as error:
            return self._again(error, frames, style, strength, has_room=has_room)

        def again(error: OutOfDeviceMemoryError) -> Pending:
            return self._again(error, frames, style, strength, has_room=has_room)

        return _Attempt(pending, again)

    def _again(
        self,
        error: OutOfDeviceMemoryError,
        frames: Batch,
        style: StyleVector | None,
        strength: float,
        *,
        has_room: bool,
    ) -> Pending:
        """Start anew what did not fit: with more room, else in smaller parts."""
        with self._lock:
            if not has_room:
                self._make_room()
                return self._whole(frames, style, strength, has_room=True)
            if len(frames) == 1 or self._model.batch is not None:
                raise error
            self._most[frames.shape[1:]] = len(frames) // 2
            _log.info("The GPU's memory is too small for %d pictures at once.", len(frames))
            return self.submit(frames, style, strength)


class _Attempt:
    """A batch that may still turn out not to fit, and is then started `again`."""

    def __init__(
        self, pending: Pending, again: Callable[[OutOfDeviceMemoryError], Pending]
    ) -> None:
        self._pending = pending
        self._again: Callable[[OutOfDeviceMemoryError], Pending] | None = again

    def wait(self, seconds: float) -> bool:
        if not self._pending.wait(seconds):
            return False
        again, self._again = self._again, None
        if again is None:
            return True
        try:
            self._pending.result()
        except OutOfDeviceMemoryError as error:
            self._pending = again(error)
            return self._pending.wait(0)
        except EngineError:
            pass  # raised by `result`
        return True

    def result(self) -> Batch:
        wait_for(self)
        return self._pending.result()


class _Joined:
    """The parts of a batch, in order."""

    def __init__(self, parts: list[Pending]) -> None:
        self._parts = parts

    def wait(self, seconds: float) -> bool:
        end = monotonic() + seconds
        return all(part.wait(max(0.0, end - monotonic())) for part in self._parts)

    def result(self) -> Batch:
        return np.concatenate([part.result() for part in self._parts])


def _rows(style: StyleVector | None, part: slice, count: int) -> StyleVector | None:
    return style[part] if style is not None and len(style) == count else style
