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
from threading import Lock
from typing import Any

import numpy as np

from rtstyle.engines.base import Shapes
from rtstyle.engines.cuda.device import Gpu
from rtstyle.engines.cuda.memory import HINT, OutOfDeviceMemoryError
from rtstyle.errors import EngineError, install_line
from rtstyle.files import atomic_write, cache_folder

_MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
_OLDEST = (10, 0)  # of TensorRT itself: execute_async_v3 and strong typing
_OLDEST_GPU = (7, 5)  # compute capability that TensorRT 10 and 11 still know
_EXTRAS = {"tensorrt": "tensorrt", "tensorrt-rtx": "rtx"}
_log = logging.getLogger("rtstyle")


@dataclass(frozen=True, slots=True)
class Runtime:
    """TensorRT, or TensorRT for RTX: the module, a logger for it and its version."""

    name: str
    module: Any
    logger: Any
    version: str

    @property
    def is_rtx(self) -> bool:
        """Whether this is TensorRT for RTX, which compiles a plan's kernels where it runs."""
        return self.name == "tensorrt-rtx"

    def check_gpu(self, gpu: Gpu) -> None:
        """Raise `EngineError` for a GPU that this runtime does not know."""
        if self.is_rtx:
            name = "SM{}{}".format(*gpu.capability)
            known = hasattr(self.module.ComputeCapability, name)
        else:
            known = gpu.capability >= _OLDEST_GPU
        if not known:
            raise EngineError(
                f"{self.name} {self.version} does not run on {gpu} of compute capability "
                f"{gpu.capability[0]}.{gpu.capability[1]}; use --engine "
                f"{'tensorrt or ' if self.is_rtx else ''}torch-cuda or onnxruntime-cuda."
            )


