"""Frames stylized in GPU memory, where a decoder leaves and an encoder takes them.

Frames are NV12, which decoders give and encoders take.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from rtstyle.engines.base import PendingImage, StyleVector
from rtstyle.engines.cuda.engine import SlotEngine
from rtstyle.engines.cuda.slot import PoolCache
from rtstyle.engines.torch_engine import TorchSlot
from rtstyle.engines.torch_modules import device_error, find_device
from rtstyle.engines.torch_nv12 import BT709, nv12_to_rgb, rgb_to_nv12
from rtstyle.errors import EngineError
from rtstyle.frame import DeviceImage, Image
from rtstyle.image import Look, geometry


def submit(
    engine: SlotEngine,
    gpu: int | str,
    pools: PoolCache[FrameSlot],
    image: DeviceImage,
    style: StyleVector | None,
    strength: float,
) -> PendingImage:
    """Start stylizing a frame by the runner of `engine`, in a slot out of `pools`.

    Raises `EngineError`.
    """
    kind = repr((image.size, image.weights, image.full_range))
    try:
        pool = pools.get(kind, lambda: lambda: FrameSlot(engine, find_device(gpu), image))
        return pool.start(engine.device, lambda slot: slot.start_frame(image, style, strength))
    except EngineError:
        raise
    except (RuntimeError, MemoryError) as error:
        size = f"{image.size[1]}×{image.size[0]}"
        raise device_error(f"{engine.device} cannot paint {size} where it lies", error) from error


class FrameSlot(TorchSlot):
    """A slot for frames of one size and colour range: the upload makes RGB of NV12 and pads it, the
    download crops, blends by strength and makes NV12, one kernel each. No pixel leaves the GPU."""

    def __init__(self, engine: SlotEngine, device: torch.device, like: DeviceImage) -> None:
        self._size, self._weights, self._full_range = like.size, like.weights, like.full_range
        self._padded = geometry(*like.size, model=engine.model, look=Look()).padded
        shapes = engine.model.input_shapes(1, *self._padded)
        self._gpu = like.device
        super().__init__(engine.runner(shapes), device, engine.model, shapes)

    def _allocate(self) -> None:
        height, width = self._size
        self._pinned = {
            name: self._pin(value)
            for name, value in self._inputs.items()
            if name != self._model.frame_input
        }
        zeros = partial(torch.zeros, dtype=torch.uint8, device=self._device)
        self._luma = zeros((height, width))
        self._chroma = zeros((height // 2, width // 2, 2))
        self._strength = torch.ones((), device=self._device)
        self._pinned_strength = self._pin(self._strength)
        self._planes: list[Tensor] = []

    def _upload(self) -> None:
        # A graph gives the results of its operations the same addresses each time.
        self._inputs[self._model.frame_input] = nv12_to_rgb(
            self._luma, self._chroma, *self._padded, *self._weights, self._full_range
        )
        super()._upload()
        self._strength.copy_(self._pinned_strength, non_blocking=True)

    def _download(self) -> None:
        blended = None if self._model.takes_strength else self._inputs[self._model.frame_input]
        self._nv12 = rgb_to_nv12(self._output, blended, self._strength, *self._size)

    def start_frame(self, image: DeviceImage, style: StyleVector | None, strength: float) -> None:
        """Enqueue the frame; returns at once on a GPU."""
        if style is not None:
            np.copyto(self._pinned["style"].numpy(), style)
        if "strength" in self._pinned:
            self._pinned["strength"].fill_(strength)
        self._pinned_strength.fill_(strength)
        with torch.cuda.stream(self._stream), torch.inference_mode():
            if self._stream is not None:  # where the decoder's work is
                self._stream.wait_stream(torch.cuda.default_stream(self._device))
            # Kept until the result is there: the decoder must not write into them before.
            self._planes = [from_dlpack(p.__dlpack__()) for p in (image.luma, image.chroma)]
            self._luma.copy_(self._planes[0])
            self._chroma.copy_(self._planes[1])
            if self._graph is None:
                self._whole()
            else:
                self._graph.replay()
            self._stylized = self._nv12.clone()  # the encoder keeps it until it is done with it
            if self._on_gpu:
                self._done.record(self._stream)

    def result(self) -> DeviceImage:  # type: ignore[override]  # a frame, where it lies
        """The stylized frame. Raises `EngineError`."""
        self._synchronize()
        self._planes = []
        height, width = self._size
        rows = self._stylized[:, :width]
        luma, chroma = rows[:height], rows[height:].unflatten(1, (-1, 2))

        def download() -> Image:
            rgb = nv12_to_rgb(luma, chroma, height, width, *BT709, False)
            return np.asarray(rgb[0].cpu().numpy())

        return DeviceImage(
            luma, chroma, self._size, BT709, full_range=False, device=self._gpu, download=download
        )
