"""Batches on their way through a card: slots that each hold one, and the sizes kept ready."""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from typing import Generic, Protocol, TypeVar

from rtstyle.engines.base import Batch
from rtstyle.engines.card_memory import OutOfCardMemoryError
from rtstyle.errors import EngineError

SLOTS = 3  # batches on the card: one comes, one is painted, one goes
_log = logging.getLogger("rtstyle")


class Slot(Protocol):
    """What one batch on its way needs for itself: stream, buffers, graph."""

    def take_out(self) -> Batch:
        """Wait until the batch is painted; a copy of it. Raises `EngineError`."""
        ...

    def close(self) -> None:
        """Give the card's memory back; never raises."""
        ...


S = TypeVar("S", bound=Slot)


class SlotPool(Generic[S]):
    """The slots for batches of one shape: as many as the card's memory holds, three at most.

    Raises `OutOfCardMemoryError` when it does not hold one.
    """

    def __init__(self, make: Callable[[], S]) -> None:
        self._slots: list[S] = []
        self._busy: deque[RunningBatch[S]] = deque()
        self._lock = Lock()
        for _ in range(SLOTS):
            try:
                self._slots.append(make())
            except OutOfCardMemoryError:
                if not self._slots:
                    raise
                _log.info("The card's memory holds %d batches at once.", len(self._slots))
                break
            except BaseException:
                self.close()
                raise
        self._free = deque(self._slots)

    def take(self) -> S:
        """A free slot; the oldest batch is brought back first where none is."""
        while True:
            with self._lock:
                if self._free:
                    return self._free.popleft()
                oldest = self._busy.popleft()
            oldest.bring_back()

    def give_back(self, slot: S) -> None:
        """A slot that was taken and holds no batch."""
        with self._lock:
            self._free.append(slot)

    def began(self, running: RunningBatch[S]) -> None:
        with self._lock:
            self._busy.append(running)

    def ended(self, running: RunningBatch[S], slot: S) -> None:
        with self._lock:
            with suppress(ValueError):
                self._busy.remove(running)
            self._free.append(slot)

    def close(self) -> None:
        """Bring back what is being painted, then free the card's memory."""
        while True:
            with self._lock:
                if not self._busy:
                    break
                oldest = self._busy.popleft()
            oldest.bring_back()
        for slot in self._slots:
            slot.close()


class RunningBatch(Generic[S]):
    """A batch on the card, a `Pending`. Its slot is free again once the result was copied out."""

    def __init__(self, where: str, pool: SlotPool[S], slot: S) -> None:
        self._where = where
        self._pool: SlotPool[S] | None = pool
        self._slot = slot
        self._painted: Batch | None = None
        self._error: EngineError | None = None
        self._lock = Lock()
        pool.began(self)

    def bring_back(self) -> None:
        """Wait for the batch and copy it out of the slot. Safe from any thread."""
        with self._lock:
            if self._pool is None:
                return
            try:
                self._painted = self._slot.take_out()
            except EngineError as error:
                self._error = type(error)(f"{self._where} failed on a batch: {error}")
            pool, self._pool = self._pool, None
            pool.ended(self, self._slot)

    def result(self) -> Batch:
        self.bring_back()
        if self._painted is None:
            raise self._error or EngineError(f"{self._where} gave no picture.")
        return self._painted


class ReadySizes(Generic[S]):
    """Pools of the shapes used last, since each holds memory of the card. No two calls at once."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._pools: OrderedDict[str, SlotPool[S]] = OrderedDict()

    def __contains__(self, key: str) -> bool:
        return key in self._pools

    def get(self, key: str) -> SlotPool[S] | None:
        """The pool called `key`, if there is one."""
        if key in self._pools:
            self._pools.move_to_end(key)
        return self._pools.get(key)

    def add(self, key: str, make: Callable[[], S]) -> SlotPool[S]:
        """A pool called `key`, for which the one not used for longest may have to go."""
        while len(self._pools) >= self._keep:
            self._pools.popitem(last=False)[1].close()
        self._pools[key] = SlotPool(make)
        return self._pools[key]

    def close(self) -> None:
        """Close all; what is being painted is brought back."""
        while self._pools:
            self._pools.popitem()[1].close()
