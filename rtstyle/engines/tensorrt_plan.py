"""From an ONNX file to a TensorRT plan for one size of picture, kept on disk.

The same for TensorRT 10 and 11 and for TensorRT for RTX. Networks are strongly typed: every layer
has the precision that the graph says, so half precision comes from the model's fp16 variant.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from rtstyle.engines.base import Shapes
from rtstyle.engines.cuda.device import Gpu
from rtstyle.engines.cuda.memory import HINT, OutOfDeviceMemoryError
from rtstyle.errors import EngineError
from rtstyle.files import atomic_write, cache_folder

_MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
_OLDEST = (10, 0)  # of TensorRT itself: execute_async_v3 and strong typing
_log = logging.getLogger("rtstyle")


@dataclass(frozen=True, slots=True)
class Runtime:
    """TensorRT, or TensorRT for RTX: the module, a logger for it and its version."""

    name: str
    module: Any
    logger: Any
    version: str


def load_runtime(name: str) -> Runtime:
    """Import "tensorrt" or "tensorrt-rtx". Raises `EngineError` when it is missing or too old."""
    try:
        module: Any = import_module(_MODULES[name])
        version = str(module.__version__)
        logger = _make_logger(module)
    except (ImportError, OSError, AttributeError, RuntimeError) as error:
        raise EngineError(
            f"{_MODULES[name]} cannot be loaded ({error}); install it with "
            f"`pip install {name}` on a machine that reaches NVIDIA's package index."
        ) from None
    numbers = tuple(int(part) for part in version.split(".")[:2])
    if name == "tensorrt" and numbers < _OLDEST:
        raise EngineError(f"TensorRT {version} is too old; 10.0 or later is needed.")
    return Runtime(name, module, logger, version)


def build_plan(
    runtime: Runtime, model: Path, shapes: Shapes, *, timing_cache: Path | None = None
) -> bytes:
    """Compile the ONNX file for inputs of exactly these shapes.

    Raises `EngineError` with the parser's or the builder's reason.
    """
    builder, network, _parser = _parse(runtime, model)
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    for name, shape in shapes.items():
        profile.set_shape(name, shape, shape, shape)
    config.add_optimization_profile(profile)
    _take_timings(config, timing_cache)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineError(
            f"{runtime.name} {runtime.version} cannot build {model.name} for "
            f"{dict(shapes)}; {_last_words(runtime)}"
        )
    if timing_cache is not None and (timings := config.get_timing_cache()) is not None:
        _write(timing_cache, bytes(timings.serialize()))
    return bytes(plan)


@dataclass(frozen=True, slots=True)
class LoadedPlan:
    """What TensorRT calls an engine, with what must outlive its contexts."""

    trt: Any
    loader: Any
    engine: Any

    def context(self) -> Any:
        """A new execution context. Raises `OutOfDeviceMemoryError`."""
        context = self.engine.create_execution_context()
        if context is None:
            raise OutOfDeviceMemoryError(f"The GPU has no memory for one more picture; {HINT}.")
        return context

    def tensors(self) -> Iterator[tuple[str, np.dtype[Any], bool]]:
        """Name and type of every input and output, and whether it is an input."""
        for i in range(self.engine.num_io_tensors):
            name = self.engine.get_tensor_name(i)
            kind = np.dtype(self.trt.nptype(self.engine.get_tensor_dtype(name)))
            yield name, kind, self.engine.get_tensor_mode(name) == self.trt.TensorIOMode.INPUT


def find_plan(runtime: Runtime, gpu: Gpu, model: Path, shapes: Shapes) -> bytes:
    """The plan for inputs of these shapes, read from the cache or built. Raises `EngineError`."""
    if (plan := kept_plan(runtime, gpu, model, shapes)) is not None:
        return plan
    _log.info("Building %s for %s; this happens once.", model.name, gpu)
    timings = timing_cache_path(runtime, gpu)
    plan = build_plan(runtime, model, shapes, timing_cache=timings)
    keep_plan(runtime, gpu, model, shapes, plan)
    return plan


def load_plan(runtime: Runtime, gpu: Gpu, model: Path, shapes: Shapes) -> LoadedPlan:
    """The plan on the GPU. Raises `EngineError`."""
    loader = runtime.module.Runtime(runtime.logger)
    engine = loader.deserialize_cuda_engine(find_plan(runtime, gpu, model, shapes))
    if engine is None:  # kept by something that only looks the same: made anew
        plan = build_plan(runtime, model, shapes)
        keep_plan(runtime, gpu, model, shapes, plan)
        engine = loader.deserialize_cuda_engine(plan)
    if engine is None:
        raise EngineError(f"{runtime.name} cannot load the plan it built for {model.name}.")
    return LoadedPlan(runtime.module, loader, engine)


def describe_network(runtime: Runtime, model: Path) -> list[tuple[str, str]]:
    """The kind of every layer and the type of its output: ("CONVOLUTION", "HALF")."""
    _, network, _parser = _parse(runtime, model)
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    return [(layer.type.name, layer.get_output(0).dtype.name) for layer in layers]


def kept_plan(runtime: Runtime, gpu: Gpu, model: Path, shapes: Shapes) -> bytes | None:
    """The plan that `keep_plan` kept; None when there is none, or it is damaged."""
    try:
        content = plan_path(runtime, gpu, model, shapes).read_bytes()
    except OSError:
        return None
    digest, plan = content[:32], content[32:]
    return plan if hashlib.sha256(plan).digest() == digest else None


def keep_plan(runtime: Runtime, gpu: Gpu, model: Path, shapes: Shapes, plan: bytes) -> None:
    """Keep a plan on disk, where that is possible."""
    _write(plan_path(runtime, gpu, model, shapes), hashlib.sha256(plan).digest() + plan)


def plan_path(runtime: Runtime, gpu: Gpu, model: Path, shapes: Shapes) -> Path:
    """Where the plan is kept. A plan runs only with the very runtime, driver and kind of GPU it
    was made for, so all of them are in the name, with the model's content and the shapes."""
    parts = (
        hashlib.sha256(model.read_bytes()).hexdigest(),
        runtime.name,
        runtime.version,
        gpu.name,
        str(gpu.capability),
        str(gpu.driver),
        repr(sorted(shapes.items())),
    )
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
    return cache_folder() / "engines" / f"{model.stem}-{key}.plan"


