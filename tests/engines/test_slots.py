"""Batches that stay on the GPU: on a fake GPU, by torch and ONNX Runtime on the processor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rtstyle.bench.case import Case
from rtstyle.bench.levels import engine_level
from rtstyle.engines.base import Engine
from rtstyle.engines.onnxruntime_engine import OnnxRuntimeCudaEngine, OnnxRuntimeEngine
from rtstyle.engines.tensorrt_engine import TensorRtEngine
from rtstyle.errors import EngineError
from rtstyle.model.file import read_model
from rtstyle.model.spec import ModelSpec
from rtstyle.style.style import Style, styles_of
from tests import graphs
from tests.engines.fake_gpu import FakeTensorRt, install

COPY, BLACK = (np.array([row], np.float32) for row in ([1, 0], [0, 1]))
FRAMES = np.random.default_rng(0).integers(0, 256, (2, 8, 12, 3), dtype=np.uint8)


@pytest.fixture
def model(tmp_path: Path) -> ModelSpec:
    """A model with two styles: the first copies, the second paints black."""
    spec = ModelSpec(Path("m"), "cin", 4, ("copy", "black"), style_size=2)
    return read_model(graphs.dimming(tmp_path / "m.onnx", metadata={"rtstyle": spec.metadata()}))


@pytest.fixture
def trt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeTensorRt:
    monkeypatch.setenv("RTSTYLE_CACHE", str(tmp_path / "cache"))
    return install(monkeypatch)


class ByProcessor(OnnxRuntimeCudaEngine):
    """The same code with this computer's memory in place of a GPU's."""

    provider, memory = "CPUExecutionProvider", "cpu"

    def options(self) -> dict[str, str]:
        return {}


@pytest.fixture(params=["tensorrt", "tensorrt without graphs", "torch-cuda", "onnxruntime-cuda"])
def engine(
    request: pytest.FixtureRequest, trt: FakeTensorRt, model: ModelSpec, tiny_checkpoint: Path
) -> Iterator[Engine]:
    made: Engine
    if request.param == "torch-cuda":
        from rtstyle.engines.torch_engine import TorchCudaEngine

        made = TorchCudaEngine(read_model(tiny_checkpoint), gpu="cpu")
    elif request.param == "onnxruntime-cuda":
        made = ByProcessor(model)
    else:
        trt.capturable = request.param == "tensorrt"
        made = TensorRtEngine(model)
    with made:
        yield made
    assert not trt.cuda.memory, "everything on the GPU is freed"


def test_what_stays_is_painted_and_timed(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "rtstyle")  # records that are kept keep no slot
    for style in (COPY, BLACK) if engine.model.style_size else (None,):
        slot = engine.open_slot(FRAMES, style)
        assert slot is not None
        with slot:
            times = slot.time_run_ms(5)
            assert len(times) == 5
            assert all(time > 0 for time in times)
            assert len(slot.time_run_ms(1)) == 1
            painted = slot.download()
        assert np.array_equal(painted, engine.submit(FRAMES, style).result())


def test_results_are_lent_while_slots_are_left(trt: FakeTensorRt, model: ModelSpec) -> None:
    with TensorRtEngine(model) as engine:
        batches = [np.roll(FRAMES, i, axis=2) for i in range(8)]
        kept = [engine.submit(each, COPY).result() for each in batches]
        assert [array.flags.owndata for array in kept] == [False] * 2 + [True] * 6
        part = kept[0][:, 2:]  # a view keeps the slot as well
        del kept
        again = [engine.submit(each, COPY).result() for each in batches[4:]]
        assert [array.flags.owndata for array in again] == [False] + [True] * 3
        assert all(np.array_equal(*pair) for pair in zip(again, batches[4:], strict=True))
        assert np.array_equal(part, FRAMES[:, 2:])
    assert np.array_equal(part, FRAMES[:, 2:]), "also when the engine is closed"
    assert trt.cuda.memory
    del part, again
    assert not trt.cuda.memory


def test_nothing_is_copied_while_it_is_timed(trt: FakeTensorRt, model: ModelSpec) -> None:
    with TensorRtEngine(model) as engine:
        slot = engine.open_slot(FRAMES, COPY)
        assert slot is not None
        with slot:
            trt.cuda.fail["cudaMemcpyAsync"] = 719
            assert len(slot.time_run_ms(20)) == 20
            with pytest.raises(EngineError, match="MemcpyAsync"):
                slot.download()
            del trt.cuda.fail["cudaMemcpyAsync"]


def test_a_lost_device_is_reported(trt: FakeTensorRt, model: ModelSpec) -> None:
    with TensorRtEngine(model) as engine:
        slot = engine.open_slot(FRAMES, COPY)
        assert slot is not None
        with slot:
            trt.cuda.fail["cudaEventSynchronize"] = 719
            with pytest.raises(EngineError, match="unspecified"):
                slot.time_run_ms(1)
            del trt.cuda.fail["cudaEventSynchronize"]


def test_a_processor_has_nothing_to_bring(tiny_model: ModelSpec) -> None:
    with OnnxRuntimeEngine(tiny_model) as engine:
        assert engine.open_slot(FRAMES) is None


def case(**more: object) -> Case:
    fields = {"width": 12, "height": 8, "seconds": 0.05, "burn_in": 0.0}
    return Case(level="engine", style="s", **(fields | more))  # type: ignore[arg-type]


def test_the_engine_level_is_measured_where_pictures_stay(
    trt: FakeTensorRt, model: ModelSpec
) -> None:
    trt.cuda.delay = 0.004
    began: list[int] = []
    with TensorRtEngine(model) as engine:
        timing = engine_level(
            case(batch=2), engine, Style("s", model, COPY), lambda: began.append(1)
        )
    assert timing.latency_of == "one batch that stays on the GPU, between CUDA events"
    assert all(time >= 4 for time in timing.latencies_ms)
    assert 100 < timing.fps <= 500, "two pictures in four milliseconds and what a thread adds"
    assert began == [1]


def test_a_fast_wrong_answer_is_no_figure(
    trt: FakeTensorRt, model: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong(TensorRtEngine):
        def open_slot(self, frames, style=None, strength=1.0):  # type: ignore[no-untyped-def]
            return super().open_slot(frames, BLACK, strength)

    with Wrong(model) as engine, pytest.raises(EngineError, match="painted differently"):
        engine_level(case(), engine, Style("s", model, COPY))


def test_without_a_device_it_is_submitted(tiny_model: ModelSpec) -> None:
    (style,) = styles_of(tiny_model)
    with OnnxRuntimeEngine(tiny_model) as engine:
        timing = engine_level(case(width=64, height=48), engine, style)
    assert timing.latency_of == "one batch, from submit to result"
