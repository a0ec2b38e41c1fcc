"""Frames stylized in GPU memory, where a decoder leaves and an encoder takes them.

Frames are NV12, which decoders give and encoders take.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from rtstyle.engines.base import PendingImage, StyleVector
from rtstyle.engines.cuda.engine import SlotEngine
from rtstyle.engines.cuda.slot import PoolCache
from rtstyle.engines.torch_engine import TorchSlot
from rtstyle.engines.torch_modules import device_error, find_device
from rtstyle.errors import EngineError
from rtstyle.frame import DeviceImage, Image
from rtstyle.image import Look, geometry

BT709 = (0.2126, 0.0722)  # weights of red and blue in luma


def nv12_to_rgb(
    luma: Tensor, chroma: Tensor, weights: tuple[float, float], *, full_range: bool
) -> Tensor:
    """(H, W) and (H/2, W/2, 2) uint8 → (1, 3, H, W) float32 RGB from 0 to 255.

    Chroma is interpolated; its samples stand in the middle of their four pixels, as FFmpeg's scaler
    has it, so that a picture is the same wherever it is converted.
    """
    y = luma.float()[None, None]
    c = chroma.float().permute(2, 0, 1)[None] - 128
    c = F.interpolate(c, size=luma.shape, mode="bilinear", align_corners=False)
    if full_range:
        y, c = y / 255, c / 255
    else:
        y, c = (y - 16) / 219, c / 224
    red_weight, blue_weight = weights
    red = y + 2 * (1 - red_weight) * c[:, 1:]
    blue = y + 2 * (1 - blue_weight) * c[:, :1]
    green = (y - red_weight * red - blue_weight * blue) / (1 - red_weight - blue_weight)
    return (torch.cat([red, green, blue], dim=1) * 255).clamp(0, 255)


def rgb_to_nv12(rgb: Tensor) -> Tensor:
    """(1, 3, H, W) float RGB from 0 to 255 → (H + H/2, W) uint8, chroma below luma.

    BT.709 of limited range. One block, as NVENC finds chroma by luma's address and height. Chroma
    stands as `nv12_to_rgb` says.
    """
    red_weight, blue_weight = BT709
    red, green, blue = (rgb.float() / 255).unbind(1)
    y = red_weight * red + (1 - red_weight - blue_weight) * green + blue_weight * blue
    c = torch.stack(
        [(blue - y) / (2 * (1 - blue_weight)), (red - y) / (2 * (1 - red_weight))], dim=1
    )
    c = F.avg_pool2d(c, 2)
    chroma = (c[0] * 224 + 128).permute(1, 2, 0).flatten(1)
    return torch.cat([y[0] * 219 + 16, chroma]).round().clamp(0, 255).to(torch.uint8)


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
    download crops, blends by strength and makes NV12. No pixel leaves the GPU."""

    def __init__(self, engine: SlotEngine, device: torch.device, like: DeviceImage) -> None:
        self._size, self._weights, self._full_range = like.size, like.weights, like.full_range
        padded = geometry(*like.size, model=engine.model, look=Look()).padded
        shapes = engine.model.input_shapes(1, *padded)
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
        self._luma, self._nv12 = zeros((height, width)), zeros((height * 3 // 2, width))
        self._chroma = zeros((height // 2, width // 2, 2))
        self._strength = torch.ones((), device=self._device)
        self._pinned_strength = self._pin(self._strength)
        self._stylized = self._nv12
        self._planes: list[Tensor] = []

    def _upload(self) -> None:
        height, width = self._size
        self._rgb = nv12_to_rgb(
            self._luma, self._chroma, self._weights, full_range=self._full_range
        )
        frame = self._inputs[self._model.frame_input]
        bottom, right = frame.shape[1] - height, frame.shape[2] - width
        rgb = self._rgb
        padded = F.pad(rgb, (0, right, 0, bottom), mode="reflect") if bottom or right else rgb
        frame.copy_(padded.round().permute(0, 2, 3, 1))
        super()._upload()
        self._strength.copy_(self._pinned_strength, non_blocking=True)

    def _download(self) -> None:
        height, width = self._size
        result = self._output[:, :height, :width].permute(0, 3, 1, 2).float()
        if not self._model.takes_strength:
            result = torch.lerp(self._rgb, result, self._strength)
        self._nv12.copy_(rgb_to_nv12(result))

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
        height = self._size[0]
        nv12 = self._stylized
        luma, chroma = nv12[:height], nv12[height:].reshape(height // 2, -1, 2)

        def download() -> Image:
            rgb = nv12_to_rgb(luma, chroma, BT709, full_range=False)
            return np.ascontiguousarray(rgb[0].round().byte().permute(1, 2, 0).cpu().numpy())

        return DeviceImage(
            luma, chroma, self._size, BT709, full_range=False, device=self._gpu, download=download
        )
