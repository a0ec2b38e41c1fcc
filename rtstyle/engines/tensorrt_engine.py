"""TensorRT on an NVIDIA GPU: a plan for each size, several batches in flight."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from itertools import pairwise
from typing import Any

import numpy as np

from rtstyle.engines.base import Batch, Shapes
from rtstyle.engines.batch import to_batch
from rtstyle.engines.cuda.device import Cuda, PinnedArray
from rtstyle.engines.cuda.engine import Runner, SlotEngine, key_of
from rtstyle.engines.cuda.slot import CudaSlot, Inputs, fill
from rtstyle.engines.options import DEFAULTS, EngineOptions
from rtstyle.engines.tensorrt_plan import LoadedPlan, PlanCache, load_runtime
from rtstyle.errors import EngineError
from rtstyle.model.spec import ModelSpec

_log = logging.getLogger("rtstyle")


class TensorRtEngine(SlotEngine):
    """Runs an ONNX model by TensorRT, in the precision that its graph says.

    The first batch of a new size waits until its plan is built, which takes seconds to minutes, or
    is read from the cache. `submit` then returns at once: every slot has a stream, an execution
    context and pinned buffers of its own, and one CUDA graph that uploads, runs and downloads.

    Raises `EngineError` without TensorRT, a driver or a GPU.
    """

    name = "tensorrt"

    def __init__(self, model: ModelSpec, options: EngineOptions = DEFAULTS) -> None:
        if model.path.suffix != ".onnx":
            raise EngineError(f"TensorRT runs .onnx models, not the checkpoint {model.path.name}.")
        runtime = load_runtime(self.name)
        self._cuda = Cuda(options.device)
        runtime.check_gpu(self._cuda.gpu)
        self._plans = PlanCache(runtime, self._cuda.gpu, model.path)
        super().__init__(model, options.device)
        self.device = str(self._cuda.gpu)

    @classmethod
    def version(cls) -> str:
        """The version of the runtime. Raises `EngineError` where it cannot run."""
        runtime = load_runtime(cls.name)
        runtime.check_gpu(Cuda().gpu)
        return runtime.version

    def use(self) -> None:
        self._cuda.use()

    def slots(self, shapes: Shapes) -> Callable[[], TensorRtSlot]:
        plan = self._plans.load(shapes)
        return lambda: TensorRtSlot(self._cuda, plan, shapes, self.model)

    def runner(self, shapes: Shapes) -> Runner:
        self._cuda.use()
        return TensorRtRunner(self._cuda, self._plans.load(shapes), shapes)

    def is_ready(self, shapes: Shapes) -> bool:
        """Whether the plan for inputs of these shapes is there, loaded or kept."""
        return key_of(shapes) in self._pools or self._plans.kept(shapes) is not None

    def build(self, shapes: Shapes) -> None:
        """Build or read the plan for inputs of these shapes; may be called from another thread."""
        self._cuda.use()
        self._plans.find(shapes)

    def close(self) -> None:
        with suppress(EngineError):  # a lost GPU: the error that lost it is reported, not this one
            self._cuda.use()
        super().close()


class TensorRtRtxEngine(TensorRtEngine):
    """The same by TensorRT for RTX, which builds in seconds on GeForce and RTX GPUs."""

    name = "tensorrt-rtx"


class TensorRtRunner:
    """Runs a plan on buffers of the GPU, wherever they lie; a `Runner`. `close`, or dropping it,
    frees the memory of its context and keeps the kernels that were compiled for it."""

    def __init__(self, cuda: Cuda, plan: LoadedPlan, shapes: Shapes) -> None:
        self._context = plan.context()
        (self._output,) = (name for name, _, is_input in plan.tensors() if not is_input)
        for name, shape in shapes.items():
            if not self._context.set_input_shape(name, shape):
                raise EngineError(f"The plan takes no {name} of {shape}; empty the cache folder.")
        size = plan.memory_of(self._context)
        address = cuda.malloc(size) if size else 0
        self.close = weakref.finalize(self, _release, cuda, plan, address)
        if size:
            self._context.set_device_memory(address, size)

    def __call__(self, inputs: Mapping[str, Any], output: Any, stream: int) -> None:
        """Enqueue a run of `inputs` into `output` on `stream`."""
        for name, tensor in (*inputs.items(), (self._output, output)):
            if not self._context.set_tensor_address(name, tensor.data_ptr()):
                raise EngineError(f"TensorRT does not take the address of {name!r}.")
        if not self._context.execute_async_v3(stream):
            raise EngineError("TensorRT could not start painting a picture.")


class _Buffer:
    """An array on the GPU with a pinned one of its shape in host memory."""

    def __init__(
        self, cuda: Cuda, shape: tuple[int, ...], dtype: np.dtype[Any], held: ExitStack
    ) -> None:
        self.pinned: PinnedArray = cuda.pinned(shape, dtype)
        held.callback(_quietly, self.pinned.free)
        self.pinned.array[...] = 0
        self.address = cuda.malloc(self.pinned.array.nbytes)
        held.callback(_quietly, cuda.call, "Free", self.address)

    def data_ptr(self) -> int:
        return self.address


class TensorRtSlot(CudaSlot):
    """Stream, buffers, execution context and graph of one batch in flight."""

    def __init__(self, cuda: Cuda, plan: LoadedPlan, shapes: Shapes, model: ModelSpec) -> None:
        self._cuda, self._model = cuda, model
        with ExitStack() as held:  # freed in reverse order, also when this fails
            self._stream = cuda.stream()
            held.callback(_quietly, cuda.call, "StreamDestroy", self._stream)
            self._event = cuda.event()
            held.callback(_quietly, cuda.call, "EventDestroy", self._event)
            self._runner = TensorRtRunner(cuda, plan, shapes)
            held.callback(self._runner.close)
            dtypes = {name: dtype for name, dtype, _ in plan.tensors()}
            self._inputs = {
                name: _Buffer(cuda, shape, dtypes[name], held) for name, shape in shapes.items()
            }
            (output,) = (name for name, _, is_input in plan.tensors() if not is_input)
            frame = shapes[model.frame_input]
            self._output = _Buffer(cuda, frame, dtypes[output], held)
            held.callback(_quietly, cuda.call, "StreamSynchronize", self._stream)  # on errors
            self._whole()  # once before it is recorded, since the first time allocates
            cuda.call("StreamSynchronize", self._stream)
            self._graph = self._recorded(self._whole, held)
            self._run_alone: Callable[[], None] | None = None  # recorded when it is timed
            self._held = held.pop_all()

    def _recorded(self, work: Callable[[], None], held: ExitStack) -> Callable[[], None]:
        """What enqueues `work`, as one graph where that can be recorded."""
        try:
            graph = self._cuda.record(work, self._stream)
        except EngineError as error:
            # As text: a record that is kept would keep the error's frames, and so the slot.
            _log.info("Painting is enqueued piece by piece: %s", str(error))
            return work
        held.callback(_quietly, self._cuda.call, "GraphExecDestroy", graph)
        return lambda: self._cuda.call("GraphLaunch", graph, self._stream)

    def _whole(self) -> None:
        self._upload()
        self._run()
        self._download()

    def _upload(self) -> None:
        for buffer in self._inputs.values():
            self._cuda.upload(buffer.address, buffer.pinned, self._stream)

    def _run(self) -> None:
        self._runner(self._inputs, self._output, self._stream)

    def _download(self) -> None:
        self._cuda.download(self._output.pinned, self._output.address, self._stream)

    def _fill(self, inputs: Inputs) -> None:
        for name, array in inputs.items():
            fill(self._inputs[name].pinned.array, array)

    def start(self, inputs: Inputs) -> None:
        self._fill(inputs)
        self._graph()
        self._cuda.call("EventRecord", self._event, self._stream)

    def is_done(self) -> bool:
        return self._cuda.is_done(self._event)

    def result(self) -> Batch:
        self._cuda.use()
        self._cuda.call("EventSynchronize", self._event)
        return to_batch(self._model, self._output.pinned.array)

    def upload(self, inputs: Inputs) -> None:
        self._fill(inputs)
        self._upload()
        self._cuda.call("StreamSynchronize", self._stream)

    def time_run_ms(self, count: int) -> list[float]:
        if self._run_alone is None:
            self._run_alone = self._recorded(self._run, self._held)
        with ExitStack() as held:

            def mark() -> Any:
                event = self._cuda.timed_event()
                held.callback(_quietly, self._cuda.call, "EventDestroy", event)
                self._cuda.call("EventRecord", event, self._stream)
                return event

            events = [mark()]
            for _ in range(count):
                self._run_alone()
                events.append(mark())
            self._cuda.call("EventSynchronize", events[-1])
            return [self._cuda.milliseconds(*pair) for pair in pairwise(events)]

    def download(self) -> Batch:
        self._download()
        self._cuda.call("StreamSynchronize", self._stream)
        return to_batch(self._model, self._output.pinned.array.copy())

    def close(self) -> None:
        _quietly(self._cuda.call, "StreamSynchronize", self._stream)
        self._held.close()


def _release(cuda: Cuda, plan: LoadedPlan, address: int) -> None:
    plan.keep_kernels()
    if address:
        _quietly(cuda.call, "Free", address)


def _quietly(call: Callable[..., object], *arguments: object) -> None:
    """A lost GPU has nothing to wait for and frees its memory by itself."""
    with suppress(EngineError):
        call(*arguments)
