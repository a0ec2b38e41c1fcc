"""The engines; adding one is a file and a line here."""

from __future__ import annotations

import ctypes
import logging
import platform
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pkgutil import resolve_name
from typing import Any, cast

from rtstyle.engines.base import Engine
from rtstyle.engines.batch import find_peak
from rtstyle.engines.striped import StripedEngine
from rtstyle.engines.upgrading import BuildingEngine, UpgradingEngine
from rtstyle.errors import EngineError, UsageError
from rtstyle.model.onnx_reader import check_safe
from rtstyle.model.spec import ModelSpec
from rtstyle.model.zoo import CHOICES, PRECISIONS, at_precision, best_precision

ENGINES = {
    "openvino": "rtstyle.engines.openvino_engine:OpenVinoEngine",
    "openvino-bf16": "rtstyle.engines.openvino_engine:OpenVinoBf16Engine",
    "onnxruntime": "rtstyle.engines.onnxruntime_engine:OnnxRuntimeEngine",
    "torch": "rtstyle.engines.torch_engine:TorchEngine",
    "tensorrt": "rtstyle.engines.tensorrt_engine:TensorRtEngine",
    "tensorrt-rtx": "rtstyle.engines.tensorrt_engine:TensorRtRtxEngine",
    "torch-cuda": "rtstyle.engines.torch_cuda_engine:TorchCudaEngine",
    "torch-tensorrt": "rtstyle.engines.torch_tensorrt_engine:TorchTensorRtEngine",
    "onnxruntime-tensorrt": "rtstyle.engines.onnxruntime_gpu_engine:OnnxRuntimeTensorRtEngine",
    "onnxruntime-tensorrt-rtx": "rtstyle.engines.onnxruntime_gpu_engine:OnnxRuntimeRtxEngine",
    "onnxruntime-cuda": "rtstyle.engines.onnxruntime_gpu_engine:OnnxRuntimeCudaEngine",
    "directml": "rtstyle.engines.onnxruntime_gpu_engine:DirectMlEngine",
    "coreml": "rtstyle.engines.onnxruntime_gpu_engine:CoreMlEngine",
    "identity": "rtstyle.engines.identity_engine:IdentityEngine",
}
BUILDS_FIRST = ("tensorrt", "tensorrt-rtx")  # minutes for every new size
ON_CARDS = {
    *BUILDS_FIRST, "torch-cuda", "torch-tensorrt", "onnxruntime-tensorrt",
    "onnxruntime-tensorrt-rtx", "onnxruntime-cuda", "directml",
}  # fmt: skip
FASTER_IN_INT8 = {"openvino", "openvino-bf16"}  # ONNX Runtime is slower in it than in float

_log = logging.getLogger("rtstyle")


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """One row of the table of engines: the version of its library, or why it cannot be used."""

    name: str
    version: str = ""
    problem: str = ""


def open_engine(
    name: str,
    model: ModelSpec,
    *,
    threads: int | None = None,
    precision: str = "auto",
    devices: Sequence[int] = (),
) -> Engine:
    """Load `model` into the engine called `name`, or with "auto" into the best that works.

    `threads` is the number of CPU threads, all cores by default. `precision` is one of
    `rtstyle.model.zoo.PRECISIONS`; "auto" takes half on a card where the model has that variant,
    and "fastest" takes INT8 on a processor too.
    `devices` are numbers of cards, over which batches are striped where there are several.

    With "auto", what has to be built first paints with the next engine until it is ready. Raises
    `UsageError` for a name that is none, `EngineError` when the engine, or with "auto" every one,
    cannot run the model.
    """
    if threads is not None and threads < 1:
        raise UsageError(f"An engine needs at least 1 thread, not {threads}.")
    if precision not in PRECISIONS:
        raise UsageError(f"There is no precision {precision!r}; use {', '.join(PRECISIONS)}.")
    wanted = _Wanted(model, threads, precision, tuple(devices))
    if name != "auto":
        return _open(name, wanted)
    problems = []
    builder: Engine | None = None
    for candidate in automatic():
        if devices and candidate not in ON_CARDS:
            problems.append(f"{candidate}: it does not run on cards.")
            continue
        builds = candidate in BUILDS_FIRST and not devices
        if builds and builder is not None:
            continue  # one that builds is enough; what paints meanwhile must not build itself
        try:
            engine = _open(candidate, wanted)
        except EngineError as error:
            problems.append(f"{candidate}: {error}")
            continue
        if builds:
            builder = engine
            continue
        if builder is not None:
            engine = UpgradingEngine(engine, cast(BuildingEngine, builder))
        _log.info("Engine %s on %s.", engine.name, engine.device)
        for problem in problems:
            _log.debug("Not %s", problem)
        return engine
    if builder is not None:
        return builder
    raise EngineError(f"No engine can run {model.path.name}. " + " ".join(problems))


