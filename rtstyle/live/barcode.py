"""A frame's number and capture time as a bar code in the frame, to measure latency at the far end.

A strip along the top holds 64 black or white cells: four for synchronisation, 20 bits of number, 32
of time in tenths of a millisecond, 8 of checksum. It survives scaling, encoding and a virtual
camera, but not the net, so the strip is put back after stylizing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rtstyle.closing import Closing
from rtstyle.errors import UsageError
from rtstyle.frame import Frame, Image
from rtstyle.metrics import Latencies

_CELLS, _NUMBER, _TIME, _CHECK = 64, 20, 32, 8
_SYNC = (1, 0, 1, 0)
_TICKS = 10  # a millisecond
_TIMES, _NUMBERS = 1 << _TIME, 1 << _NUMBER


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a bar code holds; the number wraps at 2**20, the time after 119 hours."""

    number: int
    time_ms: float


def strip_height(height: int) -> int:
    """How many rows at the top of a picture the bar code takes."""
    return max(8, height // 24)


def draw(image: Image, stamp: Stamp) -> Image:
    """A copy of the picture with the bar code. Raises `UsageError` for one too narrow."""
    height, width = image.shape[:2]
    if width < 2 * _CELLS or height < 2 * strip_height(height):
        raise UsageError(f"A bar code needs at least 128×16 pixels, not {width}×{height}.")
    number, ticks = stamp.number % _NUMBERS, round(stamp.time_ms * _TICKS) % _TIMES
    value = number << _TIME | ticks
    bits = [*_SYNC, *_bits(value, _NUMBER + _TIME), *_bits(_checksum(value), _CHECK)]
    edges = _edges(width)
    row = np.zeros(width, np.uint8)
    for bit, start, end in zip(bits, edges[:-1], edges[1:], strict=True):
        row[start:end] = 235 if bit else 16  # inside the limited range of any encoder
    result = image.copy()
    result[: strip_height(height)] = row[None, :, None]
    return result


def read(image: Image) -> Stamp | None:
    """The bar code of a picture; None when there is none, or its checksum is wrong."""
    height, width = image.shape[:2]
    strip = image[: strip_height(height)]
    inner = strip[len(strip) // 4 : max(len(strip) // 4 + 1, 3 * len(strip) // 4)]
    brightness = inner.mean((0, 2))
    bits = []
    edges = _edges(width)
    for start, end in pairwise(edges):
        margin = (end - start) // 4
        bits.append(
            int(brightness[start + margin : max(start + margin + 1, end - margin)].mean() > 125)
        )
    body = int("".join(map(str, bits[len(_SYNC) : _CELLS - _CHECK])), 2)
    check = int("".join(map(str, bits[_CELLS - _CHECK :])), 2)
    if tuple(bits[: len(_SYNC)]) != _SYNC or check != _checksum(body):
        return None
    return Stamp(body >> _TIME, (body % _TIMES) / _TICKS)


class MeterSink(Closing):
    """Measures latency and losses by every frame's bar code; `clock()` is its time in seconds.

    `latency` is the age of the frames that arrive. `missing` counts numbers that never came,
    `unreadable` frames without a code.
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
        stamp = read(frame.image)
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


def _edges(width: int) -> NDArray[np.int64]:
    return np.linspace(0, width, _CELLS + 1).round().astype(np.int64)


def _bits(value: int, count: int) -> list[int]:
    return [value >> place & 1 for place in reversed(range(count))]


def _checksum(value: int) -> int:
    """CRC-8, polynomial 0x07, initialised with ones so that black is no valid code."""
    crc = 0xFF
    for byte in value.to_bytes((_NUMBER + _TIME + 7) // 8, "big"):
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x07) & 0xFF if crc & 0x80 else crc << 1
    return crc
