"""A batch that stays on the card with what is painted of it: the card without the way there."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack, suppress
from itertools import pairwise
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from rtstyle.closing import Closing
from rtstyle.engines.base import Batch, Engine, StyleVector
from rtstyle.engines.batch import to_batch, to_inputs
from rtstyle.engines.card_painter import CardEngine, CardPainter
from rtstyle.engines.cuda import Cuda, PinnedArray
from rtstyle.errors import EngineError


class Resident(AbstractContextManager["Resident"], Protocol):
    """A batch on the card. One thread uses it, while the engine paints nothing else. `clock` says,
    for people, what takes the time."""

    clock: str

    def time_ms(self, count: int) -> list[float]:
        """Paint the batch `count` times in a row and wait; the milliseconds of each.

        Raises `EngineError`.
        """
        ...

    def result(self) -> Batch:
        """What was painted last, brought back. Raises `EngineError`."""
        ...


@runtime_checkable
class ResidentEngine(Protocol):
    """An engine that keeps its way to the card to itself."""

    def resident(
        self, frames: Batch, style: StyleVector | None = None, strength: float = 1.0
    ) -> Resident | None: ...


def bring_to_card(
    engine: Engine, frames: Batch, style: StyleVector | None = None, strength: float = 1.0
) -> Resident | None:
    """The batch on the card of `engine`; None for an engine that has none or shows no way to stay
    there. On a processor there is nothing to bring: an engine reads the caller's array.

    Raises `EngineError` as `Engine.submit` does.
    """
    if isinstance(engine, ResidentEngine):
        return engine.resident(frames, style, strength)
    if not isinstance(engine, CardEngine):
        return None
    inputs = to_inputs(engine.model, frames, style, strength)
    shapes = {name: array.shape for name, array in inputs.items()}
    painter = engine.painter_on_card(shapes)
    if engine.name.startswith("torch"):
        from rtstyle.engines.torch_resident import ResidentTensors

        return ResidentTensors(engine, painter, inputs)
    return ResidentBuffers(engine, painter, inputs)


class _Buffer:
    """Memory of the card as painters take it: they ask a tensor where it lies, and no more."""

    def __init__(self, cuda: Cuda, array: NDArray[Any], stack: ExitStack) -> None:
        self.pinned: PinnedArray = cuda.pinned(array.shape, array.dtype)
        stack.callback(self.pinned.free)
        np.copyto(self.pinned.array, array)
        self._address = cuda.malloc(array.nbytes)
        stack.callback(cuda.call, "Free", self._address)

    def data_ptr(self) -> int:
        return self._address


class ResidentBuffers(Closing):
    """See `Resident`. Painting is recorded as a CUDA graph without the copies, and timed by events
    on its stream. Needs no torch."""

    clock = "between CUDA events"

    def __init__(
        self, engine: CardEngine, painter: CardPainter, inputs: Mapping[str, NDArray[Any]]
    ) -> None:
        self._model, self._painter = engine.model, painter
        self._cuda = cuda = Cuda()
        with ExitStack() as stack:
            self._stream = cuda.stream()
            stack.callback(cuda.call, "StreamDestroy", self._stream)
            self._inputs = {name: _Buffer(cuda, array, stack) for name, array in inputs.items()}
            frame = inputs[engine.model.frame_input]
            self._output = _Buffer(cuda, np.zeros_like(frame), stack)
            for buffer in self._inputs.values():
                cuda.copy_to_card(buffer.data_ptr(), buffer.pinned, self._stream)
            for _ in range(2):  # the first time may allocate, which cannot be recorded
                self._paint()
            cuda.call("StreamSynchronize", self._stream)
            self._graph: Any = None
            with suppress(EngineError):  # else it is enqueued piece by piece
                self._graph = cuda.record(self._paint, self._stream)
                stack.callback(cuda.call, "GraphExecDestroy", self._graph)
            self._held = stack.pop_all()

    def _paint(self) -> None:
        self._painter(self._inputs, self._output, self._stream)

    def time_ms(self, count: int) -> list[float]:
        """See `Resident.time_ms`."""
        with ExitStack() as stack:

            def mark() -> Any:
                event = self._cuda.timed_event()
                stack.callback(self._cuda.call, "EventDestroy", event)
                self._cuda.call("EventRecord", event, self._stream)
                return event

            events = [mark()]
            for _ in range(count):
                if self._graph is None:
                    self._paint()
                else:
                    self._cuda.call("GraphLaunch", self._graph, self._stream)
                events.append(mark())
            self._cuda.call("EventSynchronize", events[-1])
            return [self._cuda.milliseconds(*pair) for pair in pairwise(events)]

    def result(self) -> Batch:
        """See `Resident.result`."""
        self._cuda.copy_from_card(self._output.pinned, self._output.data_ptr(), self._stream)
        self._cuda.call("StreamSynchronize", self._stream)
        return to_batch(self._model, self._output.pinned.array.copy())

    def close(self) -> None:
        with suppress(EngineError):  # a lost card has nothing to wait for, and frees by itself
            self._cuda.call("StreamSynchronize", self._stream)
            self._held.close()
