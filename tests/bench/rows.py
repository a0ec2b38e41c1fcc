"""Results as they might be measured, without measuring."""

from __future__ import annotations

from rtstyle.bench.case import Case
from rtstyle.bench.document import Document
from rtstyle.bench.machine import Machine
from rtstyle.bench.result import Measured, Missing, histogram, quantiles

MACHINE = Machine("Test <CPU>", 4, 16.0, "Linux 6", "3.11", reasons={"gpu": "there is no GPU"})


def case(level: str = "memory", **more: object) -> Case:
    message: dict[str, object] = {
        "style": "waves",
        "engine": "openvino",
        "width": 640,
        "height": 360,
    }
    return Case(level=level, **message | more)  # type: ignore[arg-type]


def measured(level: str = "memory", *, fps: float = 40.0, **more: object) -> Measured:
    times = [20.0 + n % 7 for n in range(100)]
    return Measured(
        case=case(level, **more), engine="openvino", engine_version="1", device="CPU",
        model="waves.onnx", model_sha256="0" * 64, fps=fps, latency_of="one batch",
        latency_ms=quantiles(times), histogram=histogram(times),
        stages_ms={} if level == "engine" else {"decode": 1.0, "paint": 24.0, "encode": 2.0},
        bottleneck=None if level == "engine" else "engine (paint)",
        bottleneck_share=None if level == "engine" else 0.96,
        peak_rss_mb=300.0, parity_mean=0.01, parity_worst=1, parity_reference="onnxruntime fp32",
        unmeasured={"watts": "there is no GPU", "gpu_memory_mb": "there is no GPU"},
    )  # fmt: skip


def document(*rows: Measured, missing: tuple[Missing, ...] = ()) -> Document:
    return Document(MACHINE, rows, missing, "0.1.0", "2026-01-02T03:04:05+00:00")
