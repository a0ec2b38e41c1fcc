"""Two speeds compared by interleaved pairs, so that a machine that drifts moves both alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.99


@dataclass(frozen=True, slots=True)
class Comparison:
    """Speed of B over speed of A, with the interval that holds it with `CONFIDENCE`, and the median
    seconds of both."""

    ratio: float
    low: float
    high: float
    pairs: int
    seconds: tuple[float, float]

    def is_loss(self, loss: float) -> bool:
        """Whether B is surely slower than A by more than `loss` (0.05 is 5%)."""
        return self.high < 1 - loss

    def __str__(self) -> str:
        return (
            f"B runs at {self.ratio:.3f} of A's speed "
            f"({CONFIDENCE:.0%} sure: {self.low:.3f} to {self.high:.3f}, {self.pairs} pairs): "
            f"{self.seconds[0] * 1e3:.3f} and {self.seconds[1] * 1e3:.3f} ms a picture"
        )


def interleave(
    measure_a: Callable[[], float], measure_b: Callable[[], float], *, pairs: int
) -> list[tuple[float, float]]:
    """Seconds of A and of B, pair after pair, in the order A B, B A, A B, …"""
    times = []
    for number in range(pairs):
        if number % 2:
            b, a = measure_b(), measure_a()
        else:
            a, b = measure_a(), measure_b()
        times.append((a, b))
    return times


def compare(times: list[tuple[float, float]]) -> Comparison:
    """The median ratio of pairs of seconds (A, B), which short bursts of other load do not move,
    with a bootstrap interval. At least 2 pairs."""
    ratios = np.array([a / b for a, b in times])
    found = stats.bootstrap(
        (ratios,),
        np.median,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    middle, low, high = (float(value) for value in (np.median(ratios), found.low, found.high))
    a, b = np.median(times, axis=0).tolist()
    return Comparison(middle, low, high, len(times), (a, b))
