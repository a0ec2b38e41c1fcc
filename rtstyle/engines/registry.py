"""The table of engines: a new engine is a file of its own and a row here, or a package with an
entry point of the group `rtstyle.engines`."""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any

from rtstyle.errors import EngineError, UsageError, install_line
from rtstyle.plugins import add_rows


@dataclass(frozen=True, slots=True)
class Machine:
    """The facts that decide which engines suit a machine."""

    system: str  # as sys.platform
    is_x86: bool
    has_nvidia: bool


@dataclass(frozen=True, slots=True)
class EngineRow:
    """One engine, with the traits that must be known before it is loaded.

    `target` is its "module:Class", imported on first use. `runs_on_gpu` engines take
    `EngineOptions.devices`. `builds_per_size` engines need minutes for every new picture size, so
    "auto" runs another one meanwhile. `precision` is that of an engine's arithmetic where
    nothing else is asked for; `takes_half` engines have it from the graph, which is then half, its
    norms in the form `norms`, see `half`.
    `faster_in_int8` engines gain from INT8 variants. `rank` is the place in the order that "auto"
    tries, None where it does not try the engine. `extra` is that of rtstyle that installs
    it, if one does.
    """

    target: str
    rank: Callable[[Machine], int | None] = lambda machine: None
    runs_on_gpu: bool = False
    builds_per_size: bool = False
    faster_in_int8: bool = False
    precision: str = "fp32"
    norms: str = "fused"
    extra: str = ""

    @property
    def takes_half(self) -> bool:
        """Whether it gets graphs in half precision; torch makes half nets itself."""
        return self.precision == "fp16" and ":Torch" not in self.target


def _with_nvidia(rank: int) -> Callable[[Machine], int | None]:
    return lambda machine: rank if machine.has_nvidia else None


ENGINES = {
    "openvino": EngineRow(
        "rtstyle.engines.openvino_engine:OpenVinoEngine",
        rank=lambda machine: 20 if machine.is_x86 else 22,
        faster_in_int8=True,
    ),
    "openvino-bf16": EngineRow(
        "rtstyle.engines.openvino_engine:OpenVinoBf16Engine", faster_in_int8=True, precision="bf16"
    ),
    "onnxruntime": EngineRow(  # slower in INT8 than in float
        "rtstyle.engines.onnxruntime_engine:OnnxRuntimeEngine", rank=lambda machine: 21, extra="cpu"
    ),
    "torch": EngineRow(
        "rtstyle.engines.torch_engine:TorchEngine", rank=lambda machine: 30, extra="torch"
    ),
    "tensorrt": EngineRow(
        "rtstyle.engines.tensorrt_engine:TensorRtEngine",
        extra="tensorrt",
        rank=_with_nvidia(0),
        runs_on_gpu=True,
        precision="fp16",
        norms="split",
        builds_per_size=True,
    ),
    "tensorrt-rtx": EngineRow(
        "rtstyle.engines.tensorrt_engine:TensorRtRtxEngine",
        extra="rtx",
        rank=_with_nvidia(1),
        runs_on_gpu=True,
        precision="fp16",
        norms="split",
        builds_per_size=True,
    ),
    "torch-cuda": EngineRow(
        "rtstyle.engines.torch_engine:TorchCudaEngine",
        extra="torch",
        rank=_with_nvidia(2),
        runs_on_gpu=True,
        precision="fp16",
    ),
    "torch-tensorrt": EngineRow(
        "rtstyle.engines.torch_tensorrt_engine:TorchTensorRtEngine",
        extra="torch-tensorrt",
        runs_on_gpu=True,
        precision="fp16",
    ),
    "onnxruntime-tensorrt": EngineRow(
        "rtstyle.engines.onnxruntime_engine:OnnxRuntimeTensorRtEngine",
        extra="gpu-trt",
        rank=_with_nvidia(3),
        runs_on_gpu=True,
        precision="fp16",
    ),
    "onnxruntime-cuda": EngineRow(
        "rtstyle.engines.onnxruntime_engine:OnnxRuntimeCudaEngine",
        extra="gpu",
        rank=_with_nvidia(4),
        runs_on_gpu=True,
        precision="fp16",
    ),
    "directml": EngineRow(
        "rtstyle.engines.onnxruntime_engine:DirectMlEngine",
        extra="directml",
        rank=lambda machine: 10 if machine.system == "win32" and not machine.has_nvidia else None,
        runs_on_gpu=True,
        precision="fp16",
    ),
    "coreml": EngineRow(
        "rtstyle.engines.onnxruntime_engine:CoreMlEngine",
        extra="cpu",
        rank=lambda machine: 10 if machine.system == "darwin" else None,
    ),
    "identity": EngineRow("rtstyle.engines.identity_engine:IdentityEngine"),
}


def engine_rows() -> dict[str, EngineRow]:
    """Every engine, with those of installed packages."""
    add_rows(ENGINES, "rtstyle.engines", EngineRow)
    return ENGINES


def automatic() -> tuple[str, ...]:
    """The engines that "auto" tries, best first for this machine."""
    is_x86 = platform.machine().lower() in {"x86_64", "amd64", "i686", "x86"}
    machine = Machine(sys.platform, is_x86, has_nvidia_driver())
    ranked = [(row.rank(machine), name) for name, row in engine_rows().items()]
    return tuple(name for _, name in sorted((r, name) for r, name in ranked if r is not None))


def has_nvidia_driver() -> bool:
    """Whether NVIDIA's driver is installed; asked without starting CUDA."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def engine_row(name: str) -> EngineRow:
    """The engine's row. Raises `UsageError` for an unknown name."""
    rows = engine_rows()
    if name not in rows:
        raise UsageError(f"There is no engine {name!r}; known are auto, {', '.join(rows)}.")
    return rows[name]


def load_engine_class(name: str) -> Any:
    """Import the engine's class. Raises `EngineError` when its package is missing."""
    row = engine_row(name)
    try:
        return resolve_name(row.target)
    except ImportError as error:
        mend = install_line(row.extra) if row.extra else "install its package first"
        raise EngineError(f"The engine {name} cannot be loaded ({error}); {mend}.") from error
