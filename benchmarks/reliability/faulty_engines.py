"""Engines that do what no engine should, one fault a class."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Event
from time import sleep
from typing import Any

import numpy as np

from rtstyle.engines.base import Batch, Done, Pending, StyleVector, wait_for
from rtstyle.engines.identity_engine import IdentityEngine
from rtstyle.engines.options import DEFAULTS, EngineOptions
from rtstyle.model.spec import ModelSpec

FAULTY_BATCH = 5  # counted from 0


class FaultyEngine(IdentityEngine):
    """Copies batches, ten milliseconds each; a fault overrides what the sixth one gives."""

    name = "faulty"

    def __init__(self, model: ModelSpec, options: EngineOptions = DEFAULTS) -> None:
        super().__init__(model, options)
        self.n = 0

    def submit(
        self, frames: Batch, style: StyleVector | None = None, strength: float = 1.0
    ) -> Pending:
        """Paint a batch; see `Engine.submit`."""
        sleep(0.01)
        painted = super().submit(frames, style, strength)
        self.n += 1
        return self.fault(frames) if self.n == FAULTY_BATCH + 1 else painted

    def fault(self, frames: Batch) -> Any:
        """What goes wrong. Nothing does here."""
        return Done(frames.copy())


class RaisingEngine(FaultyEngine):
    """Raises an error that is none of rtstyle's, with a message of several lines."""

    def fault(self, frames: Batch) -> Any:
        raise RuntimeError("the driver\n  went away")


class LateRaisingEngine(FaultyEngine):
    """Raises only when the result is asked for."""

    def fault(self, frames: Batch) -> Any:
        class Raising:
            def wait(self, seconds: float) -> bool:
                return True

            def result(self) -> Batch:
                raise OSError(5, "the GPU fell off the bus")

        return Raising()


class HangingEngine(FaultyEngine):
    """Never comes back, or not before `release` is set."""

    release = Event()

    def fault(self, frames: Batch) -> Any:
        self.release.wait()
        return Done(frames.copy())


class HangingLateEngine(HangingEngine):
    """Takes the batch, and never finishes it, or not before `release` is set."""

    def fault(self, frames: Batch) -> Any:
        class Hanging:
            def wait(self, seconds: float) -> bool:
                return HangingEngine.release.wait(seconds)

            def result(self) -> Batch:
                wait_for(self)
                return frames.copy()

        return Hanging()


class HangingAtOnceEngine(HangingEngine):
    """Hangs on the very first picture, where engines may be building something."""

    def submit(
        self, frames: Batch, style: StyleVector | None = None, strength: float = 1.0
    ) -> Pending:
        """Hang."""
        self.release.wait()
        return super().submit(frames, style, strength)


class WrongShapeEngine(FaultyEngine):
    """Gives a picture that is too small."""

    def fault(self, frames: Batch) -> Any:
        return Done(frames[:, :-4].copy())


class WrongTypeEngine(FaultyEngine):
    """Gives numbers that are no bytes."""

    def fault(self, frames: Batch) -> Any:
        return Done(np.full(frames.shape, np.nan, np.float32))


class NothingEngine(FaultyEngine):
    """Gives nothing."""

    def fault(self, frames: Batch) -> Any:
        return Done(None)  # type: ignore[arg-type]


class StarvedEngine(FaultyEngine):
    """Finds no memory."""

    def fault(self, frames: Batch) -> Any:
        raise MemoryError("Unable to allocate 8.00 EiB")


class LosingEngine(FaultyEngine):
    """Deletes the input, named by the environment, while it is read."""

    def fault(self, frames: Batch) -> Any:
        Path(os.environ["RTSTYLE_FAULT_INPUT"]).unlink()
        return super().fault(frames)


class CuttingEngine(FaultyEngine):
    """Cuts the input off in its middle while it is read."""

    def fault(self, frames: Batch) -> Any:
        path = os.environ["RTSTYLE_FAULT_INPUT"]
        os.truncate(path, os.path.getsize(path) // 2)
        return super().fault(frames)
