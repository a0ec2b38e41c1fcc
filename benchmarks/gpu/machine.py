"""The GPU and the machine around it: facts, and what the maker says of its peaks."""

from __future__ import annotations

import os
import platform
from importlib import metadata

from rtstyle.errors import EngineError

# Dense half-precision TFLOP/s and memory TB/s as the maker states them; a GPU that is not here
# gets no share of the roofline.
PEAKS = {
    "H200": (989.0, 4.8),
    "H100": (989.0, 3.35),
    "A100": (312.0, 2.0),
    "L40S": (362.0, 0.864),
    "L4": (121.0, 0.3),
    "T4": (65.0, 0.32),
}


def machine_facts(device: str) -> dict[str, str]:
    """GPU, driver, processor and versions, as far as they are known."""
    facts = {
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "processor": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
    }
    for package in (
        "torch",
        "triton",
        "tensorrt",
        "tensorrt_rtx",
        "onnxruntime-gpu",
        "av",
        "numpy",
    ):
        try:
            facts[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            facts[package] = "not installed"
    if device != "cpu":
        import torch

        if not torch.cuda.is_available():
            raise EngineError("torch sees no CUDA GPU; --device cpu --quick tries the code.")
        found = torch.cuda.get_device_properties(int(device))
        facts["gpu"] = (
            f"{found.name}, {found.total_memory / 2**30:.0f} GiB, sm {found.major}{found.minor}"
        )
        facts["cuda of torch"] = str(torch.version.cuda)
        facts["cudnn"] = str(torch.backends.cudnn.version())  # type: ignore[no-untyped-call]
    return facts


def peak_of(device: str) -> tuple[float, float] | None:
    """TFLOP/s and TB/s of the GPU, None where they are not known."""
    if device == "cpu":
        return None
    import torch

    name = torch.cuda.get_device_name(int(device))
    return next((peak for key, peak in PEAKS.items() if key in name), None)
