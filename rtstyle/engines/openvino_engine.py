"""OpenVINO on the CPU: the fastest engine there on x86."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from rtstyle.engines.base import Batch, Done, Engine, Pending, Shapes, StyleVector, wait_for
from rtstyle.engines.batch import cannot_load, cannot_paint, to_batch, to_inputs
from rtstyle.engines.options import DEFAULTS, EngineOptions
from rtstyle.engines.tiles import MAX_WHOLE, TiledGraph
from rtstyle.engines.watchdog import CLOSING_SECONDS, outlive
from rtstyle.errors import EngineError
from rtstyle.model.spec import ModelSpec

MAX_SIDE_BY_SIDE = 1_000_000  # pixels of a picture of which several are computed at once


class OpenVinoEngine(Engine):
    """Runs an ONNX model by OpenVINO's CPU plugin in float32.

    `submit` returns while the batch is in flight. A size that comes twice in a row gets a graph of
    its own, compiled within that second `submit`: fixed shapes run up to 5 % faster, but compiling
    takes 0.1 s, which a folder of odd sizes should not pay for every picture. Pictures of more than
    `MAX_WHOLE` pixels are stylized in tiles, within `submit`, so that they fit into the memory, and
    those of more than `MAX_SIDE_BY_SIDE` one after the other whatever the `streams`.

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
        used = self._any_size.model.get_property("INFERENCE_NUM_THREADS")
        self._streams = min(options.streams, used)
        self._tiled: TiledGraph | None = None
        self._last_shapes = Shapes()
        self.device = f"{self._core.get_property('CPU', 'FULL_DEVICE_NAME')}, {used} threads"

    @classmethod
    def version(cls) -> str:
        """The version of the runtime."""
        return str(ov.__version__).partition("-")[0]

    @property
    def precision(self) -> str:
        """Half graphs too are computed in what the hint says."""
        hint = {"f32": "fp32"}.get(self._precision, self._precision)
        return "int8" if self.model.precision == "int8" else hint

    def submit(
        self, frames: Batch, style: StyleVector | None = None, strength: float = 1.0
    ) -> Pending:
        inputs = to_inputs(self.model, frames, style, strength)
        try:
            if frames.shape[1] * frames.shape[2] > MAX_WHOLE and self.model.size is None:
                if self._tiled is None:
                    self._tiled = TiledGraph(self._core, self._graph, self.model, self._config)
                return Done(self._tiled.stylize(frames, style, strength))
            compiled = self._compiled({name: array.shape for name, array in inputs.items()})
            return _Running(compiled, self.model, inputs, frames.shape)
        except (RuntimeError, MemoryError) as error:
            raise cannot_paint("OpenVINO", frames.shape, reason(error)) from error

    def expect(self, frames: Batch, style: StyleVector | None = None) -> None:
        """Many like these are coming: the first one's size is compiled for itself, too.

        Graphs for any size and for one size differ by single grey levels, which segments of one
        render must not.
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
        config = dict(self._config)
        if self._streams > 1 and prod(shapes[self.model.frame_input]) <= 3 * MAX_SIDE_BY_SIDE:
            config["NUM_STREAMS"] = self._streams
        self._one_size = _Compiled(self._core.compile_model(graph, "CPU", config))
        self._one_size_shapes = shapes
        return self._one_size

    def close(self) -> None:
        # Batches in flight keep alive what they need.
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

    @classmethod
    def version(cls) -> str:
        """The version of the runtime. Raises `EngineError` on a CPU without bfloat16."""
        if "BF16" not in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise EngineError("This CPU has no bfloat16 arithmetic; use --engine openvino.")
        return super().version()


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
        self._stylized = np.empty_like(inputs[model.frame_input])
        self._error: BaseException | None = None
        self._request: ov.InferRequest | None = compiled.take()
        for name, array in inputs.items():
            self._request.set_tensor(name, ov.Tensor(array, shared_memory=True))
        self._request.set_output_tensor(ov.Tensor(self._stylized, shared_memory=True))
        self._request.start_async()

    def wait(self, seconds: float) -> bool:
        request = self._request
        if request is None:
            return True
        try:
            if not request.wait_for(round(seconds * 1000)):
                return False
        except (RuntimeError, MemoryError) as error:
            self._error = error
        else:
            self._compiled.give_back(request)
        self._request = None
        return True

    def result(self) -> Batch:
        wait_for(self)
        if self._error is not None:
            why = reason(self._error)
            raise cannot_paint("OpenVINO", self._shape, why) from self._error
        return to_batch(self._model, self._stylized)

    def __del__(self) -> None:
        # Nobody may ask for the result, as after Ctrl-C; the arrays must outlive the request.
        request = getattr(self, "_request", None)
        if request is not None and not self.wait(CLOSING_SECONDS):
            outlive(request.wait, self._compiled, request, self._inputs, self._stylized)


def reason(error: BaseException) -> str:
    """OpenVINO's own sentence, without the source lines around it."""
    lines = [line.strip() for line in str(error).splitlines()]
    kept = [line for line in lines if line and not line.startswith(("Exception from", "Check '"))]
    return kept[-1] if kept else type(error).__name__
