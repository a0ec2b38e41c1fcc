"""OpenVINO on the CPU: the fastest engine there on x86."""

from __future__ import annotations

from contextlib import suppress
from threading import Thread
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from rtstyle.closing import Closing
from rtstyle.engines.base import Batch, Pending, StyleVector
from rtstyle.engines.batch import cannot_load, cannot_paint, hanging, to_batch, to_inputs
from rtstyle.engines.options import DEFAULTS, EngineOptions
from rtstyle.errors import EngineError
from rtstyle.model.spec import ModelSpec

Shapes = dict[str, tuple[int, ...]]  # by input name

_PATIENCE_SECONDS, _CLOSING_SECONDS = 300, 2  # for one batch; for one that nobody waits for


class OpenVinoEngine(Closing):
    """Runs an ONNX model by OpenVINO's CPU plugin in float32.

    `submit` returns while the batch is being painted. A size that comes twice in a row is compiled
    for itself, within that second `submit`: fixed shapes paint up to 5 % faster, but compiling
    takes 0.1 s, which a folder of odd sizes should not pay for every picture.

    Raises `EngineError` when OpenVINO cannot load the model.
    """

    name = "openvino"
    _precision = "f32"

    def __init__(self, model: ModelSpec, options: EngineOptions = DEFAULTS) -> None:
        if model.path.suffix == ".safetensors":
            raise EngineError(f"OpenVINO runs .onnx models, not the checkpoint {model.path.name}.")
        self.model = model
        self._config: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": self._precision,
            # Kernels kept for sizes seen; the default of 5000 lets odd sizes fill the memory.
            "CPU_RUNTIME_CACHE_CAPACITY": 256,
        }
        if options.threads:
            self._config["INFERENCE_NUM_THREADS"] = options.threads
        try:
            self._core = ov.Core()
            self._graph = self._core.read_model(model.path)
            self._any_size = _Compiled(self._core.compile_model(self._graph, "CPU", self._config))
        except (RuntimeError, MemoryError, UnicodeDecodeError) as error:  # quotes what it read
            raise cannot_load("OpenVINO", model, reason(error)) from error
        self._one_size, self._one_size_shapes = self._any_size, Shapes()
        self._last_shapes = Shapes()
        used = self._any_size.model.get_property("INFERENCE_NUM_THREADS")
        self.device = f"{self._core.get_property('CPU', 'FULL_DEVICE_NAME')}, {used} threads"

    @staticmethod
    def version() -> str:
        """The version of the runtime."""
        return str(ov.__version__).partition("-")[0]

    def submit(
        self, frames: Batch, style: StyleVector | None = None, strength: float = 1.0
    ) -> Pending:
        """Start painting; see `Engine.submit`."""
        inputs = to_inputs(self.model, frames, style, strength)
        try:
            compiled = self._compiled({name: array.shape for name, array in inputs.items()})
            return _Running(compiled, self.model, inputs, frames.shape)
        except (RuntimeError, MemoryError) as error:
            raise cannot_paint("OpenVINO", frames.shape, reason(error)) from error

    def expect(self, frames: Batch, style: StyleVector | None = None) -> None:
        """Many like these are coming: the first one's size is compiled for itself, too.

        Both ways differ by single grey levels, which what is to be the same every time must not.
        """
        inputs = to_inputs(self.model, frames, style, 1.0)
        self._last_shapes = {name: array.shape for name, array in inputs.items()}

    def _compiled(self, shapes: Shapes) -> _Compiled:
        if shapes == self._one_size_shapes:
            return self._one_size
        if shapes != self._last_shapes:
            self._last_shapes = shapes
            return self._any_size
        graph = self._graph.clone()
        graph.reshape({name: ov.PartialShape(list(shape)) for name, shape in shapes.items()})
        self._one_size = _Compiled(self._core.compile_model(graph, "CPU", self._config))
        self._one_size_shapes = shapes
        return self._one_size

    def close(self) -> None:
        # Batches that are still being painted keep alive what they need.
        del self._any_size, self._one_size


class OpenVinoBf16Engine(OpenVinoEngine):
    """The same in bfloat16, twice as fast on CPUs that have it and slightly off.

    Trained nets differ from float32 by 0.3 grey levels on average and 3 at the 99.9th percentile.
    Raises `EngineError` on other CPUs, where it would be slower.
    """

    name = "openvino-bf16"
    _precision = "bf16"

    def __init__(self, model: ModelSpec, options: EngineOptions = DEFAULTS) -> None:
        self.version()
        super().__init__(model, options)

    @staticmethod
    def version() -> str:
        """The version of the runtime. Raises `EngineError` on a CPU without bfloat16."""
        if "BF16" not in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise EngineError("This CPU has no bfloat16 arithmetic; use --engine openvino.")
        return OpenVinoEngine.version()


class _Compiled:
    """A compiled model with those of its infer requests that are free."""

    def __init__(self, model: ov.CompiledModel) -> None:
        self.model = model
        self._free: list[ov.InferRequest] = []

    def take(self) -> ov.InferRequest:
        try:
            return self._free.pop()
        except IndexError:
            return self.model.create_infer_request()

    def give_back(self, request: ov.InferRequest) -> None:
        self._free.append(request)  # atomic, so another thread may do it


class _Running:
    """A started infer request, which reads and writes the arrays held here."""

    def __init__(
        self,
        compiled: _Compiled,
        model: ModelSpec,
        inputs: dict[str, NDArray[Any]],
        shape: tuple[int, ...],
    ) -> None:
        self._compiled, self._model, self._inputs, self._shape = compiled, model, inputs, shape
        self._painted = np.empty_like(inputs[model.frame_input])
        self._request: ov.InferRequest | None = compiled.take()
        for name, array in inputs.items():
            self._request.set_tensor(name, ov.Tensor(array, shared_memory=True))
        self._request.set_output_tensor(ov.Tensor(self._painted, shared_memory=True))
        self._request.start_async()

    def result(self) -> Batch:
        if self._request is not None:
            try:
                ended = self._ends_within(_PATIENCE_SECONDS)
            except (RuntimeError, MemoryError) as error:
                raise cannot_paint("OpenVINO", self._shape, reason(error)) from error
            if not ended:
                raise hanging("OpenVINO", _PATIENCE_SECONDS)
            self._compiled.give_back(self._request)
            self._request = None
        return to_batch(self._model, self._painted)

    def _ends_within(self, seconds: int) -> bool:
        """Wait second by second, so that Ctrl-C gets through; False when that was not enough."""
        assert self._request is not None
        return any(self._request.wait_for(1000) for _ in range(seconds))

    def __del__(self) -> None:
        # Nobody may ask for the result, as after Ctrl-C; the arrays must outlive the request.
        if getattr(self, "_request", None) is not None:
            with suppress(RuntimeError, MemoryError):
                if not self._ends_within(_CLOSING_SECONDS):
                    kept = self._compiled, self._request, self._inputs, self._painted
                    Thread(
                        target=_outlive, args=(kept,), name="rtstyle-hanging", daemon=True
                    ).start()


def _outlive(kept: tuple[_Compiled, ov.InferRequest, object, object]) -> None:
    """Hold what a request uses until it ends, if ever."""
    with suppress(RuntimeError, MemoryError):
        kept[1].wait()


def reason(error: BaseException) -> str:
    """OpenVINO's own sentence, without the source lines it stands between."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith(("Exception from", "Check '"))]
    return told[-1] if told else type(error).__name__
