"""What every engine is: a runtime that stylizes batches with one model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic, sleep
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from rtstyle.closing import Closing
from rtstyle.errors import EngineError
from rtstyle.frame import DeviceImage
from rtstyle.model.spec import ModelSpec

if TYPE_CHECKING:
    from rtstyle.engines.cuda.slot import Slot

Batch = NDArray[np.uint8]  # (N, H, W, 3) RGB; H and W multiples of the model's stride
StyleVector = NDArray[np.float32]  # (N, S)
Shapes = dict[str, tuple[int, ...]]  # of every model input, by name

SLICE_SECONDS = 1.0  # of a wait without a limit; Ctrl-C gets through between two slices
_SHORTEST_PAUSE, _LONGEST_PAUSE = 20e-6, 500e-6  # seconds between two queries of a GPU


class Waitable(Protocol):
    """Work in flight. One thread at a time waits for it, and it need not be the submitter's."""

    def wait(self, seconds: float) -> bool:
        """Wait for at most `seconds`; whether the work is finished. Work that failed is finished
        too, and its `result` raises why."""
        ...


class Pending(Waitable, Protocol):
    """A batch in flight."""

    def result(self) -> Batch:
        """The stylized batch, of the shape submitted; waits as long as it takes, in slices that
        Ctrl-C can interrupt. The caller owns the array. May be asked for twice.

        Raises `EngineError`.
        """
        ...


class PendingImage(Waitable, Protocol):
    """A frame in flight that stays in the GPU's memory; as `Pending` otherwise."""

    def result(self) -> DeviceImage: ...


@dataclass(frozen=True, slots=True)
class Done:
    """A `Pending` that is finished already."""

    stylized: Batch

    def wait(self, seconds: float) -> bool:
        return True

    def result(self) -> Batch:
        return self.stylized


class Engine(Closing, ABC):
    """Stylizes batches with one loaded model. Used as a context manager, which frees the device.

    `submit` is called from one thread; `Pending.result` may be called from another. The engine
    may read `frames` until the result is there, and never writes into it. What all engines share
    and what only some can do is declared here; wrappers forward all of it.
    """

    name: str  # as given to --engine
    device: str  # what it runs on, for people: "CPU, 2 threads"
    model: ModelSpec

    @property
    def precision(self) -> str:
        """Of the arithmetic: that of the loaded graph, "fp32", "fp16" or "int8"; or "bf16"."""
        return self.model.precision

    # Whether a new size is built after `submit` has returned, so that its first batch takes long.
    builds_in_flight: ClassVar[bool] = False

    @property
    def pads(self) -> bool:
        """Whether `submit` takes pictures of any size and pads them as `prepare` does, where it has
        to copy them in any case. Results have the size of what was submitted."""
        return False

    @classmethod
    def version(cls) -> str:
        """The version of the runtime. Raises `EngineError` where it cannot run."""
        return ""

    @abstractmethod
    def submit(
        self, frames: Batch, style: StyleVector | None = None, strength: float = 1.0
    ) -> Pending:
        """Start stylizing a batch. `style` is given exactly when the model takes one.

        `strength`, 0 to 1, is how far from the picture towards the painting a model goes that
        blends inside (`model.takes_strength`); every other model ignores it.

        Raises `EngineError` when the batch does not fit the model.
        """

    def takes_device_image(self, image: DeviceImage) -> bool:
        """Whether `submit_device` takes this frame where it lies."""
        return False

    def submit_device(
        self, image: DeviceImage, style: StyleVector | None = None, strength: float = 1.0
    ) -> PendingImage:
        """Start stylizing a frame in the GPU's memory, at its own size. `strength` is honoured
        whatever the model. Raises `EngineError`."""
        raise EngineError(f"The engine {self.name} takes no frames in the memory of a GPU.")

    def open_slot(
        self, frames: Batch, style: StyleVector | None = None, strength: float = 1.0
    ) -> Slot | None:
        """A slot of the GPU that holds the batch, for benchmarks to time the run alone; the caller
        closes it. None for an engine that computes in this computer's memory.

        Raises `EngineError` as `submit` does.
        """
        return None

    def expect(self, frames: Batch, style: StyleVector | None = None) -> None:
        """Many batches like this one follow: the first is computed exactly as the later ones are.

        Only engines that treat the first batch of a size differently have something to do.
        """

    def is_ready(self, shapes: Shapes) -> bool:
        """Whether inputs of these shapes can be submitted without building anything first."""
        return True

    def build(self, shapes: Shapes) -> None:
        """Build what inputs of these shapes need; may be called from another thread.

        Raises `EngineError`.
        """


def poll(is_done: Callable[[], bool], seconds: float) -> bool:
    """Ask `is_done` until it says yes or `seconds` are over; returns its last answer. For runtimes
    whose own wait has no time limit."""
    end, pause = monotonic() + seconds, _SHORTEST_PAUSE
    while not is_done():
        left = end - monotonic()
        if left <= 0:
            return False
        sleep(min(pause, left))
        pause = min(2 * pause, _LONGEST_PAUSE)
    return True


def wait_for(pending: Waitable) -> None:
    """Wait as long as it takes."""
    while not pending.wait(SLICE_SECONDS):
        pass
