"""TensorRT on an NVIDIA card: plans for one size each, several batches on the card at once."""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from contextlib import suppress
from threading import Lock
from types import TracebackType
from typing import Any, Self

import numpy as np

from rtstyle.engines.base import Batch, Pending, StyleVector
from rtstyle.engines.batch import to_batch, to_inputs
from rtstyle.engines.cuda import Cuda, PinnedArray
from rtstyle.engines.tensorrt_build import (
    Runtime,
    build_plan,
    keep_plan,
    kept_plan,
    load_runtime,
    timing_cache_path,
)
from rtstyle.errors import EngineError
from rtstyle.model import ModelSpec

_SLOTS = 3  # batches on the card: one comes, one is painted, one goes
_SIZES = 4  # sizes kept ready, since each holds memory of the card

_log = logging.getLogger("rtstyle")
Shapes = dict[str, tuple[int, ...]]


class TensorRtEngine:
    """Runs an ONNX model by TensorRT, in the precision that its graph says.

    The first batch of a new size waits until its plan is built, which takes seconds to minutes, or
    is read from the cache. `submit` then returns at once: every slot has a stream, an execution
    context and pinned buffers of its own, and one CUDA graph that uploads, paints and downloads.

    Raises `EngineError` without TensorRT, a driver or a card.
    """

    name = "tensorrt"

    def __init__(self, model: ModelSpec, *, threads: int | None = None, device: int = 0) -> None:
        if model.path.suffix != ".onnx":
            raise EngineError(f"TensorRT runs .onnx models, not the checkpoint {model.path.name}.")
        self.model = model
        self._runtime = load_runtime(self.name)
        self._cuda = Cuda(device)
        self._sizes: OrderedDict[str, _Size] = OrderedDict()
        self.device = str(self._cuda.gpu)

    @classmethod
    def version(cls) -> str:
        """The version of the runtime. Raises `EngineError` where it cannot run."""
        Cuda()
        return load_runtime(cls.name).version

    def submit(
        self, frames: Batch, style: StyleVector | None = None, strength: float = 1.0
    ) -> Pending:
        """Start painting a batch; see `Engine.submit`."""
        inputs = to_inputs(self.model, frames, style, strength)
        self._cuda.use()
        size = self._size({name: array.shape for name, array in inputs.items()})
        slot = size.take()
        for name, array in inputs.items():
            np.copyto(slot.inputs[name].array, array)
        slot.start()
        return _Running(self, size, slot)

    def is_ready(self, shapes: Shapes) -> bool:
        """Whether the plan for inputs of these shapes is there, loaded or kept on disk."""
        if repr(sorted(shapes.items())) in self._sizes:
            return True
        return kept_plan(self._runtime, self._cuda.gpu, self.model.path, shapes) is not None

    def prepare(self, shapes: Shapes) -> None:
        """Build or read the plan for inputs of these shapes; may be called from another thread."""
        self._cuda.use()
        _plan(self._runtime, self._cuda, self.model, shapes)

    def _size(self, shapes: Shapes) -> _Size:
        key = repr(sorted(shapes.items()))
        if key not in self._sizes:
            while len(self._sizes) >= _SIZES:
                self._sizes.popitem(last=False)[1].close()
            self._sizes[key] = _Size(self._runtime, self._cuda, self.model, shapes)
        self._sizes.move_to_end(key)
        return self._sizes[key]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._cuda.use()
        while self._sizes:
            self._sizes.popitem()[1].close()


class TensorRtRtxEngine(TensorRtEngine):
    """The same by TensorRT for RTX, which builds in seconds on GeForce and RTX cards."""

    name = "tensorrt-rtx"


class _Size:
    """A plan for one size, with its slots."""

    def __init__(self, runtime: Runtime, cuda: Cuda, model: ModelSpec, shapes: Shapes) -> None:
        self._cuda = cuda
        # The runtime and the engine must outlive the contexts.
        self._loader, self._engine = _engine(runtime, cuda, model, shapes)
        self._slots: list[_Slot] = []
        self._busy: deque[_Running] = deque()
        self.lock = Lock()
        try:
            for _ in range(_SLOTS):
                self._slots.append(_Slot(runtime, cuda, self._engine, model, shapes))
        except EngineError:
            if not self._slots:
                raise
            _log.info("The card's memory holds %d batches at once.", len(self._slots))
        self._free = deque(self._slots)

    def take(self) -> _Slot:
        """A free slot; the oldest batch is brought back first where none is."""
        while True:
            with self.lock:
                if self._free:
                    return self._free.popleft()
                oldest = self._busy.popleft()
            oldest.bring_back()

    def began(self, running: _Running) -> None:
        with self.lock:
            self._busy.append(running)

    def ended(self, running: _Running, slot: _Slot) -> None:
        with self.lock:
            with suppress(ValueError):
                self._busy.remove(running)
            self._free.append(slot)

    def close(self) -> None:
        """Bring back what is being painted, then free the card's memory."""
        while True:
            with self.lock:
                if not self._busy:
                    break
                oldest = self._busy.popleft()
            with suppress(EngineError):
                oldest.bring_back()
        for slot in self._slots:
            slot.close()


