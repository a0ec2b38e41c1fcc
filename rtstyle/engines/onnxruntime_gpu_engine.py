"""ONNX Runtime on an accelerator: TensorRT, TensorRT for RTX, CUDA, DirectML, Core ML."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from importlib import metadata
from typing import Any, TypeVar

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from rtstyle.closing import Closing
from rtstyle.engines.base import Batch, Pending, StyleVector
from rtstyle.engines.batch import to_batch, to_inputs
from rtstyle.engines.card_memory import (
    HINT,
    BatchSplitter,
    OutOfCardMemoryError,
    tells_of_memory,
)
from rtstyle.engines.onnxruntime_engine import reason
from rtstyle.engines.onnxruntime_resident import ResidentBinding
from rtstyle.engines.options import DEFAULTS, EngineOptions
from rtstyle.errors import EngineError
from rtstyle.files import cache_folder
from rtstyle.model.spec import ModelSpec

T = TypeVar("T")
_FATAL = 4
_SIZES = 4  # sizes kept ready
_log = logging.getLogger("rtstyle")


class _Provider(Closing):
    """Runs an ONNX model by one provider of ONNX Runtime, with a session for each size.

    Batches are painted one after the other by a thread of the engine's own, so `submit` returns at
    once. Raises `EngineError` when the provider is not in this build, or is listed but does not
    load: nothing is ever painted by another one unsaid. A batch that the card's memory does not
    hold is painted in parts; see `BatchSplitter`.
    """

    name = ""
    provider = ""
    memory = ""  # where inputs and outputs lie: "cuda", or "" for this computer's memory

    def __init__(self, model: ModelSpec, options: EngineOptions = DEFAULTS) -> None:
        if model.path.suffix != ".onnx":
            raise EngineError(
                f"ONNX Runtime runs .onnx models, not the checkpoint {model.path.name}."
            )
        self.version()
        device = options.device
        self.model, self._card = model, device
        self._sizes: dict[str, _Size] = {}
        self._splitter = BatchSplitter(model, self._start, self._make_room)
        self._worker = ThreadPoolExecutor(1, "rtstyle-onnxruntime")
        self.device = f"{self.provider.removesuffix('ExecutionProvider')} {device}"
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
        return str(ort.__version__)

    def options(self) -> dict[str, str]:
        """What the provider is told."""
        return {"device_id": str(self._card)}

    def submit(
        self, frames: Batch, style: StyleVector | None = None, strength: float = 1.0
    ) -> Pending:
        """Start painting; see `Engine.submit`. The engine reads `frames` until the result."""
        return self._splitter.submit(frames, style, strength)

    def _start(self, frames: Batch, style: StyleVector | None, strength: float) -> Pending:
        inputs = to_inputs(self.model, frames, style, strength)
        return _Running(self.model, self._worker.submit(self._paint, inputs))

    def _make_room(self) -> None:
        with suppress(RuntimeError):  # closed meanwhile
            self._worker.submit(self._sizes.clear).result()

    def _paint(self, inputs: dict[str, NDArray[Any]]) -> NDArray[Any]:
        return self._told(lambda: self._size(inputs).run(inputs))

    def _size(self, inputs: dict[str, NDArray[Any]]) -> _Size:
        shapes = {name: array.shape for name, array in inputs.items()}
        key = repr(sorted(shapes.items()))
        if key not in self._sizes:
            if len(self._sizes) >= _SIZES:
                del self._sizes[next(iter(self._sizes))]
            self._sizes[key] = _Size(self._session(shapes), shapes, self.memory, self._card)
        return self._sizes[key]

    def resident(
        self, frames: Batch, style: StyleVector | None = None, strength: float = 1.0
    ) -> ResidentBinding | None:
        """A batch that stays on the card; see `bring_to_card`."""
        if not self.memory:
            return None
        inputs = to_inputs(self.model, frames, style, strength)

        def bring() -> _Size:
            size = self._size(inputs)
            size.upload(inputs)
            return size

        size = self._worker.submit(self._told, bring).result()
        return ResidentBinding(
            self.model, self._worker, lambda: self._told(size.paint), size.download
        )

    def _told(self, work: Callable[[], T]) -> T:
        """What `work` gives, its errors as ours."""
        try:
            return work()
        except EngineError:
            raise
        except Exception as error:  # ONNX Runtime's exceptions share no base class but this
            raise self._failure("failed on a batch", error) from error

    def _failure(self, what: str, error: Exception) -> EngineError:
        told = f"{self.name} {what} on {self.device}: {reason(error)}"
        if tells_of_memory(str(error)):
            return OutOfCardMemoryError(f"{told}; {HINT}.")
        return EngineError(told)

    def _session(self, shapes: dict[str, tuple[int, ...]]) -> ort.InferenceSession:
        options = ort.SessionOptions()
        options.log_severity_level = _FATAL
        if frame := shapes.get(self.model.frame_input):
            # Fixed sizes let shapes be computed beforehand, which CUDA graphs ask for.
            for free, size in zip(("N", "H", "W"), frame[:3], strict=True):
                options.add_free_dimension_override_by_name(free, size)
        try:
            session = ort.InferenceSession(
                str(self.model.path), options, providers=[(self.provider, self.options())]
            )
        except Exception as error:  # as above
            raise self._failure(f"cannot load {self.model.path.name}", error) from error
        session.disable_fallback()
        if session.get_providers()[0] != self.provider:
            raise EngineError(
                f"{self.provider} is listed but did not load: a library of its version of CUDA, "
                "cuDNN or TensorRT is missing. `rtstyle --debug` shows which."
            )
        return session

    def close(self) -> None:
        self._worker.shutdown(cancel_futures=True)
        self._sizes.clear()


class OnnxRuntimeCudaEngine(_Provider):
    """CUDA, with one CUDA graph for each size."""

    name, provider, memory = "onnxruntime-cuda", "CUDAExecutionProvider", "cuda"

    def options(self) -> dict[str, str]:
        return super().options() | {"enable_cuda_graph": "1", "cudnn_conv_algo_search": "HEURISTIC"}


class OnnxRuntimeTensorRtEngine(_Provider):
    """TensorRT inside ONNX Runtime, whose engines it keeps itself."""

    name, provider, memory = "onnxruntime-tensorrt", "TensorrtExecutionProvider", "cuda"

    def options(self) -> dict[str, str]:
        folder = str(cache_folder() / "engines")
        return super().options() | {
            "trt_engine_cache_enable": "1", "trt_engine_cache_path": folder,
            "trt_timing_cache_enable": "1", "trt_timing_cache_path": folder,
            "trt_cuda_graph_enable": "1",
        }  # fmt: skip


class OnnxRuntimeRtxEngine(_Provider):
    """TensorRT for RTX inside ONNX Runtime."""

    name, provider = "onnxruntime-tensorrt-rtx", "NvTensorRTRTXExecutionProvider"
    memory = "cuda"

    def options(self) -> dict[str, str]:
        return super().options() | {"enable_cuda_graph": "1"}


class DirectMlEngine(_Provider):
    """Any card under Windows."""

    name, provider = "directml", "DmlExecutionProvider"


class CoreMlEngine(_Provider):
    """Apple's GPU and neural engine."""

    name, provider = "coreml", "CoreMLExecutionProvider"

    def options(self) -> dict[str, str]:
        return {"ModelFormat": "MLProgram"}


