"""The benchmark for GPUs, without one: all of its own code on tiny nets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import command, nets
from rtstyle.errors import EngineError


def test_every_step_runs_without_a_gpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--device", "cpu", "--quick", "--net", "fast-cin", "--out", str(tmp_path)]
    assert command.main(arguments) == 0
    report = json.loads((tmp_path / "gpu.json").read_text())
    (row,) = report["rows"]
    assert (row["net"], row["engine"]) == ("fast-cin", "torch-cuda")
    assert min(row["engine_fps"], row["pipeline_fps"], row["file_fps"], row["gflop"]) > 0
    assert row["overlap"] == pytest.approx(row["pipeline_fps"] / row["engine_fps"], abs=0.01)
    assert row["roofline_share"] is None, "no figure of a GPU that is not there"
    assert row["idle_ms"] is None
    assert any("tensorrt" in reason for reason in report["skipped"])
    assert torch.__version__.startswith(report["machine"]["torch"])
    table = (tmp_path / "gpu.md").read_text(encoding="utf-8")
    assert "| fast-cin | 64×96 | torch-cuda |" in table
    assert "Not measured:" in table
    assert "engine " in capsys.readouterr().out


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="--device cpu --quick"):
        command.main(["--out", str(tmp_path)])
    assert not list(tmp_path.iterdir())


def test_cost_is_that_of_the_paper(tmp_path: Path) -> None:
    """Johnson-32 takes 0.309 MFLOP a pixel."""
    models = nets.make_models(
        tmp_path, "j", "johnson", {"width": 32}, lambda reason: None, quick=True
    )
    gflop, gbyte = nets.cost(models[".safetensors"], 720, 1280)
    assert gflop == pytest.approx(0.309 * 720 * 1280 / 1e3, rel=0.01)
    assert gbyte > 0.5
