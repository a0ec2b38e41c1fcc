"""PyTorch on an NVIDIA card: half precision, fused norms, CUDA graphs, several streams."""

from __future__ import annotations

import copy
from collections import OrderedDict, deque
from dataclasses import replace
from threading import Lock
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rtstyle.engines.base import Batch, Pending, StyleVector
from rtstyle.engines.batch import to_inputs
from rtstyle.engines.torch_fused_norm import norm_relu
from rtstyle.errors import EngineError, ModelError
from rtstyle.model import ModelSpec
from rtstyle.nets.contract import Contract
from rtstyle.nets.fast import Fast
from rtstyle.nets.johnson import Johnson
from rtstyle.nets.layers import ConvNorm, InstanceNorm
from rtstyle.train.checkpoint import load_checkpoint_net

_SLOTS = 3  # batches on the card: one comes, one is painted, one goes
_SIZES = 3  # sizes kept ready, since each holds memory of the card


class TorchCudaEngine:
    """Runs a checkpoint (.safetensors) in half precision, one CUDA graph for each slot.

    Convolutions are float16 in channels-last order, norm statistics float32. A graph uploads from
    pinned memory, paints and downloads, on a stream of its own; `submit` returns at once. `device`
    is a card's number, or "cpu" to try the same code without graphs and streams.

    Raises `EngineError` for a model that is no checkpoint and without a card.
    """

    name = "torch-cuda"

    def __init__(
        self,
        model: ModelSpec,
        *,
        threads: int | None = None,
        device: int | str = 0,
        compile_net: bool = False,
    ) -> None:
        if model.path.suffix != ".safetensors":
            raise EngineError(
                f"The torch engine runs checkpoints (.safetensors), not {model.path.name}."
            )
        self._device = _device(device)
        try:
            net, _ = load_checkpoint_net(model.path)
        except (RuntimeError, TypeError) as error:
            raise ModelError(
                f"{model.path} was trained by another version: its weights or settings do not fit "
                f"the net {model.architecture} of this one."
            ) from error
        self.model = replace(model, stride=int(net.stride))  # type: ignore[arg-type]
        painter = Contract(half_net(net)).eval().to(self._device)
        self._net: Any = torch.compile(painter, dynamic=False) if compile_net else painter
        self._sizes: OrderedDict[str, _Size] = OrderedDict()
        self.device = (
            f"{torch.cuda.get_device_name(self._device)} ({self._device})"
            if self._device.type == "cuda"
            else "CPU"
        )

    @staticmethod
    def version() -> str:
        """The version of the runtime. Raises `EngineError` without a card."""
        _device(0)
        return str(torch.__version__)

    def submit(
        self, frames: Batch, style: StyleVector | None = None, strength: float = 1.0
    ) -> Pending:
        """Start painting; see `Engine.submit`."""
        inputs = to_inputs(self.model, frames, style, strength)
        try:
            return _Running(self, *self._start(inputs))
        except (RuntimeError, MemoryError) as error:
            raise EngineError(
                f"torch cannot paint {frames.shape[2]}×{frames.shape[1]} on {self.device}: "
                f"{_sentence(error)}"
            ) from error

    def _start(self, inputs: dict[str, NDArray[Any]]) -> tuple[_Size, _Slot]:
        key = repr([(name, array.shape) for name, array in inputs.items()])
        if key not in self._sizes:
            while len(self._sizes) >= _SIZES:
                self._sizes.popitem(last=False)[1].drain()
            self._sizes[key] = _Size(self._net, self._device, inputs)
        self._sizes.move_to_end(key)
        size = self._sizes[key]
        slot = size.take()
        for pinned, array in zip(slot.inputs, inputs.values(), strict=True):
            np.copyto(pinned.numpy(), array)
        slot.start()
        return size, slot

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        while self._sizes:
            self._sizes.popitem()[1].drain()
        del self._net