class _Size:
    """A session for inputs of fixed shapes, whose buffers stay where they are."""

    def __init__(
        self, session: ort.InferenceSession, shapes: dict[str, tuple[int, ...]], memory: str,
        card: int,
    ) -> None:  # fmt: skip
        self._session, self._binding = session, None
        self._output = session.get_outputs()[0].name
        if memory:
            self._binding = session.io_binding()
            kinds = {i.name: np.uint8 if "uint8" in i.type else np.float32
                     for i in (*session.get_inputs(), *session.get_outputs())}  # fmt: skip
            self._inputs = {
                name: ort.OrtValue.ortvalue_from_shape_and_type(shape, kinds[name], memory, card)
                for name, shape in shapes.items()
            }
            frame = next(iter(shapes.values()))
            self._painted = ort.OrtValue.ortvalue_from_shape_and_type(
                frame, kinds[self._output], memory, card
            )
            for name, value in self._inputs.items():
                self._binding.bind_ortvalue_input(name, value)
            self._binding.bind_ortvalue_output(self._output, self._painted)

    def run(self, inputs: dict[str, NDArray[Any]]) -> NDArray[Any]:
        if self._binding is None:
            return np.asarray(self._session.run([self._output], inputs)[0])
        self.upload(inputs)
        self.paint()
        return self.download()

    def upload(self, inputs: dict[str, NDArray[Any]]) -> None:
        for name, array in inputs.items():
            self._inputs[name].update_inplace(array)

    def paint(self) -> None:
        """Returns when the card is done, as a run ends by waiting for its stream."""
        self._session.run_with_iobinding(self._binding)

    def download(self) -> NDArray[Any]:
        return np.asarray(self._painted.numpy())


class _Running:
    def __init__(self, model: ModelSpec, future: Future[NDArray[Any]]) -> None:
        self._model, self._future = model, future

    def result(self) -> Batch:
        return to_batch(self._model, self._future.result())


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
