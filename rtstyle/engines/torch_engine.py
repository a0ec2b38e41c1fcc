"""PyTorch: eager on the CPU, and in half precision with CUDA graphs on an NVIDIA GPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from time import perf_counter
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from rtstyle.engines.base import Batch, Done, Engine, Pending, Shapes, StyleVector
from rtstyle.engines.batch import to_batch, to_inputs
from rtstyle.engines.cuda.engine import Runner, SlotEngine
from rtstyle.engines.cuda.slot import CudaSlot, Inputs, fill
from rtstyle.engines.options import DEFAULTS, EngineOptions
from rtstyle.engines.torch_modules import (
    any_net,
    checkpoint_net,
    device_error,
    device_name,
    device_net,
    find_device,
)
from rtstyle.errors import EngineError
from rtstyle.model.spec import ModelSpec
from rtstyle.nets.contract import Contract, Grain


class TorchEngine(Engine):
    """Runs a checkpoint (.safetensors) by eager torch in float32.

    `submit` returns a finished `Pending`. `threads` holds for the whole process, as torch knows no
    other way. Raises `EngineError` for a model that is no checkpoint, `ModelError` for a bad one.
    """

    name = "torch"

    def __init__(self, model: ModelSpec, options: EngineOptions = DEFAULTS) -> None:
        net, self.model = checkpoint_net(model)
        if options.threads:
            torch.set_num_threads(options.threads)
        self._net = Contract(net).eval()
        self._net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.device = f"CPU, {torch.get_num_threads()} threads"

    @classmethod
    def version(cls) -> str:
        """The version of the runtime."""
        return str(torch.__version__)

    def submit(
        self, frames: Batch, style: StyleVector | None = None, strength: float = 1.0
    ) -> Pending:
        inputs = to_inputs(self.model, frames, style, strength)
        try:
            with torch.inference_mode():
                stylized = self._net(*map(torch.from_numpy, inputs.values()))
        except (RuntimeError, MemoryError) as error:
            sentence = str(error).splitlines()[0] if str(error) else "out of memory"
            raise EngineError(
                f"torch cannot paint {frames.shape[2]}×{frames.shape[1]}: {sentence}"
            ) from error
        return Done(stylized.contiguous().numpy())

    def close(self) -> None:
        del self._net


class TorchCudaEngine(SlotEngine):
    """Runs rtstyle's own nets on a GPU in half precision, one CUDA graph for each slot.

    See `torch_modules.device_net`; norm statistics are float32. A graph uploads from
    pinned memory, runs and downloads, on a stream of its own; `submit` returns at once. `gpu` "cpu"
    tries the same code without graphs and streams; by default it is the GPU of the options.

    Raises `EngineError` for a file that holds no net of rtstyle's and without a GPU.
    """

    name, precision = "torch-cuda", "fp16"
    in_graphs = True  # whether a slot records its work as a CUDA graph

    def __init__(
        self,
        model: ModelSpec,
        options: EngineOptions = DEFAULTS,
        *,
        gpu: int | str | None = None,
        compile_net: bool = False,
    ) -> None:
        gpu = options.device if gpu is None else gpu
        self._device = find_device(gpu)
        net, model = any_net(model)
        super().__init__(model, gpu)
        whole = device_net(net).to(self._device)
        self._net: Any = torch.compile(whole, dynamic=False) if compile_net else whole
        self._grain = Grain().to(self._device)
        self._grains: WeakValueDictionary[tuple[int, ...], Tensor] = WeakValueDictionary()
        self.device = device_name(self._device)

    @classmethod
    def version(cls) -> str:
        """The version of the runtime. Raises `EngineError` without a GPU."""
        find_device(0)
        return str(torch.__version__)

    def _start(self, frames: Batch, style: StyleVector | None, strength: float) -> Pending:
        try:
            return super()._start(frames, style, strength)
        except EngineError:
            raise
        except (RuntimeError, MemoryError) as error:
            size = f"{frames.shape[2]}×{frames.shape[1]}"
            raise device_error(f"torch cannot paint {size} on {self.device}", error) from error

    def slots(self, shapes: Shapes) -> Callable[[], TorchSlot]:

        def make() -> TorchSlot:
            try:
                runner = self.runner(shapes)
                return TorchSlot(runner, self._device, self.model, shapes, graph=self.in_graphs)
            except torch.OutOfMemoryError as error:
                n, height, width = shapes[self.model.frame_input][:3]
                doing = f"torch cannot paint {n} of {width}×{height} on {self.device}"
                raise device_error(doing, error) from error

        return make

    def runner(self, shapes: Shapes) -> Runner:
        net, size = self._net, shapes[self.model.frame_input][1:3]
        grain = self._grains.get(size)  # kept as long as a runner for the size needs it
        if grain is None:
            grain = self._grains[size] = self._grain(*size) * self.model.grain

        def run(inputs: Mapping[str, Tensor], output: Tensor, stream: int) -> None:
            output.copy_(net(*inputs.values(), grain=grain), non_blocking=True)

        return run

    def make_room(self) -> None:
        super().make_room()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def close(self) -> None:
        super().close()
        del self._net


class TorchSlot(CudaSlot):
    """Stream, buffers and graph of one batch in flight; on a "cpu" only the buffers.

    `runner` may be any engine's whose inputs and outputs are torch tensors. Without a `graph` its
    work is enqueued piece by piece.
    """

    def __init__(
        self,
        runner: Runner,
        device: torch.device,
        model: ModelSpec,
        shapes: Shapes,
        *,
        graph: bool = True,
    ) -> None:
        self._runner, self._device, self._model = runner, device, model
        self._on_gpu, self._in_graphs = device.type == "cuda", graph
        self.clock = "between CUDA events" if self._on_gpu else "by this process's clock"
        self._inputs = {
            name: torch.zeros(shape, dtype=self._dtype(name), device=device)
            for name, shape in shapes.items()
        }
        self._output = torch.zeros_like(self._inputs[model.frame_input])
        self._graph: torch.cuda.CUDAGraph | None = None
        self._run_alone: torch.cuda.CUDAGraph | None = None  # recorded when it is timed
        self._stream: Any = None
        self._pinned: dict[str, Tensor] = {}
        self._allocate()
        if self._on_gpu:
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            self._done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
            self._graph = self._recorded(self._whole) if graph else None

    def _dtype(self, name: str) -> torch.dtype:
        return torch.uint8 if name == self._model.frame_input else torch.float32

    def _pin(self, like: Tensor) -> Tensor:
        """A buffer in host memory for a tensor of the GPU."""
        return torch.zeros(like.shape, dtype=like.dtype, pin_memory=self._on_gpu)

    def _allocate(self) -> None:
        """Make the buffers that uploads come from and downloads go to."""
        self._pinned = {name: self._pin(value) for name, value in self._inputs.items()}
        self._result = self._pin(self._output)

    def _recorded(self, work: Callable[[], None]) -> torch.cuda.CUDAGraph:
        with torch.inference_mode():
            with torch.cuda.stream(self._stream):
                for _ in range(3):  # libraries choose their kernels and allocate the first times
                    work()
            self._stream.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                work()
        return graph

    def _whole(self) -> None:
        self._upload()
        self._run()
        self._download()

    def _upload(self) -> None:
        for name, pinned in self._pinned.items():
            self._inputs[name].copy_(pinned, non_blocking=True)

    def _run(self) -> None:
        self._runner(self._inputs, self._output, self._stream.cuda_stream if self._stream else 0)

    def _download(self) -> None:
        self._result.copy_(self._output, non_blocking=True)

    def start(self, inputs: Inputs) -> None:
        """See `CudaSlot.start`; on a "cpu" it returns when all is done."""
        self._fill(inputs)
        with torch.cuda.stream(self._stream), torch.inference_mode():
            self._launch()

    def _fill(self, inputs: Inputs) -> None:
        for name, array in inputs.items():
            fill(self._pinned[name].numpy(), array)

    def _launch(self) -> None:
        if self._graph is None:
            self._whole()
        else:
            self._graph.replay()
        if self._on_gpu:
            self._done.record(self._stream)

    def is_done(self) -> bool:
        try:
            return not self._on_gpu or bool(self._done.query())  # type: ignore[no-untyped-call]
        except RuntimeError:  # `result` raises it
            return True

    def _synchronize(self) -> None:
        try:
            if self._on_gpu:
                self._done.synchronize()
        except RuntimeError as error:
            raise device_error("its work was broken off", error) from error

    def result(self) -> Batch:
        self._synchronize()
        return to_batch(self._model, self._result.numpy())

    def upload(self, inputs: Inputs) -> None:
        self._fill(inputs)
        with torch.cuda.stream(self._stream), torch.inference_mode():
            self._upload()
        if self._on_gpu:
            self._stream.synchronize()

    def time_run_ms(self, count: int) -> list[float]:
        """See `Slot.time_run_ms`. On a "cpu" by this process's clock."""
        try:
            return self._by_events(count) if self._on_gpu else self._by_clock(count)
        except RuntimeError as error:
            raise device_error("a run failed", error) from error

    def _by_clock(self, count: int) -> list[float]:
        times = []
        for _ in range(count):
            start = perf_counter()
            with torch.inference_mode():
                self._run()
            times.append((perf_counter() - start) * 1e3)
        return times

    def _by_events(self, count: int) -> list[float]:
        if self._run_alone is None and self._in_graphs:
            self._run_alone = self._recorded(self._run)
        run = self._run if self._run_alone is None else self._run_alone.replay
        events: list[Any] = [
            torch.cuda.Event(enable_timing=True, blocking=True)  # type: ignore[no-untyped-call]
            for _ in range(count + 1)
        ]
        with torch.cuda.stream(self._stream), torch.inference_mode():
            events[0].record(self._stream)
            for event in events[1:]:
                run()
                event.record(self._stream)
        events[-1].synchronize()
        return [float(begin.elapsed_time(end)) for begin, end in pairwise(events)]

    def download(self) -> Batch:
        try:
            if self._on_gpu:
                self._stream.synchronize()
            return to_batch(self._model, self._output.cpu().numpy().copy())
        except RuntimeError as error:
            raise device_error("a run failed", error) from error

    def close(self) -> None:
        self._graph = self._run_alone = None
        self._inputs, self._pinned = {}, {}
