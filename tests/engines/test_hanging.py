"""Engines that hang, each in its own way: the run ends, and so does closing them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest

import rtstyle.pipeline
from rtstyle.engines import onnxruntime_engine, open_engine, openvino_engine
from rtstyle.engines.base import Done, Engine, poll
from rtstyle.engines.cuda import slot as cuda_slot
from rtstyle.engines.onnxruntime_engine import DirectMlEngine, OnnxRuntimeSlot
from rtstyle.engines.tensorrt_engine import TensorRtEngine
from rtstyle.engines.watchdog import Watchdog
from rtstyle.engines.wrappers import DelegatingEngine
from rtstyle.errors import EngineError
from rtstyle.media.synthetic import NullSink, SyntheticSource
from rtstyle.model.file import read_model
from rtstyle.model.spec import ModelSpec
from rtstyle.pipeline import Pipeline
from rtstyle.style.style import styles_of
from tests.engines.fake_gpu import install

HANGS_AT = 5  # counted from 0


class Stuck:
    """Stands before `real` and makes its `method` wait for `release` from the sixth call on."""

    def __init__(self, real: Any, method: str, release: Event) -> None:
        self._real, self._method, self._release, self._calls = real, method, release, 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        if name != self._method:
            return found

        def call(*arguments: Any, **named: Any) -> Any:
            self._calls += 1
            if self._calls > HANGS_AT:
                self._release.wait(20)
            return found(*arguments, **named)

        return call


@pytest.fixture
def release() -> Iterator[Event]:
    event = Event()
    yield event
    event.set()
    for thread in threading.enumerate():
        if thread.name.startswith("rtstyle"):
            thread.join(10)
            assert not thread.is_alive(), thread.name


@pytest.fixture(params=["openvino", "onnxruntime", "torch", "onnxruntime provider", "tensorrt"])
def engine(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    tiny_model: ModelSpec,
    tiny_checkpoint: Path,
    release: Event,
) -> Engine:
    """An engine whose sixth batch does not come back before `release`."""
    monkeypatch.setattr(rtstyle.pipeline, "_CLOSING_SECONDS", 0.2)
    monkeypatch.setattr(Watchdog, "SECONDS", 0.05)
    for module in (cuda_slot, onnxruntime_engine, openvino_engine):
        monkeypatch.setattr(module, "CLOSING_SECONDS", 0.1)
    if request.param == "openvino":
        opened: Any = open_engine("openvino", tiny_model)
        take, count = openvino_engine._Compiled.take, iter(range(100))

        class Hanging:
            def __init__(self, real: Any) -> None:
                self._real = real

            def __getattr__(self, name: str) -> Any:
                return getattr(self._real, name)

            def wait_for(self, milliseconds: int) -> bool:
                return release.wait(milliseconds / 1000)

            def wait(self) -> None:
                release.wait()

        monkeypatch.setattr(
            openvino_engine._Compiled,
            "take",
            lambda self: Hanging(take(self)) if next(count) >= HANGS_AT else take(self),
        )
    elif request.param == "onnxruntime":
        opened = open_engine("onnxruntime", tiny_model)
        opened._session = Stuck(opened._session, "run", release)
    elif request.param == "torch":
        opened = open_engine("torch", read_model(tiny_checkpoint))
        opened._net = Stuck(opened._net, "__call__", release).__getattr__("__call__")
    elif request.param == "onnxruntime provider":
        monkeypatch.setattr(DirectMlEngine, "provider", "CPUExecutionProvider")
        monkeypatch.setattr(DirectMlEngine, "options", lambda self: {})
        opened = DirectMlEngine(tiny_model)
        stylize, count = OnnxRuntimeSlot.stylize, iter(range(100))

        def slow(self: OnnxRuntimeSlot, inputs: Any) -> Any:
            if next(count) >= HANGS_AT:
                release.wait(20)
            return stylize(self, inputs)

        monkeypatch.setattr(OnnxRuntimeSlot, "stylize", slow)
    else:
        monkeypatch.setenv("RTSTYLE_CACHE", str(tmp_path / "cache"))
        trt = install(monkeypatch)
        opened = TensorRtEngine(tiny_model)
        launch, count = trt.cuda.do_GraphLaunch, iter(range(100))

        def launched(graph: Any, stream: int) -> None:
            if next(count) >= HANGS_AT:
                trt.cuda.enqueue(stream, lambda: release.wait(20) and None)
            launch(graph, stream)

        monkeypatch.setattr(trt.cuda, "do_GraphLaunch", launched)
    return opened  # type: ignore[no-any-return]


def test_an_engine_that_hangs_ends_the_run_and_closes(
    engine: Engine, tiny_model: ModelSpec
) -> None:
    source = SyntheticSource(34, 30, n_frames=30)
    start = time.perf_counter()
    with engine:
        pipeline = Pipeline(source, engine, NullSink(), style=styles_of(tiny_model)[0], patience=2)
        with pytest.raises(EngineError, match=rf"The engine {engine.name} hangs: .*--engine"):
            pipeline.run()
    assert pipeline.report.frames_out == HANGS_AT
    assert time.perf_counter() - start < 15, "release comes after 20 seconds"


def test_polling_ends_when_it_is_done_or_the_time_is_over() -> None:
    answers = iter([False, False, True])
    assert poll(lambda: next(answers), 60)
    start = time.perf_counter()
    assert not poll(lambda: False, 0.05)
    assert time.perf_counter() - start >= 0.05
    assert Done(None).wait(0)  # type: ignore[arg-type]


def test_wrappers_forward_all_that_an_engine_declares() -> None:
    declared = {name for name in vars(Engine) if not name.startswith("_")}
    assert declared - {"version"} <= set(vars(DelegatingEngine))
