"""Pictures painted where a decoder left them and an encoder finds them: in the card's memory."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from rtstyle.engines.base import StyleVector
from rtstyle.engines.card_painter import CardEngine, Shapes
from rtstyle.engines.slots import SLOTS
from rtstyle.engines.torch_card import card_error
from rtstyle.engines.torch_nv12 import BT709, nv12_to_rgb, rgb_to_nv12
from rtstyle.errors import EngineError
from rtstyle.frame import CardImage, Image
from rtstyle.image import Look, geometry
from rtstyle.model.spec import ModelSpec

_KINDS = 2  # kinds of picture kept ready
_Kind = tuple[tuple[int, int], tuple[float, float], bool]  # size, weights, full range


class OnCard:
    """Paints `CardImage`s by an engine that offers a `CardPainter`; used by one thread.

    One CUDA graph a picture: NV12 to RGB, padding, the net, cropping, strength, RGB to NV12. Only
    the style goes up to the card, and nothing comes down. Several lanes, each with a stream and
    buffers of its own, take pictures in turn. On a device "cpu" the same without graphs.
    """

    def __init__(self, engine: CardEngine, device: torch.device) -> None:
        self._engine, self._device = engine, device
        self._lanes: OrderedDict[_Kind, cycle[_Lane]] = OrderedDict()

    def submit(self, image: CardImage, style: StyleVector | None, strength: float) -> _Painted:
        """Start painting, at the picture's own size. Raises `EngineError`."""
        kind = (image.size, image.weights, image.full_range)
        try:
            if kind not in self._lanes:
                while len(self._lanes) >= _KINDS:
                    self._lanes.popitem(last=False)
                lanes = [_Lane(self._engine, self._device, kind) for _ in range(SLOTS)]
                self._lanes[kind] = cycle(lanes)
            self._lanes.move_to_end(kind)
            return next(self._lanes[kind]).start(image, style, strength)
        except EngineError:
            raise
        except (RuntimeError, MemoryError) as error:
            size = f"{image.size[1]}×{image.size[0]}"
            doing = f"{self._engine.device} cannot paint {size} where it lies"
            raise card_error(doing, error) from error

    def close(self) -> None:
        """Give the card's memory back."""
        self._lanes.clear()


class _Lane:
    """Stream, buffers and graph for one picture after another."""

    def __init__(self, engine: CardEngine, device: torch.device, kind: _Kind) -> None:
        self._model, self._device, self._kind = engine.model, device, kind
        self._name = engine.device
        (height, width), _, _ = kind
        padded = geometry(height, width, model=self._model, look=Look()).padded
        self._inputs, shapes = _inputs(self._model, padded, device)
        self._luma = torch.zeros((height, width), dtype=torch.uint8, device=device)
        self._chroma = torch.zeros((height // 2, width // 2, 2), dtype=torch.uint8, device=device)
        self._painted = torch.zeros((1, *padded, 3), dtype=torch.uint8, device=device)
        self._strength = torch.ones((), device=device)
        self._nv12 = torch.zeros((height * 3 // 2, width), dtype=torch.uint8, device=device)
        self._told: tuple[bytes, float] | None = None  # style and strength that are on the card
        self._paint = engine.painter_on_card(shapes)
        self._stream: Any = None
        self._graph: torch.cuda.CUDAGraph | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            self._record()

    def start(self, image: CardImage, style: StyleVector | None, strength: float) -> _Painted:
        with torch.cuda.stream(self._stream), torch.inference_mode():
            if self._stream is not None:  # where the decoder's work is
                self._stream.wait_stream(torch.cuda.default_stream(self._device))
            planes = [from_dlpack(p.__dlpack__()) for p in (image.luma, image.chroma)]
            self._luma.copy_(planes[0])
            self._chroma.copy_(planes[1])
            self._tell(style, strength)
            if self._graph is None:
                self._work()
            else:
                self._graph.replay()
            nv12 = self._nv12.clone()  # the encoder keeps it for as long as it likes
            done = None
            if self._stream is not None:
                done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
                done.record(self._stream)
        return _Painted(self._name, nv12, image.card, done, planes)

    def _tell(self, style: StyleVector | None, strength: float) -> None:
        told = (b"" if style is None else style.tobytes(), strength)
        if told == self._told:
            return
        if style is not None:
            self._inputs["style"].copy_(torch.from_numpy(np.array(style, np.float32)))
        if "strength" in self._inputs:
            self._inputs["strength"].fill_(strength)
        self._strength.fill_(strength)
        self._told = told

    def _record(self) -> None:
        with torch.cuda.stream(self._stream), torch.inference_mode():
            for _ in range(3):  # libraries choose their kernels and allocate the first times
                self._work()
        self._stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with (
            torch.inference_mode(),
            torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"),
        ):
            self._work()
        self._graph = graph

    def _work(self) -> None:
        (height, width), weights, full_range = self._kind
        rgb = nv12_to_rgb(self._luma, self._chroma, weights, full_range=full_range)
        frame = self._inputs[self._model.frame_input]
        bottom, right = frame.shape[1] - height, frame.shape[2] - width
        padded = F.pad(rgb, (0, right, 0, bottom), mode="reflect") if bottom or right else rgb
        frame.copy_(padded.round().permute(0, 2, 3, 1))
        handle = 0 if self._stream is None else self._stream.cuda_stream
        self._paint(self._inputs, self._painted, handle)
        result = self._painted[:, :height, :width].permute(0, 3, 1, 2).float()
        if not self._model.takes_strength:
            result = torch.lerp(rgb, result, self._strength)
        self._nv12.copy_(rgb_to_nv12(result))


@dataclass(slots=True)
class _Painted:
    """A picture that is being painted on the card; a `Pending` whose result is a `CardImage`."""

    where: str
    nv12: Tensor
    card: int
    done: Any
    planes: list[Tensor]  # the decoder must not write into them before they were read

    def result(self) -> CardImage:
        """Wait for the painted picture. Raises `EngineError`."""
        try:
            if self.done is not None:
                self.done.synchronize()
        except RuntimeError as error:
            raise card_error(f"{self.where} failed on a picture", error) from error
        self.planes = []
        height = self.nv12.shape[0] * 2 // 3
        luma, chroma = self.nv12[:height], self.nv12[height:].reshape(height // 2, -1, 2)

        def download() -> Image:
            rgb = nv12_to_rgb(luma, chroma, BT709, full_range=False)
            return np.ascontiguousarray(rgb[0].round().byte().permute(1, 2, 0).cpu().numpy())

        return CardImage(
            luma, chroma, (height, self.nv12.shape[1]), BT709, full_range=False, card=self.card,
            download=download,
        )  # fmt: skip


def _inputs(
    model: ModelSpec, padded: tuple[int, int], device: torch.device
) -> tuple[dict[str, Tensor], Shapes]:
    """Buffers for every input of the model, in its order, and their shapes."""
    shapes: Shapes = {model.frame_input: (1, *padded, 3)}
    if model.style_size:
        shapes["style"] = (1, model.style_size)
    if model.takes_strength:
        shapes["strength"] = (1,)
    buffers = {
        name: torch.zeros(
            shape, device=device, dtype=torch.uint8 if len(shape) == 4 else torch.float32
        )
        for name, shape in shapes.items()
    }
    return buffers, shapes
