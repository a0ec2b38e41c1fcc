"""A bounded hand-off between two threads that either side can end."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from threading import Condition
from typing import Generic, TypeVar

T = TypeVar("T")


class Channel(Generic[T]):
    """One producer puts, one consumer iterates; both may block, neither can hang on the other.

    A full channel makes the producer wait, or with `newest_wins` throws its oldest item away and
    counts it in `dropped`. The producer ends the channel with `close`: the consumer still gets
    what was put before, then the end, or the error given. The consumer ends it with `cancel`:
    what waits is thrown away and every later `put` says so.
    """

    def __init__(self, capacity: int, *, newest_wins: bool = False) -> None:
        self.dropped = 0
        self._items: deque[T] = deque()
        self._capacity = capacity
        self._newest_wins = newest_wins
        self._closed = False
        self._cancelled = False
        self._error: BaseException | None = None
        self._changed = Condition()

    def put(self, item: T) -> bool:
        """Hand over `item`, waiting for room. False when nobody wants it any more."""
        with self._changed:
            if self._newest_wins and len(self._items) >= self._capacity:
                self._items.popleft()
                self.dropped += 1
            while len(self._items) >= self._capacity and not (self._cancelled or self._closed):
                self._changed.wait()
            if self._cancelled or self._closed:
                return False
            self._items.append(item)
            self._changed.notify_all()
            return True

    def take(self, timeout: float) -> T | None:
        """The next item, or None after `timeout` seconds without one, or at the end.

        Raises the error that the producer closed with.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._items or self._closed or self._cancelled, timeout=timeout
            )
            if not self._items:
                if self._error is not None and not self._cancelled:
                    raise self._error
                return None
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    @property
    def waiting(self) -> int:
        """How many items can be taken at once."""
        return len(self._items)

    @property
    def is_over(self) -> bool:
        """Whether nothing more can be taken."""
        with self._changed:
            return not self._items and (self._closed or self._cancelled)

    def close(self, error: BaseException | None = None) -> None:
        """Nothing follows. The first call counts; safe from any thread."""
        with self._changed:
            if not self._closed:
                self._closed, self._error = True, error
            self._changed.notify_all()

    def cancel(self) -> None:
        """Nobody takes anything any more. Safe from any thread."""
        with self._changed:
            self._cancelled = True
            self._items.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        """Take items until the end; raises the error that the producer closed with."""
        return self.items()

    def items(
        self, on_silence: Callable[[], None] = lambda: None, *, after: float | None = None
    ) -> Iterator[T]:
        """The same, and whenever `after` seconds passed without an item, `on_silence` is called.

        What it raises ends the iteration. It must not use the channel.
        """
        while True:
            with self._changed:
                while not (self._items or self._closed or self._cancelled):
                    if not self._changed.wait(after):
                        on_silence()
                if not self._items:
                    if self._error is not None and not self._cancelled:
                        raise self._error
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item