def automatic() -> tuple[str, ...]:
    """What "auto" tries, best first for this machine."""
    on_x86 = platform.machine().lower() in {"x86_64", "amd64", "i686", "x86"}
    first_two = ("openvino", "onnxruntime") if on_x86 else ("onnxruntime", "openvino")
    if sys.platform == "darwin":
        first_two = ("coreml", *first_two)
    elif sys.platform == "win32" and not has_nvidia_driver():
        first_two = ("directml", *first_two)
    cards = (*BUILDS_FIRST, "torch-cuda", "onnxruntime-tensorrt", "onnxruntime-cuda")
    return (*(cards if has_nvidia_driver() else ()), *first_two, "torch")


def has_nvidia_driver() -> bool:
    """Whether NVIDIA's driver is installed; asked without starting CUDA."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def available_engines() -> list[EngineInfo]:
    """Every engine with its version or with what is missing. Imports them all."""
    rows = []
    for name in ENGINES:
        try:
            rows.append(EngineInfo(name, version=_engine_class(name).version()))
        except EngineError as error:
            rows.append(EngineInfo(name, problem=str(error)))
    return rows


@dataclass(frozen=True, slots=True)
class _Wanted:
    model: ModelSpec
    threads: int | None
    precision: str
    devices: tuple[int, ...]

    def model_for(self, name: str) -> ModelSpec:
        """The model's variant for the engine called `name`."""
        if self.precision not in CHOICES:
            return at_precision(self.model, self.precision)
        if self.model.path.suffix != ".onnx":
            return self.model
        if name in ON_CARDS:
            return best_precision(self.model, "fp16")
        if self.precision == "fastest" and name in FASTER_IN_INT8:
            return best_precision(self.model, "int8")
        return self.model


def _open(name: str, wanted: _Wanted) -> Engine:
    make = _engine_class(name)
    if wanted.devices and name not in ON_CARDS:
        raise UsageError(f"The engine {name} does not run on cards; leave --devices out.")
    if len(set(wanted.devices)) < len(wanted.devices):
        raise UsageError("A card is named twice in --devices.")
    model = wanted.model_for(name)
    if model.path.suffix == ".onnx" and name != "identity":
        check_safe(model.path)
    engine: Engine
    if not wanted.devices:
        engine = make(model, threads=wanted.threads)
    elif len(wanted.devices) == 1:
        engine = make(model, threads=wanted.threads, device=wanted.devices[0])
    else:
        with ExitStack() as stack:
            opened = [
                stack.enter_context(make(model, threads=wanted.threads, device=device))
                for device in wanted.devices
            ]
            stack.pop_all()  # all are open: the striped engine closes them
        engine = StripedEngine(opened)
    if model.layout == "nchw" and model.peak is None:
        engine.model = replace(engine.model, peak=find_peak(engine))
    return engine


def _engine_class(name: str) -> Any:
    if name not in ENGINES:
        raise UsageError(f"There is no engine {name!r}; known are auto, {', '.join(ENGINES)}.")
    try:
        return resolve_name(ENGINES[name])
    except ImportError as error:
        raise EngineError(
            f"The engine {name} cannot be loaded ({error}); install its package first."
        ) from error
