"""Batches in flight on a GPU: slots that each hold one, pools of them, and the sizes kept ready."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from typing import Any, Generic, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from rtstyle.closing import Closing
from rtstyle.engines.base import Batch, poll, wait_for
from rtstyle.engines.cuda.memory import OutOfDeviceMemoryError
from rtstyle.engines.watchdog import CLOSING_SECONDS, outlive
from rtstyle.errors import EngineError

SLOTS = 4  # batches on the GPU at once: one uploading, one running, one downloading, one lent
_BUSY = 2  # slots that are never lent, so that one uploads while the other runs
Inputs = dict[str, NDArray[Any]]  # by name, as `to_inputs` gives them
R = TypeVar("R")
_log = logging.getLogger("rtstyle")


def fill(buffer: NDArray[Any], array: NDArray[Any]) -> None:
    """Copy `array` into a buffer that uploads come from. Pictures that are smaller than it are
    padded by reflection in the same pass, at the bottom and the right."""
    if array.shape == buffer.shape:
        np.copyto(buffer, array)
        return
    bottom, right = (buffer.shape[i] - array.shape[i] for i in (1, 2))
    for picture, place in zip(array, buffer, strict=True):
        cv2.copyMakeBorder(picture, 0, bottom, 0, right, cv2.BORDER_REFLECT_101, dst=place)


class Running(Closing, ABC, Generic[R]):
    """What one batch in flight needs for itself: a stream, buffers, and where it can a graph."""

    @abstractmethod
    def is_done(self) -> bool:
        """Whether the work that was started is over, also by an error; asked from any thread."""

    @abstractmethod
    def result(self) -> R:
        """The result. An array that does not own its memory is the slot's own buffer, and holds
        until the slot starts again. Raises `EngineError`."""


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
    """The slots for batches of one shape: as many as the GPU's memory holds, four at most.

    Results are lent where they lie, without a copy, while enough slots are left to work: a slot is
    free again once nobody has its result any more. Raises `OutOfDeviceMemoryError` when the memory
    does not hold one.
    """

    def __init__(self, make: Callable[[], S]) -> None:
        self._slots: list[S] = []
        self._free: deque[S] = deque()
        self._busy: deque[RunningBatch[Any]] = deque()
        self._lock = Lock()
        self._lent = 0
        self._given_back: deque[S] = deque()  # without the lock: an array may end anywhere
        self._closed = False
        for _ in range(SLOTS):
            try:
                self._slots.append(make())
                self._free.append(self._slots[-1])
            except OutOfDeviceMemoryError:
                if not self._slots:
                    raise
                _log.info("The GPU's memory holds %d batches at once.", len(self._slots))
                break
            except BaseException:
                self.close()
                raise

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
                self._collect()
                if self._free:
                    return self._free.popleft()
                oldest = self._busy.popleft()
            oldest.bring_back()

    def _collect(self) -> None:
        while self._given_back:
            self._free.append(self._given_back.popleft())
            self._lent -= 1

    def _ended(self, running: RunningBatch[Any], slot: S, result: Any) -> Any:
        """What the caller gets for the slot's `result`: lent or copied, as slots are left."""
        is_buffer = isinstance(result, np.ndarray) and not result.flags.owndata
        with self._lock:
            self._collect()
            lends = is_buffer and self._lent < len(self._slots) - _BUSY
            if lends:
                self._lent += 1
                self._remove(running)
        if lends:
            return np.asarray(_Lent(result, lambda: self._give_back(slot)))
        if is_buffer:
            result = result.copy()
        with self._lock:
            self._remove(running)
            self._free.append(slot)
        return result

    def _remove(self, running: RunningBatch[Any]) -> None:
        if running in self._busy:
            self._busy.remove(running)

    def _give_back(self, slot: S) -> None:
        self._given_back.append(slot)
        if self._closed:  # after the pool, which left it open
            self._close_free()

    def _close_free(self) -> None:
        with suppress(IndexError):  # another thread took the last one
            while self._given_back:
                self._given_back.popleft().close()

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
        with self._lock:
            self._collect()
            self._closed = True
            free, self._free = self._free, deque()
        for slot in free:
            slot.close()
        self._close_free()  # what came back just now


class _Lent:
    """A slot's buffer in use by whoever has an array made of this, or a view of such an array."""

    def __init__(self, buffer: NDArray[Any], give_back: Callable[[], None]) -> None:
        self.__array_interface__ = buffer.__array_interface__
        self._buffer, self._give_back = buffer, give_back

    def __del__(self) -> None:
        self._give_back()


class RunningBatch(Generic[R]):
    """A batch on the GPU, a `Pending`. `ended` gets the slot and its result, and gives what the
    caller may keep."""

    def __init__(
        self, where: str, slot: Running[R], ended: Callable[[RunningBatch[R], Any, R | None], R]
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
        """Wait for the batch and take it out of the slot. Safe from any thread."""
        with self._lock:
            slot, result = self._slot, None
            if slot is None:
                return
            try:
                result = slot.result()
            except EngineError as error:
                self._error = type(error)(f"{self._where} failed on a batch: {error}")
            self._slot = None
            self._result = self._ended(self, slot, result)

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
