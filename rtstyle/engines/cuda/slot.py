"""Batches in flight on a GPU: slots that each hold one, pools of them, and the sizes kept ready."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import OrderedDict, deque
from collections.abc import Callable
from threading import Lock
from typing import Any, Generic, TypeVar

from numpy.typing import NDArray

from rtstyle.closing import Closing
from rtstyle.engines.base import Batch, poll, wait_for
from rtstyle.engines.cuda.memory import OutOfDeviceMemoryError
from rtstyle.engines.watchdog import CLOSING_SECONDS, outlive
from rtstyle.errors import EngineError

SLOTS = 3  # batches on the GPU at once: one uploading, one running, one downloading
Inputs = dict[str, NDArray[Any]]  # by name, as `to_inputs` gives them
R = TypeVar("R")
_log = logging.getLogger("rtstyle")


class Running(Closing, ABC, Generic[R]):
    """What one batch in flight needs for itself: a stream, buffers, and where it can a graph."""

    @abstractmethod
    def is_done(self) -> bool:
        """Whether the work that was started is over, also by an error; asked from any thread."""

    @abstractmethod
    def result(self) -> R:
        """The result, which the caller owns. Raises `EngineError`."""


class Slot(Closing, ABC):
    """The upload, run and download of batches of one shape.

    Stylizing does all three in turn; a benchmark does `upload` once, times the run alone and checks
    the result of `download`. `clock` says, for people, how the time is measured.
    """

    clock = "between CUDA events"

    @abstractmethod
    def upload(self, inputs: Inputs) -> None:
        """Copy a batch to the GPU and wait."""

    @abstractmethod
    def time_run_ms(self, count: int) -> list[float]:
        """Run the uploaded batch `count` times in a row and wait; the milliseconds of each.

        Raises `EngineError`.
        """

    @abstractmethod
    def download(self) -> Batch:
        """The result of the last run, copied back. Raises `EngineError`."""


class CudaSlot(Slot, Running[Batch]):
    """A slot whose upload, run and download can be in flight."""

    @abstractmethod
    def start(self, inputs: Inputs) -> None:
        """Enqueue upload, run and download of a batch; returns at once."""


S = TypeVar("S", bound=Running[Any])


class SlotPool(Generic[S]):
    """The slots for batches of one shape: as many as the GPU's memory holds, three at most.

    Raises `OutOfDeviceMemoryError` when it does not hold one.
    """

    def __init__(self, make: Callable[[], S]) -> None:
        self._slots: list[S] = []
        self._busy: deque[RunningBatch[Any]] = deque()
        self._lock = Lock()
        for _ in range(SLOTS):
            try:
                self._slots.append(make())
            except OutOfDeviceMemoryError:
                if not self._slots:
                    raise
                _log.info("The GPU's memory holds %d batches at once.", len(self._slots))
                break
            except BaseException:
                self.close()
                raise
        self._free = deque(self._slots)

    def start(self, where: str, begin: Callable[[S], None]) -> RunningBatch[Any]:
        """`begin` a batch in a free slot; the oldest batch is brought back first where none is.

        `where` names the GPU in errors.
        """
        slot = self._take()
        try:
            begin(slot)
        except BaseException:
            with self._lock:
                self._free.append(slot)
            raise
        running = RunningBatch(where, slot, self._ended)
        with self._lock:
            self._busy.append(running)
        return running

    def _take(self) -> S:
        while True:
            with self._lock:
                if self._free:
                    return self._free.popleft()
                oldest = self._busy.popleft()
            oldest.bring_back()

    def _ended(self, running: RunningBatch[Any], slot: S) -> None:
        with self._lock:
            if running in self._busy:
                self._busy.remove(running)
            self._free.append(slot)

    def close(self) -> None:
        """Bring back what is in flight, then free the memory. A GPU that hangs keeps it: freeing
        would wait for it for ever."""
        while True:
            with self._lock:
                if not self._busy:
                    break
                oldest = self._busy.popleft()
            if not oldest.wait(CLOSING_SECONDS):
                outlive(oldest.bring_back, *self._slots)
                return
            oldest.bring_back()
        for slot in self._slots:
            slot.close()


class RunningBatch(Generic[R]):
    """A batch on the GPU, a `Pending`. Its slot is free again once the result was copied out."""

    def __init__(
        self, where: str, slot: Running[R], ended: Callable[[RunningBatch[R], Any], None]
    ) -> None:
        self._where, self._ended = where, ended
        self._slot: Running[R] | None = slot
        self._result: R | None = None
        self._error: EngineError | None = None
        self._lock = Lock()

    def wait(self, seconds: float) -> bool:
        return poll(self._is_done, seconds)

    def _is_done(self) -> bool:
        slot = self._slot  # None as soon as another thread has brought the batch back
        return slot is None or slot.is_done()

    def bring_back(self) -> None:
        """Wait for the batch and copy it out of the slot. Safe from any thread."""
        with self._lock:
            slot = self._slot
            if slot is None:
                return
            try:
                self._result = slot.result()
            except EngineError as error:
                self._error = type(error)(f"{self._where} failed on a batch: {error}")
            self._slot = None
            self._ended(self, slot)

    def result(self) -> R:
        wait_for(self)
        self.bring_back()
        if self._result is None:
            raise self._error or EngineError(f"{self._where} gave no picture.")
        return self._result


class PoolCache(Generic[S]):
    """Pools for the shapes used last, since each holds GPU memory. No two calls at once."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._pools: OrderedDict[str, SlotPool[S]] = OrderedDict()

    def __contains__(self, key: str) -> bool:
        return key in self._pools

    def get(self, key: str, maker: Callable[[], Callable[[], S]]) -> SlotPool[S]:
        """The pool called `key`. Where there is none, `maker` gives what makes its slots, and the
        least recently used pool is closed to make room."""
        if key not in self._pools:
            make = maker()
            while len(self._pools) >= self._keep:
                self._pools.popitem(last=False)[1].close()
            self._pools[key] = SlotPool(make)
        self._pools.move_to_end(key)
        return self._pools[key]

    def close(self) -> None:
        """Close all; what is in flight is brought back."""
        while self._pools:
            self._pools.popitem()[1].close()
