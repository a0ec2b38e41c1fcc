"""ONNX Runtime: on the CPU it runs wherever Python does; else TensorRT, CUDA, DirectML, Core ML."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import redirect_stdout, suppress
from functools import cache
from importlib import import_module, metadata
from io import StringIO
from time import perf_counter
from typing import Any, ClassVar, TypeVar

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from rtstyle.engines.base import Batch, Done, Engine, Pending, Shapes, StyleVector, wait_for
from rtstyle.engines.batch import cannot_load, cannot_paint, to_batch, to_inputs
from rtstyle.engines.cuda.engine import key_of, shapes_of
from rtstyle.engines.cuda.memory import HINT, BatchSplitter, OutOfDeviceMemoryError, is_about_memory
from rtstyle.engines.cuda.slot import Inputs, Slot
from rtstyle.engines.options import DEFAULTS, EngineOptions
from rtstyle.engines.watchdog import CLOSING_SECONDS, outlive
from rtstyle.errors import EngineError, install_line
from rtstyle.files import cache_folder
from rtstyle.model.spec import ModelSpec

T = TypeVar("T")
_log = logging.getLogger("rtstyle")
_SOURCE_LINE = re.compile(r"\S+\.(cc|h|hpp|cpp):\d+ .*?\) ")  # file, line and C++ signature
_FATAL = 4  # log severity: what goes wrong is raised, so nothing needs to be printed as well
_SIZES = 4  # kept ready
_TENSORRT = 10  # major version that the provider in onnxruntime-gpu links


class OnnxRuntimeEngine(Engine):
    """Runs an ONNX model by ONNX Runtime's CPU provider.

    `submit` returns a finished `Pending`. Raises `EngineError` when the model cannot be loaded.
    """

    name = "onnxruntime"

    def __init__(self, model: ModelSpec, options: EngineOptions = DEFAULTS) -> None:
        if model.path.suffix == ".safetensors":
            raise EngineError(
                f"ONNX Runtime runs .onnx models, not the checkpoint {model.path.name}."
            )
        self.model = model
        settings = _settings()
        settings.intra_op_num_threads = options.threads or 0
        # Idle workers would otherwise burn the cores that decoding and encoding need.
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = ort.InferenceSession(
                str(model.path), settings, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its exceptions share no base class but this
            raise cannot_load("ONNX Runtime", model, reason(error)) from error
        self._run_options = ort.RunOptions()
        self._run_options.log_severity_level = _FATAL
        self.device = f"CPU, {options.threads} threads" if options.threads else "CPU"

    @classmethod
    def version(cls) -> str:
        return str(ort.__version__)

    @property
    def precision(self) -> str:
        """A CPU computes half graphs as float."""
        return "int8" if self.model.precision == "int8" else "fp32"

    def submit(
        self, frames: Batch, style: StyleVector | None = None, strength: float = 1.0
    ) -> Pending:
        inputs = to_inputs(self.model, frames, style, strength)
        try:
            (output,) = self._session.run(None, inputs, self._run_options)
        except Exception as error:  # as above
            raise cannot_paint("ONNX Runtime", frames.shape, reason(error)) from error
        if output.shape != inputs[self.model.frame_input].shape:
            raise EngineError(
                f"{self.model.path.name} does not keep the size of a picture and cannot be used."
            )
        return Done(to_batch(self.model, output))

    def close(self) -> None:
        del self._session


class ProviderEngine(Engine):
    """Runs an ONNX model by another provider of ONNX Runtime, with a session for each size.

    Batches run one after the other in a thread of the engine's own, so `submit` returns at once.
    Raises `EngineError` when the provider is not in this build, or is listed but does not load:
    nothing is silently run by another one. A batch that the GPU's memory does not hold is run in
    parts; see `BatchSplitter`.
    """

    builds_in_flight = True
    provider: ClassVar[str]
    memory: ClassVar[str] = ""  # where inputs and outputs lie: "cuda", or "" for host memory

    def __init__(self, model: ModelSpec, options: EngineOptions = DEFAULTS) -> None:
        if model.path.suffix != ".onnx":
            raise EngineError(
                f"ONNX Runtime runs .onnx models, not the checkpoint {model.path.name}."
            )
        self.version()
        self.model, self._gpu = model, options.device
        self._slots: dict[str, OnnxRuntimeSlot] = {}
        self._splitter = BatchSplitter(model, self._start, self._make_room)
        self._worker = ThreadPoolExecutor(1, "rtstyle-onnxruntime")
        self._in_flight: list[Future[Batch]] = []
        self.device = f"{self.provider.removesuffix('ExecutionProvider')} {options.device}"
        self._session({})  # a provider that does not load says so now

    @classmethod
    def version(cls) -> str:
        """The version of the runtime. Raises `EngineError` when it lacks the provider."""
        if problem := mixed_installation():
            raise EngineError(problem)
        if cls.provider not in ort.get_available_providers():
            raise EngineError(
                f"This onnxruntime has no {cls.provider}; it has "
                f"{', '.join(ort.get_available_providers())}. Install the build that has it."
            )
        if cls.memory:
            _preload()
        cls.load_libraries()
        return str(ort.__version__)

    @classmethod
    def load_libraries(cls) -> None:
        """Load what the provider links and no package's search path holds. Raises `EngineError`."""

    def options(self) -> dict[str, str]:
        """The provider's own."""
        return {"device_id": str(self._gpu)}

    def submit(
        self, frames: Batch, style: StyleVector | None = None, strength: float = 1.0
    ) -> Pending:
        """Start stylizing; see `Engine.submit`. The engine reads `frames` until the result."""
        return self._splitter.submit(frames, style, strength)

    def _start(self, frames: Batch, style: StyleVector | None, strength: float) -> Pending:
        inputs = to_inputs(self.model, frames, style, strength)
        future = self._worker.submit(self._stylize, inputs)
        self._in_flight = [other for other in self._in_flight if not other.done()] + [future]
        return _Running(future)

    def _make_room(self) -> None:
        with suppress(RuntimeError):  # closed meanwhile
            self._worker.submit(self._slots.clear).result()

    def _stylize(self, inputs: Inputs) -> Batch:
        return to_batch(self.model, self.guarded(lambda: self._slot(inputs).stylize(inputs)))

    def _slot(self, inputs: Inputs) -> OnnxRuntimeSlot:
        shapes = shapes_of(inputs)
        key = key_of(shapes)
        if key not in self._slots:
            if len(self._slots) >= _SIZES:
                del self._slots[next(iter(self._slots))]
            self._slots[key] = OnnxRuntimeSlot(self, self._session(shapes), shapes, self._gpu)
        return self._slots[key]

    def open_slot(
        self, frames: Batch, style: StyleVector | None = None, strength: float = 1.0
    ) -> Slot | None:
        if not self.memory:
            return None
        inputs = to_inputs(self.model, frames, style, strength)
        slot = self.in_worker(lambda: self._slot(inputs))
        slot.upload(inputs)
        slot.time_run_ms(2)  # the first times allocate and record
        return slot

    def in_worker(self, work: Callable[[], T]) -> T:
        """The result of `work`, run by the thread that the sessions belong to."""
        return self._worker.submit(self.guarded, work).result()

    def guarded(self, work: Callable[[], T]) -> T:
        """The result of `work`, with its errors as ours."""
        try:
            return work()
        except EngineError:
            raise
        except Exception as error:  # ONNX Runtime's exceptions share no base class but this
            raise self._failure("failed on a batch", error) from error

    def _failure(self, what: str, error: Exception) -> EngineError:
        sentence = f"{self.name} {what} on {self.device}: {reason(error)}"
        if is_about_memory(str(error)):
            return OutOfDeviceMemoryError(f"{sentence}; {HINT}.")
        return EngineError(sentence)

    def _session(self, shapes: Shapes) -> ort.InferenceSession:
        settings = _settings()
        if frame := shapes.get(self.model.frame_input):
            # Fixed sizes let shapes be computed beforehand, which CUDA graphs ask for.
            for free, size in zip(("N", "H", "W"), frame[:3], strict=True):
                settings.add_free_dimension_override_by_name(free, size)
        try:
            session = ort.InferenceSession(
                str(self.model.path), settings, providers=[(self.provider, self.options())]
            )
        except Exception as error:  # as above
            raise self._failure(f"cannot load {self.model.path.name}", error) from error
        session.disable_fallback()
        if session.get_providers()[0] != self.provider:
            raise EngineError(
                f"{self.provider} is listed but did not load: a library of its version of CUDA, "
                "cuDNN or TensorRT is missing. `rtstyle --debug` shows which; "
                f"{install_line('gpu')}."
            )
        return session

    def close(self) -> None:
        running = [future for future in self._in_flight if not future.cancel()]
        hanging = wait(running, CLOSING_SECONDS).not_done
        self._worker.shutdown(wait=not hanging, cancel_futures=True)
        if hanging:
            outlive(hanging.pop().exception, self._slots)
        else:
            self._slots.clear()