class _Slot:
    """What one batch on its way needs for itself."""

    def __init__(
        self, runtime: Runtime, cuda: Cuda, engine: Any, model: ModelSpec, shapes: Shapes
    ) -> None:
        self._cuda = cuda
        self.inputs: dict[str, PinnedArray] = {}
        self._on_card: list[int] = []
        self._pinned: list[PinnedArray] = []
        try:
            self.stream = cuda.stream()
            self.event = cuda.event()
            self._context = engine.create_execution_context()
            if self._context is None:
                raise EngineError("The card has too little memory for one more picture.")
            self._build(runtime, engine, shapes)
        except BaseException:
            self._free()
            raise
        self._launchable: Any = None
        self._enqueue()  # once before it is recorded, since the first time allocates
        cuda.call("StreamSynchronize", self.stream)
        try:
            self._launchable = cuda.record(self._enqueue, self.stream)
        except EngineError as error:
            _log.info("Painting is enqueued piece by piece: %s", error)

    def _build(self, runtime: Runtime, engine: Any, shapes: Shapes) -> None:
        trt = runtime.module
        self._sources: dict[str, int] = {}
        for i in range(engine.num_io_tensors):
            name = engine.get_tensor_name(i)
            kind = np.dtype(trt.nptype(engine.get_tensor_dtype(name)))
            if is_input := engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT:
                self._context.set_input_shape(name, shapes[name])
            shape = tuple(self._context.get_tensor_shape(name))
            pinned = self._cuda.pinned(shape, kind)
            self._pinned.append(pinned)
            pinned.array[...] = 0
            on_card = self._cuda.malloc(pinned.array.nbytes)
            self._on_card.append(on_card)
            self._context.set_tensor_address(name, on_card)
            if is_input:
                self.inputs[name], self._sources[name] = pinned, on_card
            else:
                self.output, self._result = pinned, on_card

    def _enqueue(self) -> None:
        for name, pinned in self.inputs.items():
            self._cuda.copy_to_card(self._sources[name], pinned, self.stream)
        if not self._context.execute_async_v3(self.stream):
            raise EngineError("TensorRT could not start painting a batch.")
        self._cuda.copy_from_card(self.output, self._result, self.stream)

    def start(self) -> None:
        """Upload, paint and download what lies in `inputs`; returns at once."""
        if self._launchable is None:
            self._enqueue()
        else:
            self._cuda.call("GraphLaunch", self._launchable, self.stream)
        self._cuda.call("EventRecord", self.event, self.stream)

    def close(self) -> None:
        with suppress(EngineError):  # a lost card has nothing to wait for
            self._cuda.call("StreamSynchronize", self.stream)
            if self._launchable is not None:
                self._cuda.call("GraphExecDestroy", self._launchable)
            self._cuda.call("EventDestroy", self.event)
            self._cuda.call("StreamDestroy", self.stream)
        del self._context
        self._free()

    def _free(self) -> None:
        for pinned in self._pinned:
            with suppress(EngineError):
                pinned.free()
        for on_card in self._on_card:
            with suppress(EngineError):
                self._cuda.call("Free", on_card)
        self._pinned, self._on_card = [], []


class _Running:
    """A batch on the card. Its slot is free again once the result was copied out."""

    def __init__(self, engine: TensorRtEngine, size: _Size, slot: _Slot) -> None:
        self._model, self._cuda, self._name = engine.model, engine._cuda, engine.device
        self._size: _Size | None = size
        self._slot = slot
        self._painted: Any = None
        self._error: EngineError | None = None
        self._lock = Lock()
        size.began(self)

    def bring_back(self) -> None:
        """Wait for the batch and copy it out of the slot. Safe from any thread."""
        with self._lock:
            if self._size is None:
                return
            try:
                self._cuda.use()
                self._cuda.call("EventSynchronize", self._slot.event)
                self._painted = self._slot.output.array.copy()
            except EngineError as error:
                self._error = EngineError(f"{self._name} failed on a batch: {error}")
            size, self._size = self._size, None
            size.ended(self, self._slot)

    def result(self) -> Batch:
        self.bring_back()
        if self._error is not None:
            raise self._error
        return to_batch(self._model, self._painted)


def _plan(runtime: Runtime, cuda: Cuda, model: ModelSpec, shapes: Shapes) -> bytes:
    if (plan := kept_plan(runtime, cuda.gpu, model.path, shapes)) is not None:
        return plan
    _log.info("Building %s for %s; this happens once.", model.path.name, cuda.gpu)
    timings = timing_cache_path(runtime, cuda.gpu)
    plan = build_plan(runtime, model.path, shapes, timing_cache=timings)
    keep_plan(runtime, cuda.gpu, model.path, shapes, plan)
    return plan


def _engine(runtime: Runtime, cuda: Cuda, model: ModelSpec, shapes: Shapes) -> tuple[Any, Any]:
    loader = runtime.module.Runtime(runtime.logger)
    engine = loader.deserialize_cuda_engine(_plan(runtime, cuda, model, shapes))
    if engine is None:  # kept by something that only looks the same: made anew
        plan = build_plan(runtime, model.path, shapes)
        keep_plan(runtime, cuda.gpu, model.path, shapes, plan)
        engine = loader.deserialize_cuda_engine(plan)
    if engine is None:
        raise EngineError(f"{runtime.name} cannot load the plan it built for {model.path.name}.")
    return loader, engine