def half_net(net: nn.Module) -> nn.Module:
    """A copy of `net` for a card: float16 in channels-last order, each norm fused with its ReLU.

    Norms keep their own parameters in float32. Where a norm follows the first convolution the
    picture's mean is taken off before it becomes half, which changes nothing but the rounding.
    """
    net = copy.deepcopy(net).eval().requires_grad_(False)
    centred = isinstance(net, (Johnson, Fast)) and not any(
        isinstance(module, nn.BatchNorm2d) for module in net.modules()
    )
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.half()
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, ConvNorm) and isinstance(child.norm, InstanceNorm):
                setattr(parent, name, _FusedConvNorm(child))
    return _Half(net, centred)


class _Half(nn.Module):
    """Turns float pictures into half ones, and the net's half ones back."""

    def __init__(self, net: nn.Module, centred: bool) -> None:
        super().__init__()
        self.net, self.centred = net, centred

    def forward(self, x: Tensor, *told: Tensor) -> Tensor:
        if self.centred:
            x = x - x.mean((2, 3), keepdim=True)
        x = x.half().contiguous(memory_format=torch.channels_last)
        out: Tensor = self.net(x, *told).float()
        return out


class _FusedConvNorm(nn.Module):
    def __init__(self, layer: ConvNorm) -> None:
        super().__init__()
        assert isinstance(layer.norm, InstanceNorm)
        self.conv, self.norm, self.relu = layer.conv, layer.norm, layer.relu

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        scale: Tensor = self.norm.weight
        shift: Tensor = self.norm.bias
        if style is not None:
            scale, shift = style.float() @ scale, style.float() @ shift
        y = self.conv(x).contiguous(memory_format=torch.channels_last)
        return norm_relu(y, scale, shift, eps=self.norm.eps, relu=self.relu)


class _Size:
    """The slots for inputs of one set of shapes."""

    def __init__(self, net: Any, device: torch.device, inputs: dict[str, NDArray[Any]]) -> None:
        self._free = deque(_Slot(net, device, inputs) for _ in range(_SLOTS))
        self._busy: deque[_Running] = deque()
        self.lock = Lock()

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
            if running in self._busy:
                self._busy.remove(running)
            self._free.append(slot)

    def drain(self) -> None:
        """Bring back what is being painted."""
        while True:
            with self.lock:
                if not self._busy:
                    return
                oldest = self._busy.popleft()
            oldest.bring_back()


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

    def wait(self) -> None:
        if self._cuda:
            self._done.synchronize()


class _Running:
    """A batch on the card. Its slot is free again once the result was copied out."""

    def __init__(self, engine: TorchCudaEngine, size: _Size, slot: _Slot) -> None:
        self._where = engine.device
        self._size: _Size | None = size
        self._slot = slot
        self._painted: Batch | None = None
        self._error: EngineError | None = None
        self._lock = Lock()
        size.began(self)

    def bring_back(self) -> None:
        """Wait for the batch and copy it out of the slot. Safe from any thread."""
        with self._lock:
            if self._size is None:
                return
            try:
                self._slot.wait()
                self._painted = self._slot.output.numpy().copy()
            except RuntimeError as error:
                self._error = EngineError(f"{self._where} failed on a batch: {_sentence(error)}")
            size, self._size = self._size, None
            size.ended(self, self._slot)

    def result(self) -> Batch:
        self.bring_back()
        if self._painted is None:
            raise self._error or EngineError(f"{self._where} gave no picture.")
        return self._painted


def _device(device: int | str) -> torch.device:
    if device == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise EngineError(
            "torch sees no CUDA card: a driver and a build of torch for CUDA are needed."
        )
    if not 0 <= int(device) < torch.cuda.device_count():
        raise EngineError(
            f"There is no card {device}; torch sees {torch.cuda.device_count()}, counted from 0."
        )
    return torch.device("cuda", int(device))


def _sentence(error: BaseException) -> str:
    text = str(error).splitlines()[0] if str(error) else "out of memory"
    hint = "; paint smaller pictures (--height)" if "memory" in text.lower() else ""
    return f"{text}{hint}"
