"""The TensorRT engine on a GPU made of this computer's memory; see `fake_gpu`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from rtstyle.engines.cuda.device import Cuda
from rtstyle.engines.tensorrt_engine import TensorRtEngine
from rtstyle.errors import EngineError
from rtstyle.model.file import read_model
from rtstyle.model.spec import ModelSpec
from tests import graphs
from tests.engines.fake_gpu import FakeTensorRt, install


@pytest.fixture
def trt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeTensorRt:
    monkeypatch.setenv("RTSTYLE_CACHE", str(tmp_path / "cache"))
    return install(monkeypatch)


@pytest.fixture
def model(tmp_path: Path) -> ModelSpec:
    """A model with two styles: the first copies, the second paints black."""
    spec = ModelSpec(Path("m"), "cin", 4, ("copy", "black"), style_size=2)
    return read_model(graphs.dimming(tmp_path / "m.onnx", metadata={"rtstyle": spec.metadata()}))


@pytest.fixture
def engine(trt: FakeTensorRt, model: ModelSpec) -> Iterator[TensorRtEngine]:
    with TensorRtEngine(model) as engine:
        yield engine
    assert not trt.cuda.memory, "everything on the GPU is freed"


COPY, BLACK = (np.array([row], np.float32) for row in ([1, 0], [0, 1]))


def batch(seed: int, height: int = 8, width: int = 12) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (1, height, width, 3), dtype=np.uint8)


def test_many_batches_on_their_way_keep_their_own_pictures(
    engine: TensorRtEngine, trt: FakeTensorRt
) -> None:
    """More than there are slots, asked for in any order, each with its own style."""
    trt.cuda.delay = 0.002
    batches = [batch(i) for i in range(12)]
    pending = [engine.submit(b, BLACK if i % 3 == 2 else COPY) for i, b in enumerate(batches)]
    for i in np.random.default_rng(0).permutation(12):
        expected = batches[i] if i % 3 != 2 else np.zeros_like(batches[i])
        assert np.array_equal(pending[i].result(), expected)
        assert np.array_equal(pending[i].result(), expected)
    assert trt.cuda.launches == 12, "one launch a batch"


def test_results_are_taken_by_another_thread(engine: TensorRtEngine) -> None:
    pending: list = []
    seen: list = []

    def take() -> None:
        while len(seen) < 30:
            if pending:
                seen.append(pending.pop(0).result())

    thread = Thread(target=take)
    thread.start()
    pending.extend(engine.submit(batch(i), COPY) for i in range(30))
    thread.join(20)
    assert all(np.array_equal(seen[i], batch(i)) for i in range(30))


def test_sizes_in_turn_and_what_was_dropped(engine: TensorRtEngine) -> None:
    sizes = [(8, 12), (4, 4), (8, 8), (16, 8), (4, 8), (8, 12), (4, 4)]
    pending = [engine.submit(batch(0, *size), COPY) for size in sizes]  # four are kept ready
    for size, p in zip(sizes, pending, strict=True):
        assert np.array_equal(p.result(), batch(0, *size))
    engine.submit(batch(1), COPY)  # nobody asks for it


def test_plans_are_kept_and_made_again_where_they_are_bad(
    trt: FakeTensorRt, model: ModelSpec, tmp_path: Path
) -> None:
    def paint() -> int:
        with TensorRtEngine(model) as engine:
            assert np.array_equal(engine.submit(batch(0), COPY).result(), batch(0))
        return trt.builds

    assert paint() == 1
    assert paint() == 1
    (plan,) = (tmp_path / "cache" / "engines").glob("*.plan")
    plan.write_bytes(plan.read_bytes()[:-50])
    assert paint() == 2, "a truncated plan is made again"
    trt.__version__ = "11.5.0"
    assert paint() == 3, "one of another version too"
    trt.cuda.driver = 13010
    assert paint() == 4
    for path in (tmp_path / "cache" / "engines").glob("*.plan"):
        stale = b"stale, though its sum is right"
        path.write_bytes(hashlib.sha256(stale).digest() + stale)
    assert paint() == 5, "and what the runtime refuses"
    assert (tmp_path / "cache" / "engines").is_dir()


def test_a_cache_that_cannot_be_written_is_no_error(
    trt: FakeTensorRt, model: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("RTSTYLE_CACHE", str(tmp_path / "file"))
    with TensorRtEngine(model) as engine:
        assert np.array_equal(engine.submit(batch(0), COPY).result(), batch(0))


def test_without_a_graph_it_paints_piece_by_piece(trt: FakeTensorRt, model: ModelSpec) -> None:
    trt.capturable = False
    with TensorRtEngine(model) as engine:
        pending = [engine.submit(batch(i), COPY) for i in range(5)]
        assert all(np.array_equal(p.result(), batch(i)) for i, p in enumerate(pending))
    assert not trt.cuda.launches


def test_a_lost_device_is_named(trt: FakeTensorRt, model: ModelSpec) -> None:
    with TensorRtEngine(model) as engine:
        good = engine.submit(batch(0), COPY)
        assert np.array_equal(good.result(), batch(0))
        bad = engine.submit(batch(1), COPY)
        trt.cuda.fail["cudaEventSynchronize"] = 719
        with pytest.raises(
            EngineError, match=r"Fake RTX \(cuda:0\) failed on a batch.*unspecified"
        ):
            bad.result()
        del trt.cuda.fail["cudaEventSynchronize"]


def test_too_little_memory_is_a_sentence(trt: FakeTensorRt, model: ModelSpec) -> None:
    with TensorRtEngine(model) as engine:
        trt.cuda.fail["cudaMalloc"] = 2
        with pytest.raises(
            EngineError, match=r"out of memory; paint smaller pictures \(--height\)"
        ):
            engine.submit(batch(0), COPY)
        del trt.cuda.fail["cudaMalloc"]
        assert np.array_equal(engine.submit(batch(0), COPY).result(), batch(0))
    assert not trt.cuda.memory


@pytest.mark.parametrize(
    ("driver", "devices", "device", "says"),
    [
        (0, 1, 0, "no NVIDIA driver"),
        (11080, 1, 0, "supports CUDA 11.8; at least 12.0"),
        (13000, 0, 0, "no GPU 0; CUDA sees 0"),
        (13000, 2, 2, "no GPU 2; CUDA sees 2"),
    ],
)
def test_gpus_and_drivers(
    trt: FakeTensorRt, driver: int, devices: int, device: int, says: str
) -> None:
    trt.cuda.driver, trt.cuda.devices = driver, devices
    with pytest.raises(EngineError, match=says):
        Cuda(device)


def test_a_model_that_cannot_be_parsed(trt: FakeTensorRt, model: ModelSpec) -> None:
    with TensorRtEngine(model) as engine:
        model.path.write_bytes(b"nothing")
        with pytest.raises(EngineError, match=r"tensorrt 11.4.0.106 cannot read m.onnx"):
            engine.submit(batch(0), COPY)
    trt.__version__ = "8.6.1"
    with pytest.raises(EngineError, match="too old"):
        TensorRtEngine(model)
