"""A TensorRT plan on the card, and what paints with it: slots, and pictures that lie there."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from rtstyle.engines.base import Batch
from rtstyle.engines.batch import to_batch
from rtstyle.engines.card_memory import HINT, OutOfCardMemoryError
from rtstyle.engines.cuda import Cuda, PinnedArray
from rtstyle.engines.tensorrt_build import (
    Runtime,
    build_plan,
    keep_plan,
    kept_plan,
    timing_cache_path,
)
from rtstyle.errors import EngineError
from rtstyle.model.spec import ModelSpec

Shapes = dict[str, tuple[int, ...]]
_log = logging.getLogger("rtstyle")


@dataclass(frozen=True, slots=True)
class LoadedPlan:
    """An engine in TensorRT's words, with what must outlive its contexts."""

    trt: Any
    loader: Any
    engine: Any

    def context(self) -> Any:
        """A new execution context. Raises `OutOfCardMemoryError`."""
        context = self.engine.create_execution_context()
        if context is None:
            raise OutOfCardMemoryError(f"The card has no memory for one more picture; {HINT}.")
        return context

    def tensors(self) -> Iterator[tuple[str, np.dtype[Any], bool]]:
        """Name and type of every input and output, and whether it is an input."""
        for i in range(self.engine.num_io_tensors):
            name = self.engine.get_tensor_name(i)
            kind = np.dtype(self.trt.nptype(self.engine.get_tensor_dtype(name)))
            yield name, kind, self.engine.get_tensor_mode(name) == self.trt.TensorIOMode.INPUT


class TensorRtPainter:
    """Paints tensors that lie on the card; a `CardPainter`."""

    def __init__(self, plan: LoadedPlan, shapes: Shapes) -> None:
        self._plan, self._context = plan, plan.context()
        (self._output,) = (name for name, _, is_input in plan.tensors() if not is_input)
        for name, shape in shapes.items():
            self._context.set_input_shape(name, shape)

    def __call__(self, inputs: Mapping[str, Any], output: Any, stream: int) -> None:
        """Put painting `inputs` into `output`, tensors on the card, on `stream`."""
        for name, tensor in (*inputs.items(), (self._output, output)):
            self._context.set_tensor_address(name, tensor.data_ptr())
        if not self._context.execute_async_v3(stream):
            raise EngineError("TensorRT could not start painting a picture.")


class TensorRtSlot:
    """What one batch on its way needs for itself."""

    def __init__(self, cuda: Cuda, plan: LoadedPlan, shapes: Shapes, model: ModelSpec) -> None:
        self._cuda, self._plan, self._model = cuda, plan, model
        self.inputs: dict[str, PinnedArray] = {}
        self._on_card: list[int] = []
        self._pinned: list[PinnedArray] = []
        try:
            self.stream = cuda.stream()
            self.event = cuda.event()
            self._context = plan.context()
            self._build(shapes)
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

    def _build(self, shapes: Shapes) -> None:
        self._sources: dict[str, int] = {}
        for name, kind, is_input in self._plan.tensors():
            if is_input:
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

    def take_out(self) -> Batch:
        """Wait until the batch is painted; a copy of it."""
        self._cuda.use()
        self._cuda.call("EventSynchronize", self.event)
        return to_batch(self._model, self.output.array.copy())

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


def find_plan(runtime: Runtime, cuda: Cuda, model: ModelSpec, shapes: Shapes) -> bytes:
    """The plan for inputs of these shapes, read from the cache or built. Raises `EngineError`."""
    if (plan := kept_plan(runtime, cuda.gpu, model.path, shapes)) is not None:
        return plan
    _log.info("Building %s for %s; this happens once.", model.path.name, cuda.gpu)
    timings = timing_cache_path(runtime, cuda.gpu)
    plan = build_plan(runtime, model.path, shapes, timing_cache=timings)
    keep_plan(runtime, cuda.gpu, model.path, shapes, plan)
    return plan


def load_plan(runtime: Runtime, cuda: Cuda, model: ModelSpec, shapes: Shapes) -> LoadedPlan:
    """The plan on the card. Raises `EngineError`."""
    loader = runtime.module.Runtime(runtime.logger)
    engine = loader.deserialize_cuda_engine(find_plan(runtime, cuda, model, shapes))
    if engine is None:  # kept by something that only looks the same: made anew
        plan = build_plan(runtime, model.path, shapes)
        keep_plan(runtime, cuda.gpu, model.path, shapes, plan)
        engine = loader.deserialize_cuda_engine(plan)
    if engine is None:
        raise EngineError(f"{runtime.name} cannot load the plan it built for {model.path.name}.")
    return LoadedPlan(runtime.module, loader, engine)
