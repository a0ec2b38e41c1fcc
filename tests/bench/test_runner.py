"""Cases in processes of their own: what fails, crashes or hangs is told, and nothing else lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rtstyle.bench import runner
from rtstyle.bench.case import Case
from rtstyle.bench.result import Measured, Missing
from rtstyle.bench.runner import measure_in_process, run_cases
from rtstyle.errors import OutputError
from rtstyle.model.spec import ModelSpec
from tests.bench.rows import case, measured


def tiny_case(model: ModelSpec, level: str = "engine", **more: object) -> Case:
    message: dict[str, object] = {
        "style": str(model.path), "engine": "onnxruntime", "width": 64, "height": 48,
        "seconds": 0.1, "burn_in": 0.0, "threads": 1,
    }  # fmt: skip
    return case(level, **message | more)


@pytest.mark.parametrize("level", ["engine", "memory", "file", "live"])
def test_every_level_is_measured(level: str, tiny_model: ModelSpec) -> None:
    row = measure_in_process(tiny_case(tiny_model, level))
    assert isinstance(row, Measured), row
    assert row.fps > 0
    assert 0 < row.latency_ms.p50 <= row.latency_ms.p95 <= row.latency_ms.p99
    assert sum(row.histogram.counts) == row.latency_ms.count >= 3
    assert (row.parity_mean, row.parity_reference) == (0.0, "onnxruntime fp32")
    assert (row.bottleneck is None) == (level == "engine")
    assert (row.dropped is not None) == (level == "live")
    stages = {"prepare", "paint", "finish", "encode"} if level != "engine" else set()
    assert set(row.stages_ms) == stages | ({"decode"} if level in ("memory", "file") else set())
    for figure in ("peak_rss_mb", "gpu_memory_mb", "watts", "bottleneck"):
        assert (getattr(row, figure) is None) == (figure in row.unmeasured), figure


_TRIES = 3  # a busy machine may stand still in a run


def test_batches_count_every_picture(tiny_model: ModelSpec) -> None:
    for _ in range(_TRIES):
        row = measure_in_process(tiny_case(tiny_model, batch=3))
        assert isinstance(row, Measured), row
        if row.fps > 2e3 / row.latency_ms.worst:
            return
    pytest.fail(f"{row.fps} a second, but {row.latency_ms} a batch of three")


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"engine": "tensorrt"}, "tensorrt"),
        ({"engine": "nonsense"}, "There is no engine 'nonsense'"),
        ({"width": 7000, "height": 7000, "level": "memory"}, "more than the 36 megapixels"),
        ({"style": "nowhere.onnx"}, "nowhere.onnx"),
    ],
)
def test_what_cannot_be_measured_says_why(
    wrong: dict[str, object], reason: str, tiny_model: ModelSpec
) -> None:
    outcome = measure_in_process(tiny_case(tiny_model, **wrong))
    assert isinstance(outcome, Missing)
    assert reason in outcome.reason


def test_a_crash_takes_one_case(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shot = tmp_path / "shot"
    shot.write_text(f"#!{sys.executable}\nimport os\nos.kill(os.getpid(), {signal.SIGKILL:d})\n")
    shot.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(shot))
    outcome = measure_in_process(case())
    assert outcome == Missing(
        str(case()), "its process was ended by SIGKILL, as when memory runs out"
    )


def test_a_case_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hang = tmp_path / "hang"
    hang.write_text(f"#!{sys.executable}\nimport time\ntime.sleep(60)\n")
    hang.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(hang))
    outcome = measure_in_process(case(), 0.3)
    assert outcome == Missing(str(case()), "it was not done after 0.3 seconds")


def test_a_full_disk_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(runner, "TemporaryDirectory", full)
    with pytest.raises(OutputError, match="No space left on device"):
        measure_in_process(case())


def test_an_engine_that_fails_to_open_is_tried_once() -> None:
    tried: list[str] = []

    def measure(asked: Case, limit_s: float) -> Measured | Missing:
        tried.append(asked.engine)
        broken = asked.engine == "torch"
        return Missing(str(asked), "no torch", opening=True) if broken else measured()

    cases = [case(engine=name, width=w) for w in (64, 128) for name in ("torch", "openvino")]
    run = run_cases(cases, measure=measure)
    assert tried == ["torch", "openvino", "openvino"]
    assert [isinstance(outcome, Measured) for outcome in run.outcomes] == [False, True] * 2
    assert run.outcomes[2] == Missing(str(cases[2]), "no torch")


def test_a_run_that_may_take_so_long_takes_no_longer() -> None:
    limits: list[float] = []

    def measure(asked: Case, limit_s: float) -> Measured:
        limits.append(limit_s)
        time.sleep(0.3)
        return measured()

    run = run_cases([case(width=w) for w in (64, 128, 256)], total_s=1.2, measure=measure)
    assert [type(outcome) for outcome in run.outcomes] == [Measured, Missing, Missing]
    assert "the 1.2 seconds of this run were over" in str(run.outcomes[2])
    assert len(limits) == 1
    assert limits[0] <= 1.2


def test_ctrl_c_keeps_what_was_measured() -> None:
    def measure(asked: Case, limit_s: float) -> Measured:
        if asked.width == 128:
            raise KeyboardInterrupt
        return measured()

    run = run_cases([case(width=w) for w in (64, 128, 256)], measure=measure)
    assert run.interrupted
    assert [type(outcome) for outcome in run.outcomes] == [Measured, Missing, Missing]
    assert "interrupted" in str(run.outcomes[2])


def test_ctrl_c_ends_the_worker(tmp_path: Path, tiny_model: ModelSpec) -> None:
    """The command in a process group of its own, interrupted while a long case runs."""
    out = tmp_path / "out.json"
    command = subprocess.Popen(
        [sys.executable, "-m", "rtstyle", "bench", "--style", str(tiny_model.path),
         "--engine", "onnxruntime", "--size", "64x48", "--level", "engine", "--size", "96x64",
         "--seconds", "0.2", "--level", "memory", "--json", str(out), "--threads", "1"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not out.exists() and command.poll() is None:
        time.sleep(0.01)
    command.send_signal(signal.SIGINT)
    said, complained = command.communicate(timeout=60)
    assert command.returncode == 130, complained
    assert "Interrupted" in complained
    assert "Traceback" not in complained
    assert "interrupted before it was measured" in said
    assert '"fps"' in out.read_text()
