from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtstyle.metrics import Latencies, Report, busy_cores, n_cores


@given(
    st.lists(st.floats(0.002, 5e4), min_size=1, max_size=300),
    st.floats(0, 1),
)
def test_quantiles_are_within_three_percent(values: list[float], q: float) -> None:
    latencies = Latencies()
    for value in values:
        latencies.record(value)
    exact = float(np.quantile(values, q, method="inverted_cdf"))
    assert latencies.quantile_ms(q) == pytest.approx(exact, rel=0.03)
    assert latencies.mean_ms == pytest.approx(sum(values) / len(values))


def test_extremes_neither_raise_nor_vanish() -> None:
    latencies = Latencies()
    for value in (0.0, 1e12):
        latencies.record(value)
    assert latencies.count == 2
    assert latencies.quantile_ms(1.0) > 9e4


def test_the_report_line_tells_frames_speed_and_stages() -> None:
    report = Report(frames_in=10, frames_out=9, dropped=1, seconds=4.5)
    report.stages["paint"].record(12.0)
    assert str(report) == "10 frames in, 9 out, 1 dropped, 4.5 s, 2.0 fps (paint 12.0 ms a frame)"


def test_a_busy_core_is_seen() -> None:
    assert 0 <= busy_cores(0.05) <= n_cores()
    spinning = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        assert busy_cores(1.0) > 0.3
    finally:
        spinning.kill()
        spinning.wait()


def test_one_frame_is_one_frame() -> None:
    report = Report()
    report.frames_in = 1
    assert str(report).startswith("1 frame in, ")
    report.frames_in = 2
    assert str(report).startswith("2 frames in, ")
