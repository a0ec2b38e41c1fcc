"""A batch that stays on the card while ONNX Runtime paints it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from time import perf_counter
from typing import Any

from numpy.typing import NDArray

from rtstyle.closing import Closing
from rtstyle.engines.base import Batch
from rtstyle.engines.batch import to_batch
from rtstyle.model.spec import ModelSpec


class ResidentBinding(Closing):
    """See `Resident`. `paint` paints what is bound and returns when the card is done; `download`
    gives what was painted. Both run in `worker`, the thread that the session belongs to.

    ONNX Runtime keeps its stream to itself, so that there is no place for events.
    """

    clock = "until the card was done, by this process's clock"

    def __init__(
        self,
        model: ModelSpec,
        worker: Executor,
        paint: Callable[[], None],
        download: Callable[[], NDArray[Any]],
    ) -> None:
        self._model, self._worker = model, worker
        self._paint, self._download = paint, download
        self.time_ms(2)  # the first times allocate and record

    def time_ms(self, count: int) -> list[float]:
        """See `Resident.time_ms`."""
        return self._worker.submit(self._time, count).result()

    def _time(self, count: int) -> list[float]:
        times = []
        for _ in range(count):
            start = perf_counter()
            self._paint()
            times.append((perf_counter() - start) * 1e3)
        return times

    def result(self) -> Batch:
        """See `Resident.result`."""
        return to_batch(self._model, self._worker.submit(self._download).result())
