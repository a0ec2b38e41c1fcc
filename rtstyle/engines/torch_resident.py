"""Tensors that stay on the card while torch's engines paint them, timed by the card's events."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from time import perf_counter
from typing import Any

import torch
from numpy.typing import NDArray

from rtstyle.closing import Closing
from rtstyle.engines.base import Batch, Engine
from rtstyle.engines.batch import to_batch
from rtstyle.engines.card_painter import CardPainter
from rtstyle.engines.torch_card import card_error


class ResidentTensors(Closing):
    """See `Resident`. Where painting can be recorded it runs as a CUDA graph, as in use. On a
    processor, where the same code is tried, this process's clock takes the time."""

    def __init__(
        self, engine: Engine, painter: CardPainter, inputs: Mapping[str, NDArray[Any]]
    ) -> None:
        self._engine, self._painter = engine, painter
        # Cards are named "NVIDIA H200 (cuda:0)".
        place = engine.device.rpartition("(")[2].rstrip(")")
        self._device = torch.device("cpu" if engine.device == "CPU" else place)
        self._on_card = self._device.type == "cuda"
        self.clock = "between CUDA events" if self._on_card else "by this process's clock"
        self._graph: torch.cuda.CUDAGraph | None = None
        try:
            self._inputs = {
                name: torch.from_numpy(array).to(self._device) for name, array in inputs.items()
            }
            self._output = torch.zeros_like(self._inputs[engine.model.frame_input])
            self._prepare()
        except (RuntimeError, MemoryError) as error:
            raise card_error(f"torch cannot paint on {engine.device}", error) from error

    def _prepare(self) -> None:
        if not self._on_card:
            self._paint(0)
            return
        self._stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        with torch.cuda.stream(self._stream):
            for _ in range(3):  # libraries choose their kernels and allocate the first times
                self._paint(self._stream.cuda_stream)
        self._stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                self._paint(self._stream.cuda_stream)
        except RuntimeError:  # what cannot be recorded is enqueued piece by piece
            return
        self._graph = graph

    def _paint(self, stream: int) -> None:
        self._painter(self._inputs, self._output, stream)

    def time_ms(self, count: int) -> list[float]:
        """See `Resident.time_ms`."""
        try:
            return self._by_events(count) if self._on_card else self._by_clock(count)
        except RuntimeError as error:
            raise card_error(f"{self._engine.device} failed on a batch", error) from error

    def _by_clock(self, count: int) -> list[float]:
        times = []
        for _ in range(count):
            start = perf_counter()
            self._paint(0)
            times.append((perf_counter() - start) * 1e3)
        return times

    def _by_events(self, count: int) -> list[float]:
        events: list[Any] = [
            torch.cuda.Event(enable_timing=True, blocking=True)  # type: ignore[no-untyped-call]
            for _ in range(count + 1)
        ]
        with torch.cuda.stream(self._stream):
            events[0].record(self._stream)
            for event in events[1:]:
                if self._graph is None:
                    self._paint(self._stream.cuda_stream)
                else:
                    self._graph.replay()
                event.record(self._stream)
        events[-1].synchronize()
        return [float(begin.elapsed_time(end)) for begin, end in pairwise(events)]

    def result(self) -> Batch:
        """See `Resident.result`."""
        try:
            if self._on_card:
                self._stream.synchronize()
            return to_batch(self._engine.model, self._output.cpu().numpy().copy())
        except RuntimeError as error:
            raise card_error(f"{self._engine.device} failed on a batch", error) from error

    def close(self) -> None:
        if self._on_card:
            self._stream.synchronize()
        self._graph = None
        del self._inputs, self._output
