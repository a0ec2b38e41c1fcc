"""What every engine is: a runtime that paints pictures with one model."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rtstyle.model.spec import ModelSpec

Batch = NDArray[np.uint8]  # (N, H, W, 3) RGB; H and W multiples of the model's stride
StyleVector = NDArray[np.float32]  # (N, S)


class Pending(Protocol):
    """A batch that is being painted."""

    def result(self) -> Batch:
        """Wait for the painted batch, of the shape submitted. The caller owns the array.

        Where the runtime can wait in slices it does, so that Ctrl-C gets through, and gives up one
        that hangs. Raises `EngineError`.
        """
        ...


class Engine(AbstractContextManager["Engine"], Protocol):
    """Paints batches with one loaded model. Used as a context manager, which frees the device.

    `submit` is called from one thread; `Pending.result` may be called from another. The engine
    may read `frames` until the result is there, and never writes into it.
    """

    name: str  # as given to --engine
    device: str  # what it runs on, for people: "CPU, 2 threads"
    model: ModelSpec

    def submit(
        self, frames: Batch, style: StyleVector | None = None, strength: float = 1.0
    ) -> Pending:
        """Start painting a batch. `style` is given exactly when the model takes one.

        `strength`, 0 to 1, is how far from the picture towards the painting a model goes that
        blends inside (`model.takes_strength`); every other model ignores it.

        Raises `EngineError` when the batch does not fit the model.
        """
        ...