class OnnxRuntimeCudaEngine(ProviderEngine):
    """CUDA, with one CUDA graph for each size."""

    name, provider, memory = "onnxruntime-cuda", "CUDAExecutionProvider", "cuda"

    def options(self) -> dict[str, str]:
        return super().options() | {"enable_cuda_graph": "1", "cudnn_conv_algo_search": "HEURISTIC"}


class OnnxRuntimeTensorRtEngine(ProviderEngine):
    """TensorRT inside ONNX Runtime, whose engines it keeps itself."""

    name, provider, memory = "onnxruntime-tensorrt", "TensorrtExecutionProvider", "cuda"

    @classmethod
    def load_libraries(cls) -> None:
        """TensorRT's own package loads its libraries, among them the provider's libnvinfer."""
        try:
            found = str(import_module("tensorrt").__version__)
        except (ImportError, OSError, RuntimeError, AttributeError) as error:
            found = f"none ({error})"
        if not found.startswith(f"{_TENSORRT}."):
            raise EngineError(
                f"ONNX Runtime's TensorRT provider needs TensorRT {_TENSORRT}, not {found}; "
                f"{install_line('gpu-trt')}."
            )

    def options(self) -> dict[str, str]:
        folder = str(cache_folder() / "engines")
        return super().options() | {
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": folder,
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": folder,
            "trt_cuda_graph_enable": "1",
        }


