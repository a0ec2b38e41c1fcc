"""What a 1080p frame costs by the plans of TensorRT for RTX, held to a budget."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.plan_cost import float_between_convolutions, plan_kernels
from rtstyle.engines.precision import in_half
from rtstyle.model.file import read_model

ZOO = Path(__file__).parents[2] / "rtstyle" / "zoo"


@pytest.mark.parametrize(
    ("name", "gigabytes", "most"), [("gallery", 1.4, 80), ("shipwreck_johnson32", 5.5, 72)]
)
def test_a_frame_stays_in_its_budget(
    name: str, gigabytes: float, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As engines load it. Float norms between casts take 1.94 GB in 106 kernels and 9.7 in 96."""
    pytest.importorskip("tensorrt_rtx", reason="pip install tensorrt-rtx builds for real")
    monkeypatch.setenv("RTSTYLE_CACHE", str(tmp_path))
    spec = in_half(read_model(ZOO / f"{name}.onnx"))
    kernels = plan_kernels(spec.path.read_bytes(), spec.input_shapes(1, 1088, 1920))
    assert len(kernels) <= most
    assert sum(kernel.bytes for kernel in kernels) <= gigabytes * 1e9
    assert not float_between_convolutions(kernels, 1_000_000)
