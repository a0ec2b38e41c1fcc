"""What a 1080p frame costs by the plans of TensorRT for RTX, held to a budget."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import gpu_kernels
from benchmarks.gpu_bounds import Cost, page
from benchmarks.plan_cost import float_between_convolutions, plan_kernels
from benchmarks.roofline import Work
from rtstyle.bench.result import ABSENT, FAIL, PASS
from rtstyle.engines.precision import in_half
from rtstyle.engines.registry import ENGINES
from rtstyle.model.file import read_model

ZOO = Path(__file__).parents[2] / "rtstyle" / "zoo"


@pytest.mark.parametrize(
    ("name", "gigabytes", "most"), [("gallery", 1.1, 76), ("shipwreck_johnson32", 4.6, 68)]
)
def test_a_frame_stays_in_its_budget(
    name: str, gigabytes: float, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As engines load it. Fused norms take 1.34 GB in 76 kernels and 5.3 in 70, float ones between
    casts 1.94 in 106 and 9.7 in 96."""
    pytest.importorskip("tensorrt_rtx", reason="pip install tensorrt-rtx builds for real")
    monkeypatch.setenv("RTSTYLE_CACHE", str(tmp_path))
    spec = in_half(read_model(ZOO / f"{name}.onnx"), norms=ENGINES["tensorrt"].norms)
    kernels = plan_kernels(spec.path.read_bytes(), spec.input_shapes(1, 1088, 1920))
    assert len(kernels) <= most
    assert sum(kernel.bytes for kernel in kernels) <= gigabytes * 1e9
    assert not float_between_convolutions(kernels, 1_000_000)


def test_the_page_says_what_bounds() -> None:
    """An H200 moves 4.8 TB/s, an RTX 3060 calculates 25.5 TFLOP/s."""
    (row,) = (
        line for line in page([Cost("m", "1080p", 7, Work(510, 4.8))]).splitlines()
        if line.startswith("| m | 1080p | 1,000 |")
    )  # fmt: skip
    assert row.endswith("| 50 |")


def test_checks_of_kernels_say_what_is_missing_and_what_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> dict[str, float]:
        raise RuntimeError("an illegal memory access\nand more")

    checks = (("good", lambda: {"fps": 2.0}), ("bad", broken))
    monkeypatch.setattr(gpu_kernels, "checks", lambda: iter(checks))
    for there, expected, status in ((False, [ABSENT, ABSENT], 0), (True, [PASS, FAIL], 1)):
        monkeypatch.setattr(gpu_kernels.torch.cuda, "is_available", lambda there=there: there)
        assert gpu_kernels.main(["--out", str(tmp_path / "rows.json"), "--no-check"]) == status
        rows = json.loads((tmp_path / "rows.json").read_text())
        assert [row["status"] for row in rows] == expected
    assert rows[1]["reason"] == "an illegal memory access"
    assert "bad FAIL" in capsys.readouterr().out
