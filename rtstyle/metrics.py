"""How long each stage took, in memory that does not grow with the length of the stream."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import log10
from pathlib import Path
from time import perf_counter, sleep

import numpy as np

_LOWEST_MS, _PER_DECADE, _DECADES = 1e-3, 90, 8  # bins of 2.6%, from a microsecond to 100 seconds


class Latencies:
    """A histogram of durations with logarithmic bins; one thread records."""

    def __init__(self) -> None:
        self.count = 0
        self.total_ms = 0.0
        self.latest_ms = 0.0
        self._bins = np.zeros(_PER_DECADE * _DECADES, np.int64)

    def record(self, latency_ms: float) -> None:
        """Add one duration, in milliseconds."""
        self.count += 1
        self.total_ms += latency_ms
        self.latest_ms = latency_ms
        place = log10(max(latency_ms, _LOWEST_MS) / _LOWEST_MS) * _PER_DECADE
        self._bins[min(int(place), len(self._bins) - 1)] += 1

    @contextmanager
    def measure(self) -> Iterator[None]:
        """Record how long the block took; a block that raises is not counted."""
        start = perf_counter()
        yield
        self.record((perf_counter() - start) * 1e3)

    def quantile_ms(self, q: float) -> float:
        """What a share `q` (0..1) of all durations stayed below, within 3%; 0 without any."""
        if not self.count:
            return 0.0
        reached = np.cumsum(self._bins) >= max(1.0, q * self.count)
        place = int(np.argmax(reached))
        return float(_LOWEST_MS * 10 ** ((place + 0.5) / _PER_DECADE))

    def quantiles(self) -> str:
        """The three quantiles that people ask for, in one line."""
        quantiles = (f"p{q} {self.quantile_ms(q / 100):.0f} ms" for q in (50, 95, 99))
        return ", ".join(quantiles)

    @property
    def mean_ms(self) -> float:
        """Mean duration; 0 when none was recorded."""
        return self.total_ms / self.count if self.count else 0.0


STAGES = ("decode", "masks", "prepare", "paint", "finish", "steady", "encode")


@dataclass(slots=True)
class Report:
    """What one run of the pipeline did. Complete once the run has ended.

    `stages` are the busy times of each stage a frame; stages work at the same time, so the
    slowest, not the sum, decides the rate. `latency` is, where the source is live, how old each
    picture was when its sink had it: glass-to-glass but for the camera's and the screen's own part.
    `resumed` are frames that an earlier run painted, which are in none of the other figures.
    `engine` is what painted, for people: name, precision, device.
    """

    frames_in: int = 0
    frames_out: int = 0
    dropped: int = 0
    resumed: int = 0
    seconds: float = 0.0
    engine: str = ""
    stages: dict[str, Latencies] = field(
        default_factory=lambda: {name: Latencies() for name in STAGES}
    )
    latency: Latencies = field(default_factory=Latencies)

    @property
    def fps(self) -> float:
        """Frames delivered a second of wall time."""
        return self.frames_out / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        stages = ", ".join(
            f"{name} {times.mean_ms:.1f} ms" for name, times in self.stages.items() if times.count
        )
        timed = f" ({stages} a frame)" if stages else ""
        dropped = f", {self.dropped} dropped" if self.dropped else ""
        resumed = f", {self.resumed} painted before" if self.resumed else ""
        aged = f"; latency {self.latency.quantiles()}" if self.latency.count else ""
        by = f"; by {self.engine}" if self.engine else ""
        frames = "frame" if self.frames_in == 1 else "frames"
        return (
            f"{self.frames_in} {frames} in, {self.frames_out} out{dropped}{resumed}, "
            f"{self.seconds:.1f} s, {self.fps:.1f} fps{timed}{aged}{by}"
        )


def n_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def busy_cores(seconds: float = 0.3) -> float:
    """How many of them are busy, on average over `seconds`, in which the caller waits; where the
    system does not say, the load of the last minute, and 0 without that."""
    try:
        before = _core_times()
        sleep(seconds)
        busy, total = (now - then for now, then in zip(_core_times(), before, strict=True))
        return n_cores() * busy / max(total, 1)
    except (OSError, ValueError, AttributeError):
        return min(os.getloadavg()[0], n_cores()) if hasattr(os, "getloadavg") else 0.0


def _core_times() -> tuple[int, int]:
    """Busy and all time of this process's cores in ticks, by Linux's proc(5)."""
    ours = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    busy = total = 0
    for line in Path("/proc/stat").read_text(encoding="ascii").splitlines():
        name, *times = line.split()
        if name in ours:
            _, _, _, idle, waiting, *_ = ticks = [int(time) for time in times[:8]]
            busy += sum(ticks) - idle - waiting
            total += sum(ticks)
    return busy, total