def timing_cache_path(runtime: Runtime, gpu: Gpu) -> Path:
    """Where measured kernels are kept, which make the next build of a like net fast."""
    name = f"{runtime.name}-{runtime.version}-sm{gpu.capability[0]}{gpu.capability[1]}.timings"
    return cache_folder() / "engines" / name


def _parse(runtime: Runtime, model: Path) -> tuple[Any, Any, Any]:
    """Builder, network and parser, which must outlive the network."""
    trt = runtime.module
    builder = trt.Builder(runtime.logger)
    flags = 0
    if hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
        flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, runtime.logger)
    if not parser.parse(model.read_bytes()):
        errors = [parser.get_error(i) for i in range(parser.num_errors)]
        reason = str(errors[0].desc()).strip() if errors else "no reason was given"
        raise EngineError(
            f"{runtime.name} {runtime.version} cannot read {model.name}: {reason.splitlines()[0]}"
        )
    return builder, network, parser


def _take_timings(config: Any, path: Path | None) -> None:
    if path is None:
        return
    content = b""
    with suppress(OSError):
        content = path.read_bytes()
    if not config.set_timing_cache(config.create_timing_cache(content), False) and content:
        config.set_timing_cache(config.create_timing_cache(b""), False)


def _write(path: Path, content: bytes) -> None:
    try:
        with atomic_write(path, parents=True) as part:
            part.write_bytes(content)
    except OSError as error:
        _log.info("Nothing is kept in %s: %s", path.parent, error.strerror or error)


def _last_words(runtime: Runtime) -> str:
    return str(getattr(runtime.logger, "last", "") or "it gave no reason.")


def _make_logger(trt: Any) -> Any:
    """A logger that keeps the last error for our own sentence and prints nothing."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        last = ""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                type(self).last = message.splitlines()[0] if message else ""
            _log.debug("%s", message)

    return Logger()