class DirectMlEngine(ProviderEngine):
    """Any GPU under Windows."""

    name, provider = "directml", "DmlExecutionProvider"


class CoreMlEngine(ProviderEngine):
    """Apple's GPU and neural engine."""

    name, provider = "coreml", "CoreMLExecutionProvider"

    def options(self) -> dict[str, str]:
        return {"ModelFormat": "MLProgram"}


class OnnxRuntimeSlot(Slot):
    """A session for inputs of fixed shapes, whose buffers stay where they are.

    ONNX Runtime keeps its stream to itself, so that there is no place for events. `stylize` runs in
    the engine's worker, the other methods have the worker do what they say.
    """

    clock = "until the GPU was done, by this process's clock"

    def __init__(
        self, engine: ProviderEngine, session: ort.InferenceSession, shapes: Shapes, gpu: int
    ) -> None:
        self._engine, self._session, self._binding = engine, session, None
        self._output_name = session.get_outputs()[0].name
        if engine.memory:
            dtypes = {
                i.name: np.uint8 if "uint8" in i.type else np.float32
                for i in (*session.get_inputs(), *session.get_outputs())
            }
            frame = shapes[engine.model.frame_input]
            self._buffers = {
                name: ort.OrtValue.ortvalue_from_shape_and_type(
                    shape, dtypes[name], engine.memory, gpu
                )
                for name, shape in {**shapes, self._output_name: frame}.items()
            }
            self._binding = session.io_binding()
            for name in shapes:
                self._binding.bind_ortvalue_input(name, self._buffers[name])
            self._binding.bind_ortvalue_output(self._output_name, self._buffers[self._output_name])

    def stylize(self, inputs: Inputs) -> NDArray[Any]:
        """The model's output."""
        if self._binding is None:
            return np.asarray(self._session.run([self._output_name], inputs)[0])
        self._upload(inputs)
        self._run()
        return self._download()

    def _upload(self, inputs: Inputs) -> None:
        for name, array in inputs.items():
            self._buffers[name].update_inplace(array)

    def _run(self) -> None:
        """Returns when the GPU is done, as a run ends by waiting for its stream."""
        self._session.run_with_iobinding(self._binding)

    def _download(self) -> NDArray[Any]:
        return np.asarray(self._buffers[self._output_name].numpy())

    def upload(self, inputs: Inputs) -> None:
        self._engine.in_worker(lambda: self._upload(inputs))

    def time_run_ms(self, count: int) -> list[float]:
        return self._engine.in_worker(lambda: [self._timed_run() for _ in range(count)])

    def _timed_run(self) -> float:
        start = perf_counter()
        self._run()
        return (perf_counter() - start) * 1e3

    def download(self) -> Batch:
        return to_batch(self._engine.model, self._engine.in_worker(self._download))


class _Running:
    def __init__(self, future: Future[Batch]) -> None:
        self._future = future

    def wait(self, seconds: float) -> bool:
        return bool(wait([self._future], seconds).done)

    def result(self) -> Batch:
        wait_for(self)
        return self._future.result()


def reason(error: BaseException) -> str:
    """ONNX Runtime's own sentence, without its error codes."""
    text = _SOURCE_LINE.sub("", str(error).split("Status Message: ")[-1].split(" : ")[-1])
    return text.splitlines()[0] if text else type(error).__name__


@cache
def _preload() -> None:
    """Load CUDA's and cuDNN's libraries out of their packages, where the provider, which has no
    search path of its own, would not find them. What is missing shows when it does not load."""
    with suppress(Exception), redirect_stdout(StringIO()) as said:
        ort.preload_dlls()
    for line in said.getvalue().splitlines():
        _log.debug("%s", line)


def mixed_installation() -> str:
    """What is wrong where two builds of onnxruntime overwrite each other's files; "" if nothing."""
    builds = []
    for name in ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml"):
        with suppress(metadata.PackageNotFoundError):
            metadata.version(name)
            builds.append(name)
    if len(builds) < 2:
        return ""
    return (
        f"{' and '.join(builds)} are both installed and break each other. Uninstall all of them, "
        f"then install {builds[-1]} alone."
    )


def _settings() -> ort.SessionOptions:
    settings = ort.SessionOptions()
    settings.log_severity_level = _FATAL
    return settings
