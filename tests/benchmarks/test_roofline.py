"""Work counted, peaks measured, laws fitted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import roofline, scaling
from benchmarks.gmac import count_macs
from rtstyle.bench.case import Case
from rtstyle.bench.result import Missing
from rtstyle.bench.runner import Run
from rtstyle.model.spec import ModelSpec
from tests.bench.rows import measured


def test_work_is_counted_from_the_graph(tiny_model: ModelSpec) -> None:
    small = roofline.count_work(tiny_model, height=64, width=96)
    large = roofline.count_work(tiny_model, height=128, width=192)
    macs = count_macs(tiny_model.path, height=64, width=96)
    assert small.gflop * 1e9 == pytest.approx(2 * macs)
    assert large.gflop / small.gflop == pytest.approx(4, rel=0.01)
    weights = (4 * small.gbyte - large.gbyte) / 3  # are there once, whatever the size
    assert 0 < weights < 0.2 * small.gbyte
    odd = roofline.count_work(tiny_model, height=63, width=95)
    assert odd == small, "pictures are padded to the stride"


def test_the_slower_of_arithmetic_and_memory_is_the_roof() -> None:
    peak = roofline.Peak(gflop_s=100, gbyte_s=10)
    assert peak.fps(roofline.Work(1.0, 0.01)) == pytest.approx(100)
    assert peak.fps(roofline.Work(1.0, 1.0)) == pytest.approx(10)
    assert peak.bound(roofline.Work(1.0, 0.01)) == "arithmetic"
    assert peak.bound(roofline.Work(1.0, 1.0)) == "memory"


def test_the_peak_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roofline, "_SIDES", (64, 128))
    monkeypatch.setattr(roofline, "_COPIED", 2**20)
    peak = roofline.measure_peak(seconds=0.01)
    assert peak.gflop_s > 0.01
    assert peak.gbyte_s > 0.001


def test_the_share_is_reported(
    tmp_path: Path,
    tiny_model: ModelSpec,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(roofline, "measure_peak", lambda threads: roofline.Peak(1e4, 1e4))
    out = tmp_path / "out" / "roofline.json"
    message = ["--style", str(tiny_model.path), "--engine", "onnxruntime", "--engine", "tensorrt"]
    assert roofline.main([*message, "--size", "64x48", "--seconds", "0.1", "--out", str(out)]) == 0
    (row,) = json.loads(out.read_text())["figures"]["rows"]
    assert 0 < row["share"] < 0.5, "a peak that no machine has"
    assert "not measured: engine" in capsys.readouterr().out


def test_a_law_is_its_exponent() -> None:
    xs = [1.0, 2.0, 4.0, 8.0]
    law = scaling.fit(xs, [3 * x**1.5 for x in xs])
    assert law is not None
    assert (law.exponent, law.error) == pytest.approx((1.5, 0.0), abs=1e-6)
    assert str(law) == "exponent 1.50 ± 0.00"
    two = scaling.fit([1.0, 2.0], [1.0, 2.0])
    assert str(two) == "exponent 1.00 from two points"
    assert scaling.fit([1.0], [1.0]) is None
    points = [scaling.Point(x, 10 * x, None if x == 1 else 100.0) for x in xs]
    found = scaling.laws(points)
    memory, time = found["peak memory"], found["time a picture"]
    assert memory is not None
    assert time is not None
    assert (time.exponent, memory.exponent) == pytest.approx((1.0, 0.0))


@pytest.mark.parametrize("over", ["pixels", "batch", "threads", "length"])
def test_the_plan_grows(over: str) -> None:
    xs, cases = zip(*scaling.plan(over, "waves", "auto", 1.0), strict=True)
    assert list(xs) == sorted(set(xs))
    assert len(set(cases)) == len(cases)
    if over == "pixels":
        assert (xs[0], xs[-1]) == pytest.approx((1e5, 8e6), rel=0.05)


def test_scaling_is_printed_and_kept(
    tmp_path: Path,
    tiny_model: ModelSpec,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(scaling, "MEGAPIXELS", (0.003, 0.012, 0.048))
    out = tmp_path / "scaling.json"
    message = ["--style", str(tiny_model.path), "--engine", "onnxruntime", "--seconds", "0.1"]
    assert scaling.main(["pixels", *message, "--out", str(out)]) == 0
    found = json.loads(out.read_text())["figures"]["pixels"]
    assert len(found["points"]) == 3
    assert found["laws"]["time a picture"]["exponent"] > 0
    assert "Time a picture over pixels: exponent" in capsys.readouterr().out


def test_ctrl_c_keeps_the_points_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(cases: list[Case]) -> Run:
        left = [Missing(str(case), "interrupted before it was measured") for case in cases[2:]]
        return Run([replace(measured(), case=case) for case in cases[:2]] + left, True)

    monkeypatch.setattr(scaling, "run_cases", run)
    out = tmp_path / "scaling.json"
    assert scaling.main(["pixels", "length", "--out", str(out)]) == 130
    message = json.loads(out.read_text())
    assert len(message["figures"]["pixels"]["points"]) == 2
    assert "all over length: interrupted before it was measured" in message["missing"]
