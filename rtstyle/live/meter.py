"""Latency and losses, told from the bar codes of the frames that arrive."""

from __future__ import annotations

from collections.abc import Callable

from rtstyle.closing import Closing
from rtstyle.frame import Frame
from rtstyle.live import barcode
from rtstyle.metrics import Latencies


class MeterSink(Closing):
    """Reads every frame's bar code; `clock` tells the time now in seconds on its clock.

    `latency` is how old pictures are here. `missing` counts numbers that never came, `unreadable`
    frames without a code.
    """

    notes: list[str]

    def __init__(self, clock: Callable[[], float]) -> None:
        self.notes = []
        self.latency = Latencies()
        self.missing = self.unreadable = self.n_frames = 0
        self._clock = clock
        self._last: int | None = None

    def write(self, frame: Frame) -> None:
        """Measure the frame."""
        now_ms = self._clock() * 1e3
        stamp = barcode.read(frame.image)
        if stamp is None:
            self.unreadable += 1
            return
        if self._last is not None:
            self.missing += max(0, stamp.number - self._last - 1)
        self._last = stamp.number
        self.n_frames += 1
        self.latency.record(now_ms - stamp.time_ms)

    def finish(self, *, complete: bool = True) -> None:
        """Nothing to complete."""

    def __str__(self) -> str:
        lost = f", {self.unreadable} without a code" if self.unreadable else ""
        return (
            f"bar codes: {self.n_frames} read, {self.missing} frames dropped on the way{lost}; "
            f"glass to glass {self.latency.quantiles()}"
        )
