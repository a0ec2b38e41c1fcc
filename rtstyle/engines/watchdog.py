"""Batches handed to an engine and taken back: whatever goes wrong becomes one `EngineError`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from threading import Thread

import numpy as np

from rtstyle.engines.base import Batch, Engine, Pending, PendingImage, StyleVector
from rtstyle.engines.batch import cannot_paint, hanging
from rtstyle.errors import EngineError, RtstyleError
from rtstyle.frame import DeviceImage

CLOSING_SECONDS = 2.0  # given to a batch whose result nobody wants any more


class Watchdog:
    """Submits batches, and gives up an engine that does not come back from one.

    `submit` is called by one thread. Another one waits for the results; while it has no result to
    wait for, it calls `tick` after every `SECONDS`. An engine that has been busy with one batch for
    `patience` seconds, submitting or running it, is taken to hang. The first batch of a size may
    take as long as it likes, as engines build what they need for it. Slices of waiting count, not
    the clock, so that a laptop may sleep meanwhile.
    """

    SECONDS = 1.0

    def __init__(self, patience: float) -> None:
        self.patience = patience
        self._known: _Work | None = None  # for which nothing is left to build
        self._busy: _Work | None = None
        self._suspect: _Work | None = None
        self._silent_seconds = 0.0

    def submit(
        self,
        engine: Engine,
        picture: Batch | DeviceImage,
        style: StyleVector | None,
        strength: float,
    ) -> Submitted:
        """Have `engine` start on a batch or a frame on its GPU; see `Engine.submit`.

        Raises `EngineError`.
        """
        work = _Work(engine, _shape(picture))
        is_first = work != self._known
        self._busy = None if is_first else work
        try:
            pending: Pending | PendingImage
            if isinstance(picture, DeviceImage):
                pending = engine.submit_device(picture, style, strength)
            else:
                pending = engine.submit(picture, style, strength)
        except Exception as error:
            raise _blamed(work, error) from error
        self._busy, self._known = None, work
        may_build = is_first and engine.builds_in_flight
        return Submitted(work, pending, None if may_build else self)

    def tick(self) -> None:
        """Raise `EngineError` when `submit` has been busy with the same batch for too long."""
        busy = self._busy  # an object of its own for every batch
        if busy is None or busy is not self._suspect:
            self._suspect, self._silent_seconds = busy, 0.0
            return
        self._silent_seconds += self.SECONDS
        if self._silent_seconds >= self.patience:
            raise hanging(f"The engine {busy.engine.name}", self._silent_seconds)


@dataclass(frozen=True, slots=True)
class _Work:
    engine: Engine
    shape: tuple[int, ...]  # of the batch


@dataclass(frozen=True, slots=True)
class Submitted:
    """A batch that an engine has; `watchdog` limits the wait for it, if there is one."""

    work: _Work
    pending: Pending | PendingImage
    watchdog: Watchdog | None

    def result(self) -> Batch | DeviceImage:
        """Wait for the stylized batch or frame.

        Raises `EngineError` when the engine hangs, or returns anything but a batch of the same
        shape or a frame of the same size.
        """
        work = self.work
        try:
            self._wait()
            stylized = self.pending.result()
        except Exception as error:
            raise _blamed(work, error) from error
        if isinstance(stylized, DeviceImage) and _shape(stylized) == work.shape:
            return stylized
        dtype, shape = getattr(stylized, "dtype", None), getattr(stylized, "shape", None)
        if dtype != np.uint8 or shape != work.shape or isinstance(stylized, DeviceImage):
            raise EngineError(
                f"The engine {work.engine.name} gave {dtype} {shape}, where uint8 {work.shape} was "
                "expected; try another --engine."
            )
        return stylized

    def _wait(self) -> None:
        waited = 0.0
        while not self.pending.wait(Watchdog.SECONDS):
            waited += Watchdog.SECONDS
            if self.watchdog is not None and waited >= self.watchdog.patience:
                raise hanging(f"The engine {self.work.engine.name}", waited)


def outlive(wait: Callable[[], object], *kept: object) -> None:
    """Hold `kept`, which a hanging runtime may still use, in a thread until `wait` returns, if
    ever. The command line knows the thread's name and ends the process in spite of it."""

    def hold(*held: object) -> None:
        with suppress(Exception):  # whatever the runtime says now is of no interest
            wait()

    Thread(target=hold, args=kept, name="rtstyle-hanging", daemon=True).start()


def _shape(picture: Batch | DeviceImage) -> tuple[int, ...]:
    return (1, *picture.shape) if isinstance(picture, DeviceImage) else picture.shape


def _blamed(work: _Work, error: Exception) -> RtstyleError:
    """An error of the engine's as one of ours; those that are stay as they are."""
    if isinstance(error, RtstyleError):
        return error
    reason = " ".join(str(error).split()) or type(error).__name__
    return cannot_paint(f"The engine {work.engine.name}", work.shape, reason)
