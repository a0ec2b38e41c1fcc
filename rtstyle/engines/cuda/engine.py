"""An engine on one GPU, with slots for batches and others for frames that are there already."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

from rtstyle.engines.base import Batch, Engine, Pending, PendingImage, Shapes, StyleVector
from rtstyle.engines.batch import to_inputs
from rtstyle.engines.cuda.memory import BatchSplitter
from rtstyle.engines.cuda.slot import CudaSlot, Inputs, PoolCache, Slot
from rtstyle.errors import EngineError
from rtstyle.frame import DeviceImage
from rtstyle.image import padded_size
from rtstyle.model.spec import ModelSpec

_BATCH_SIZES, _FRAME_KINDS = 4, 2  # kept ready, since each holds GPU memory


class Runner(Protocol):
    """Runs a model on inputs of the shapes that it was made for."""

    def __call__(self, inputs: Mapping[str, Any], output: Any, stream: int) -> None:
        """Enqueue a run on the CUDA stream `stream`, which is torch's current one.

        `inputs`, by name in the model's order, and `output` are torch tensors on the GPU, or what
        has their `data_ptr`. Called twice before it is recorded into a CUDA graph, as the first
        time may allocate. Raises `EngineError`.
        """
        ...


class SlotEngine(Engine):
    """Stylizes batches, and frames in the GPU's memory, in slots; `submit` returns at once.

    A batch that the GPU's memory does not hold is run in parts; see `BatchSplitter`. `gpu` is the
    GPU's number, or "cpu" where the same code is tried without one.
    """

    def __init__(self, model: ModelSpec, gpu: int | str) -> None:
        self.model = model
        self._gpu = gpu
        self._pools: PoolCache[CudaSlot] = PoolCache(_BATCH_SIZES)
        self._frame_pools: PoolCache[Any] = PoolCache(_FRAME_KINDS)
        self._splitter = BatchSplitter(model, self._start, self.make_room)

    @abstractmethod
    def slots(self, shapes: Shapes) -> Callable[[], CudaSlot]:
        """Makes slots for inputs of these shapes; loads what they share. Raises `EngineError`."""

    @abstractmethod
    def runner(self, shapes: Shapes) -> Runner:
        """Runs the model on inputs of these shapes. Raises `EngineError`."""

    def use(self) -> None:
        """Choose the GPU for the calling thread."""

    @property
    def pads(self) -> bool:
        """See `Engine.pads`; float models are converted as a whole first."""
        return self.model.layout == "nhwc"

    def make_room(self) -> None:
        """Free the slots that are only kept ready."""
        self._pools.close()

    def submit(
        self, frames: Batch, style: StyleVector | None = None, strength: float = 1.0
    ) -> Pending:
        return self._splitter.submit(frames, style, strength)

    def _start(self, frames: Batch, style: StyleVector | None, strength: float) -> Pending:
        inputs = to_inputs(self.model, frames, style, strength, pads=self.pads)
        shapes, size = shapes_of(inputs), (frames.shape[1], frames.shape[2])
        padded = padded_size(*size, self.model) if self.pads else size
        if padded != size:
            shapes[self.model.frame_input] = (len(frames), *padded, 3)
        self.use()
        pool = self._pools.get(key_of(shapes), lambda: self.slots(shapes))
        pending = pool.start(self.device, lambda slot: slot.start(inputs))
        return pending if padded == size else _Cropped(pending, size)

    def open_slot(
        self, frames: Batch, style: StyleVector | None = None, strength: float = 1.0
    ) -> Slot | None:
        inputs = to_inputs(self.model, frames, style, strength)
        self.use()
        slot = self.slots(shapes_of(inputs))()
        slot.upload(inputs)
        return slot

    def takes_device_image(self, image: DeviceImage) -> bool:
        """See `Engine.takes_device_image`; torch converts the frame, on its own GPU."""
        fits = self.model.layout == "nhwc" and self.model.size is None
        return fits and self._gpu in ("cpu", image.device) and self._torch_sees_gpu

    def submit_device(
        self, image: DeviceImage, style: StyleVector | None = None, strength: float = 1.0
    ) -> PendingImage:
        frames = import_module("rtstyle.engines.torch_frames")
        pending: PendingImage = frames.submit(
            self, self._gpu, self._frame_pools, image, style, strength
        )
        return pending

    @cached_property
    def _torch_sees_gpu(self) -> bool:
        if find_spec("torch") is None:
            return False
        try:
            import_module("rtstyle.engines.torch_modules").find_device(self._gpu)
        except (EngineError, ImportError):
            return False
        return True

    def close(self) -> None:
        self._frame_pools.close()
        self._pools.close()


@dataclass(frozen=True, slots=True)
class _Cropped:
    """A batch that was padded, without its padding."""

    pending: Pending
    size: tuple[int, int]

    def wait(self, seconds: float) -> bool:
        return self.pending.wait(seconds)

    def result(self) -> Batch:
        return self.pending.result()[:, : self.size[0], : self.size[1]]


def key_of(shapes: Shapes) -> str:
    """A key for inputs of these shapes."""
    return repr(sorted(shapes.items()))


def shapes_of(inputs: Inputs) -> Shapes:
    """The shapes of arrays, by name."""
    return {name: array.shape for name, array in inputs.items()}