def load_runtime(name: str) -> Runtime:
    """Import "tensorrt" or "tensorrt-rtx". Raises `EngineError` when it is missing or too old."""
    try:
        module: Any = import_module(_MODULES[name])
        version = str(module.__version__)
        logger = _make_logger(module)
    except (ImportError, OSError, AttributeError, RuntimeError) as error:
        raise EngineError(
            f"{_MODULES[name]} cannot be loaded ({error}); {install_line(_EXTRAS[name])}."
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
    if config.add_optimization_profile(profile) < 0:
        raise EngineError(f"{model.name} takes no inputs of {dict(shapes)}; export it again.")
    if runtime.is_rtx:  # memory that the runtime allocates while it runs would break a CUDA graph
        config.set_flag(runtime.module.BuilderFlag.REQUIRE_USER_ALLOCATION)
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
    kernels: _Kernels | None  # of TensorRT for RTX

    def context(self) -> Any:
        """A new execution context. Raises `OutOfDeviceMemoryError`."""
        config = () if self.kernels is None else (self.kernels.config,)
        context = self.engine.create_execution_context(*config)
        if context is None:
            raise OutOfDeviceMemoryError(f"The GPU has no memory for one more picture; {HINT}.")
        return context

    def memory_of(self, context: Any) -> int:
        """The bytes of GPU memory that the context, whose input shapes are set, must be given; 0
        for one that has its own."""
        return 0 if self.kernels is None else int(context.update_device_memory_size_for_shapes())

    def keep_kernels(self) -> None:
        """Keep what was compiled while the contexts ran, for the next start."""
        if self.kernels is not None:
            self.kernels.keep()

    def tensors(self) -> Iterator[tuple[str, np.dtype[Any], bool]]:
        """Name and type of every input and output, and whether it is an input."""
        for i in range(self.engine.num_io_tensors):
            name = self.engine.get_tensor_name(i)
            kind = np.dtype(self.trt.nptype(self.engine.get_tensor_dtype(name)))
            yield name, kind, self.engine.get_tensor_mode(name) == self.trt.TensorIOMode.INPUT


class _Kernels:
    """How TensorRT for RTX makes contexts: with memory that the caller gives, which a CUDA graph
    needs, and with the kernels that an earlier start compiled, kept in the file `path`."""

    def __init__(self, trt: Any, engine: Any, path: Path) -> None:
        self.config = engine.create_runtime_config()
        self.config.set_execution_context_allocation_strategy(
            trt.ExecutionContextAllocationStrategy.USER_MANAGED
        )
        self._path, self._cache = path, self.config.create_runtime_cache()
        self._kept = b""
        with suppress(OSError):
            self._kept = path.read_bytes()
        if self._kept and not self._cache.deserialize(self._kept):
            _log.info("Kernels are compiled anew: %s is of another GPU or version.", path)
        if not self.config.set_runtime_cache(self._cache):
            _log.info("Kernels are compiled at every start: the runtime takes no cache.")

    def keep(self) -> None:
        content = bytes(self._cache.serialize())
        if content != self._kept:
            self._kept = content
            _write(self._path, content)


class PlanCache:
    """The plans of one model for one GPU: on disk, and in memory where it cannot be written.

    A plan runs only with the very runtime, driver and kind of GPU it was made for, so all of them
    are in its file's name, with the model's content and the shapes. Safe from two threads.
    """

    def __init__(self, runtime: Runtime, gpu: Gpu, model: Path) -> None:
        self._runtime, self._gpu, self._model = runtime, gpu, model
        self._in_memory: dict[Path, bytes] = {}
        self._lock = Lock()

    def kept(self, shapes: Shapes) -> bytes | None:
        """The plan for inputs of these shapes; None when there is none, or it is damaged."""
        path = self._path(shapes)
        try:
            content = path.read_bytes()
        except OSError:
            return self._in_memory.get(path)
        digest, plan = content[:32], content[32:]
        return plan if hashlib.sha256(plan).digest() == digest else None

    def find(self, shapes: Shapes) -> bytes:
        """The plan for inputs of these shapes, kept or built. Raises `EngineError`."""
        with self._lock:
            if (plan := self.kept(shapes)) is None:
                plan = self.build(shapes)
        return plan

    def build(self, shapes: Shapes) -> bytes:
        """Build the plan and keep it. Raises `EngineError`."""
        _log.info("Building %s for %s; this happens once.", self._model.name, self._gpu)
        timings = None if self._runtime.is_rtx else self._timings()
        plan = build_plan(self._runtime, self._model, shapes, timing_cache=timings)
        path = self._path(shapes)
        if not _write(path, hashlib.sha256(plan).digest() + plan):
            self._in_memory[path] = plan
        return plan

    def load(self, shapes: Shapes) -> LoadedPlan:
        """The plan on the GPU. Raises `EngineError`."""
        trt = self._runtime.module
        loader = trt.Runtime(self._runtime.logger)
        engine = loader.deserialize_cuda_engine(self.find(shapes))
        if engine is None:  # kept by something that only looks the same: made anew
            engine = loader.deserialize_cuda_engine(self.build(shapes))
        if engine is None:
            raise EngineError(
                f"{self._runtime.name} cannot load the plan it built for {self._model.name}; "
                f"{_last_words(self._runtime)}"
            )
        kernels = None
        if self._runtime.is_rtx:
            kernels = _Kernels(trt, engine, self._path(shapes).with_suffix(".kernels"))
        return LoadedPlan(trt, loader, engine, kernels)

    def _path(self, shapes: Shapes) -> Path:
        parts = (
            hashlib.sha256(self._model.read_bytes()).hexdigest(),
            self._runtime.name,
            self._runtime.version,
            self._gpu.name,
            str(self._gpu.capability),
            str(self._gpu.driver),
            repr(sorted(shapes.items())),
        )
        key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
        return cache_folder() / "engines" / f"{self._model.stem}-{key}.plan"

    def _timings(self) -> Path:
        """Where measured kernels are kept, which make the next build of a like net fast."""
        major, minor = self._gpu.capability
        name = f"{self._runtime.name}-{self._runtime.version}-sm{major}{minor}.timings"
        return cache_folder() / "engines" / name


def describe_network(runtime: Runtime, model: Path) -> list[tuple[str, str]]:
    """The kind of every layer and the type of its output: ("CONVOLUTION", "HALF")."""
    _, network, _parser = _parse(runtime, model)
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    return [(layer.type.name, layer.get_output(0).dtype.name) for layer in layers]


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
    for known in dict.fromkeys((content, b"")):  # another GPU's timings are refused
        if config.set_timing_cache(config.create_timing_cache(known), False):
            return
    _log.info("Kernels are timed anew: the builder takes no timing cache.")


def _write(path: Path, content: bytes) -> bool:
    """Whether it was written."""
    try:
        with atomic_write(path, parents=True) as part:
            part.write_bytes(content)
    except OSError as error:
        _log.info("Nothing is kept in %s: %s", path.parent, error.strerror or error)
        return False
    return True


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
