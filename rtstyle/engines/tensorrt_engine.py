"""TensorRT on an NVIDIA card: plans for one size each, several batches on the card at once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import numpy as np

from rtstyle.closing import Closing
from rtstyle.engines.base import Batch, Pending, StyleVector
from rtstyle.engines.batch import to_inputs
from rtstyle.engines.card_memory import BatchSplitter
from rtstyle.engines.card_painter import CardPictures
from rtstyle.engines.cuda import Cuda
from rtstyle.engines.options import DEFAULTS, EngineOptions
from rtstyle.engines.slots import ReadySizes, RunningBatch
from rtstyle.engines.tensorrt_build import kept_plan, load_runtime
from rtstyle.engines.tensorrt_slot import (
    Shapes,
    TensorRtPainter,
    TensorRtSlot,
    find_plan,
    load_plan,
)
from rtstyle.errors import EngineError
from rtstyle.frame import CardImage
from rtstyle.model.spec import ModelSpec

_SIZES = 4  # sizes kept ready, since each holds memory of the card


class TensorRtEngine(Closing):
    """Runs an ONNX model by TensorRT, in the precision that its graph says.

    The first batch of a new size waits until its plan is built, which takes seconds to minutes, or
    is read from the cache. `submit` then returns at once: every slot has a stream, an execution
    context and pinned buffers of its own, and one CUDA graph that uploads, paints and downloads.

    A batch that the card's memory does not hold is painted in parts; see `BatchSplitter`. Raises
    `EngineError` without TensorRT, a driver or a card.
    """

    name = "tensorrt"

    def __init__(self, model: ModelSpec, options: EngineOptions = DEFAULTS) -> None:
        if model.path.suffix != ".onnx":
            raise EngineError(f"TensorRT runs .onnx models, not the checkpoint {model.path.name}.")
        self.model = model
        device = options.device
        self._runtime = load_runtime(self.name)
        self._cuda = Cuda(device)
        self._pictures = CardPictures(self, device)
        self._sizes: ReadySizes[TensorRtSlot] = ReadySizes(_SIZES)
        self._splitter = BatchSplitter(model, self._start, self._sizes.close)
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
        if isinstance(frames, CardImage):
            return self._pictures.submit(frames, style, strength)
        return self._splitter.submit(frames, style, strength)

    def _start(self, frames: Batch, style: StyleVector | None, strength: float) -> Pending:
        inputs = to_inputs(self.model, frames, style, strength)
        shapes = {name: array.shape for name, array in inputs.items()}
        self._cuda.use()
        key = _key(shapes)
        pool = self._sizes.get(key) or self._sizes.add(key, self._slots(shapes))
        slot = pool.take()
        try:
            for name, array in inputs.items():
                np.copyto(slot.inputs[name].array, array)
            slot.start()
        except BaseException:
            pool.give_back(slot)
            raise
        return RunningBatch(self.device, pool, slot)

    def _slots(self, shapes: Shapes) -> Callable[[], TensorRtSlot]:
        plan = load_plan(self._runtime, self._cuda, self.model, shapes)
        return lambda: TensorRtSlot(self._cuda, plan, shapes, self.model)

    def is_ready(self, shapes: Shapes) -> bool:
        """Whether the plan for inputs of these shapes is there, loaded or kept on disk."""
        if _key(shapes) in self._sizes:
            return True
        return kept_plan(self._runtime, self._cuda.gpu, self.model.path, shapes) is not None

    def prepare(self, shapes: Shapes) -> None:
        """Build or read the plan for inputs of these shapes; may be called from another thread."""
        self._cuda.use()
        find_plan(self._runtime, self._cuda, self.model, shapes)

    def takes_card_image(self, image: CardImage) -> bool:
        """Whether `submit` takes this picture where it lies; see `CardEngine`."""
        return self._pictures.takes(image)

    def painter_on_card(self, shapes: Shapes) -> TensorRtPainter:
        """What paints pictures that lie on the card; see `CardEngine`."""
        self._cuda.use()
        return TensorRtPainter(load_plan(self._runtime, self._cuda, self.model, shapes), shapes)

    def close(self) -> None:
        with suppress(EngineError):  # a lost card: what it was lost by is told, not this
            self._cuda.use()
        self._pictures.close()
        self._sizes.close()


class TensorRtRtxEngine(TensorRtEngine):
    """The same by TensorRT for RTX, which builds in seconds on GeForce and RTX cards."""

    name = "tensorrt-rtx"


def _key(shapes: Shapes) -> str:
    return repr(sorted(shapes.items()))
