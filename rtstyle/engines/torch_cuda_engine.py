"""PyTorch on an NVIDIA card: half precision, fused norms, CUDA graphs, several streams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rtstyle.closing import Closing
from rtstyle.engines.base import Batch, Pending, StyleVector
from rtstyle.engines.batch import to_inputs
from rtstyle.engines.card_memory import BatchSplitter
from rtstyle.engines.card_painter import CardPainter, CardPictures, Shapes
from rtstyle.engines.options import DEFAULTS, EngineOptions
from rtstyle.engines.slots import ReadySizes, RunningBatch
from rtstyle.engines.torch_card import card, card_error, card_name
from rtstyle.engines.torch_half_net import half_net
from rtstyle.engines.torch_net import any_net
from rtstyle.errors import EngineError
from rtstyle.frame import CardImage
from rtstyle.model.spec import ModelSpec
from rtstyle.nets.contract import Contract

_SIZES = 3  # sizes kept ready, since each holds memory of the card


class TorchCudaEngine(Closing):
    """Runs rtstyle's own nets in half precision, one CUDA graph for each slot.

    Convolutions are float16 in channels-last order, norm statistics float32. A graph uploads from
    pinned memory, paints and downloads, on a stream of its own; `submit` returns at once. `device`
    is a card's number, or "cpu" to try the same code without graphs and streams. A batch that the
    card's memory does not hold is painted in parts; see `BatchSplitter`.

    Raises `EngineError` for a file that holds no net of rtstyle's and without a card.
    """

    name = "torch-cuda"

    def __init__(
        self,
        model: ModelSpec,
        options: EngineOptions = DEFAULTS,
        *,
        device: int | str | None = None,
        compile_net: bool = False,
    ) -> None:
        device = options.device if device is None else device
        self._device = card(device)
        net, self.model = any_net(model)
        painter = Contract(half_net(net)).eval().to(self._device)
        self._net: Any = torch.compile(painter, dynamic=False) if compile_net else painter
        self._pictures = CardPictures(self, device)
        self._sizes: ReadySizes[_Slot] = ReadySizes(_SIZES)
        self._splitter = BatchSplitter(self.model, self._start, self._make_room)
        self.device = card_name(self._device)

    @staticmethod
    def version() -> str:
        """The version of the runtime. Raises `EngineError` without a card."""
        card(0)
        return str(torch.__version__)

    def submit(
        self, frames: Batch, style: StyleVector | None = None, strength: float = 1.0
    ) -> Pending:
        """Start painting; see `Engine.submit`."""
        if isinstance(frames, CardImage):
            return self._pictures.submit(frames, style, strength)
        return self._splitter.submit(frames, style, strength)

    def _start(self, frames: Batch, style: StyleVector | None, strength: float) -> Pending:
        inputs = to_inputs(self.model, frames, style, strength)
        key = repr([(name, array.shape) for name, array in inputs.items()])
        try:
            pool = self._sizes.get(key) or self._sizes.add(key, lambda: self._slot(inputs))
            slot = pool.take()
            try:
                for pinned, array in zip(slot.inputs, inputs.values(), strict=True):
                    np.copyto(pinned.numpy(), array)
                slot.start()
            except BaseException:
                pool.give_back(slot)
                raise
        except EngineError:
            raise
        except (RuntimeError, MemoryError) as error:
            size = f"{frames.shape[2]}×{frames.shape[1]}"
            raise card_error(f"torch cannot paint {size} on {self.device}", error) from error
        return RunningBatch(self.device, pool, slot)

    def _slot(self, inputs: dict[str, NDArray[Any]]) -> _Slot:
        try:
            return _Slot(self._net, self._device, inputs)
        except torch.OutOfMemoryError as error:
            shape = next(iter(inputs.values())).shape
            doing = f"torch cannot paint {shape[0]} of {shape[2]}×{shape[1]} on {self.device}"
            raise card_error(doing, error) from error

    def _make_room(self) -> None:
        self._sizes.close()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def takes_card_image(self, image: CardImage) -> bool:
        """Whether `submit` takes this picture where it lies; see `CardEngine`."""
        return self._pictures.takes(image)

    def painter_on_card(self, shapes: Shapes) -> CardPainter:
        """What paints pictures that lie on the card; see `CardEngine`."""
        net = self._net

        def paint(inputs: Mapping[str, Tensor], output: Tensor, stream: int) -> None:
            with torch.inference_mode():
                output.copy_(net(*inputs.values()))

        return paint

    def close(self) -> None:
        self._pictures.close()
        self._sizes.close()
        del self._net


class _Slot:
    """Stream, buffers and graph of one batch on its way."""

    def __init__(self, net: Any, device: torch.device, inputs: dict[str, NDArray[Any]]) -> None:
        self._net, self._cuda = net, device.type == "cuda"
        self.inputs = [
            torch.zeros(array.shape, dtype=torch.from_numpy(np.empty(0, array.dtype)).dtype,
                        pin_memory=self._cuda)
            for array in inputs.values()
        ]  # fmt: skip
        frame = self.inputs[0]
        self.output = torch.zeros(frame.shape, dtype=torch.uint8, pin_memory=self._cuda)
        self._on_card = [torch.zeros_like(value, device=device) for value in self.inputs]
        self._graph: torch.cuda.CUDAGraph | None = None
        if self._cuda:
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            self._done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
            self._record()

    def _record(self) -> None:
        with torch.cuda.stream(self._stream):
            for _ in range(3):  # libraries choose their kernels and allocate the first times
                self._work()
        self._stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            self._work()
        self._graph = graph

    def _work(self) -> None:
        with torch.inference_mode():
            for on_card, pinned in zip(self._on_card, self.inputs, strict=True):
                on_card.copy_(pinned, non_blocking=True)
            self.output.copy_(self._net(*self._on_card), non_blocking=True)

    def start(self) -> None:
        """Upload, paint and download what lies in `inputs`; returns at once on a card."""
        if self._graph is None:
            self._work()
            return
        with torch.cuda.stream(self._stream):
            self._graph.replay()
            self._done.record(self._stream)

    def take_out(self) -> Batch:
        """Wait until the batch is painted; a copy of it."""
        try:
            if self._cuda:
                self._done.synchronize()
            return self.output.numpy().copy()
        except RuntimeError as error:
            raise card_error("its work was broken off", error) from error

    def close(self) -> None:
        """Give the card's memory back."""
        self._graph = None
        self._on_card = []
