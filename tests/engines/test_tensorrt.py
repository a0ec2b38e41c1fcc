"""The TensorRT engine on a GPU made of this computer's memory; see `fake_gpu`."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from rtstyle.engines import EngineOptions, half, open_engine
from rtstyle.engines.cuda import device
from rtstyle.engines.cuda.device import Cuda
from rtstyle.engines.half import HALF, element_types
from rtstyle.engines.tensorrt_engine import TensorRtEngine, TensorRtRtxEngine
from rtstyle.errors import EngineError
from rtstyle.image import padded_size
from rtstyle.model.file import read_model
from rtstyle.model.spec import ModelSpec
from rtstyle.model.zoo import shipped_folder
from tests import graphs
from tests.engines import fake_gpu
from tests.engines.fake_gpu import FakeCuda, FakeTensorRt, install, install_rtx


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


@pytest.mark.parametrize("size", [(10, 13), (12, 9), (3, 2)])
def test_pictures_are_padded_where_they_are_copied(
    engine: TensorRtEngine, trt: FakeTensorRt, size: tuple[int, int]
) -> None:
    """Every size is painted as `prepare` pads it, and comes back as it was."""
    assert engine.pads
    padded = padded_size(*size, engine.model)
    addresses: set[int] = set(trt.cuda.memory)
    frames = batch(0, *size).repeat(2, axis=0)
    assert np.array_equal(engine.submit(frames, COPY).result(), frames)
    shape = (2, *padded, 3)
    buffers = [
        np.frombuffer(block, np.uint8).reshape(shape)
        for address, block in trt.cuda.memory.items()
        if address not in addresses and len(block) == int(np.prod(shape))
    ]
    borders = [(0, 0), (0, padded[0] - size[0]), (0, padded[1] - size[1]), (0, 0)]
    expected = np.pad(frames, borders, mode="reflect")
    assert sum(np.array_equal(buffer, expected) for buffer in buffers) >= 3, "pinned, in, out"


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
    shapes = model.input_shapes(1, 8, 12)
    with TensorRtEngine(model) as engine:
        assert not engine.is_ready(shapes)
        engine.build(shapes)
        assert engine.is_ready(shapes), "what is in memory is ready"
        for size in [(8, 12), (4, 4), (8, 8), (16, 8), (4, 8), (8, 12)]:  # four are kept ready
            assert np.array_equal(engine.submit(batch(0, *size), COPY).result(), batch(0, *size))
    assert trt.builds == 5, "each of the five sizes once"


def test_rtx_keeps_its_kernels_and_runs_in_memory_given_to_it(
    trt: FakeTensorRt, model: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    rtx = install_rtx(monkeypatch, trt)

    def paint() -> int:
        with TensorRtRtxEngine(model) as engine:
            assert np.array_equal(engine.submit(batch(0), COPY).result(), batch(0))
            runner = engine.runner(model.input_shapes(1, 8, 12))
            del runner
        assert not trt.cuda.memory, "everything on the GPU is freed"
        return rtx.compiled

    assert paint() == 1
    assert rtx.flags == ["user allocation"]
    assert paint() == 1, "the next start compiles nothing"
    rtx.knows_kernels = False
    assert paint() == 2, "kernels of another driver are compiled anew"
    assert rtx.builds == 1
    assert trt.cuda.launches == 3, "in a graph each time"


@pytest.mark.parametrize("call", ["set_input_shape", "set_tensor_address"])
def test_what_the_runtime_refuses_is_an_error(
    trt: FakeTensorRt, model: ModelSpec, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake_gpu._Context, call, lambda *arguments: False)
    with (
        TensorRtEngine(model) as engine,
        pytest.raises(EngineError, match=r"takes no|does not take"),
    ):
        engine.submit(batch(0), COPY)
    assert not trt.cuda.memory


def test_a_gpu_that_a_runtime_does_not_know(
    trt: FakeTensorRt, model: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_rtx(monkeypatch, trt)
    trt.cuda.capability = (9, 0)
    TensorRtEngine(model).close()
    with pytest.raises(EngineError, match=r"tensorrt-rtx .* capability 9.0; use --engine tensorrt"):
        TensorRtRtxEngine(model)
    trt.cuda.capability = (6, 1)
    with pytest.raises(EngineError, match=r"tensorrt .* capability 6.1; use --engine torch-cuda"):
        TensorRtEngine.version()


def test_gpus_of_two_kinds_have_plans_of_their_own(trt: FakeTensorRt, model: ModelSpec) -> None:
    trt.cuda.devices, trt.cuda.names = 2, {1: b"Other RTX"}
    options = EngineOptions(name="tensorrt", devices=(0, 1), precision="fp32")
    with open_engine(options, model) as engine:
        pending = [engine.submit(batch(i), COPY) for i in range(4)]
        assert all(np.array_equal(p.result(), batch(i)) for i, p in enumerate(pending))
        assert engine.device == "Fake RTX (cuda:0), Other RTX (cuda:1)"
    assert trt.builds == 2


class Driver:
    """The CUDA driver as `share_context` calls it; GPU 1 is in use with other flags."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.flags = {0: 0, 1: 0}

    def cuInit(self, flags: int) -> int:  # noqa: N802  # as CUDA names it
        self.calls.append("init")
        return 0

    def __getattr__(self, name: str) -> Callable[..., int]:
        def call(*arguments: Any) -> int:
            self.calls.append(name)
            if name == "cuDeviceGetCount":
                arguments[0]._obj.value = 2
            elif name == "cuDeviceGet":
                arguments[0]._obj.value = arguments[1]
            elif name == "cuDevicePrimaryCtxSetFlags_v2":
                if arguments[0].value == 1:
                    return 708  # the primary context is active
                self.flags[arguments[0].value] = arguments[1]
            return 0

        return call


def test_the_context_is_one_that_ffmpeg_shares(
    trt: FakeTensorRt,
    model: ModelSpec,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "rtstyle")
    driver = Driver()
    monkeypatch.setattr(device.ctypes, "CDLL", lambda name: driver)
    set_device = trt.cuda.do_SetDevice
    monkeypatch.setattr(
        FakeCuda, "do_SetDevice", lambda self, number: driver.calls.append("CUDA") or set_device(0)
    )
    with open_engine(EngineOptions(name="tensorrt", precision="fp32"), model):
        pass
    assert driver.flags == {0: 4, 1: 0}, "CU_CTX_SCHED_BLOCKING_SYNC"
    assert driver.calls.index("cuDevicePrimaryCtxSetFlags_v2") < driver.calls.index("CUDA")
    assert caplog.messages[0].startswith("GPU 1 was in use with other flags")


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
        (12080, 1, 0, "supports CUDA 12.8, but cuda-bindings is for CUDA 13; upgrade .* 580"),
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


@pytest.mark.parametrize("path", sorted(shipped_folder().glob("*.onnx")), ids=lambda p: p.stem)
def test_every_shipped_model_is_loaded_in_half(
    path: Path, trt: FakeTensorRt, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What TensorRT gets, not what the engine says."""
    loaded: list[onnx.ModelProto] = []

    class Parser(fake_gpu._Parser):
        def parse(self, content: bytes) -> bool:
            loaded.append(onnx.load_model_from_string(content))
            return super().parse(content)

    monkeypatch.setattr(trt, "OnnxParser", Parser)
    with open_engine("tensorrt", read_model(path)) as engine:
        assert isinstance(engine, TensorRtEngine)
        engine.build(engine.model.input_shapes(1, 64, 96))
        assert engine.precision == "fp16"
    (graph,) = loaded
    _require_half(graph)


def _require_half(graph: onnx.ModelProto) -> None:
    kinds = element_types(graph)
    convolutions = [kinds[n.output[0]] for n in graph.graph.node if n.op_type == "Conv"]
    assert convolutions
    assert set(convolutions) == {HALF}


def test_an_imported_model_is_loaded_in_half(
    trt: FakeTensorRt,
    tiny_model: ModelSpec,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Derived once and kept; also where nothing can be kept. Without onnx it says so."""
    with open_engine("tensorrt", tiny_model) as engine:
        kept = engine.model.path
        assert kept.parent == tmp_path / "cache" / "models"
        _require_half(onnx.load_model(kept))
    monkeypatch.setattr(half, "to_half", None)  # not called again
    with open_engine("tensorrt", tiny_model) as engine:
        assert engine.model.path == kept
    monkeypatch.undo()
    install(monkeypatch)
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("RTSTYLE_CACHE", str(tmp_path / "file"))
    with open_engine("tensorrt", tiny_model) as engine:
        _require_half(onnx.load_model(engine.model.path))
        assert engine.precision == "fp16"
    monkeypatch.setitem(sys.modules, "rtstyle.engines.half", None)
    with open_engine("tensorrt", tiny_model) as engine:
        assert engine.precision == "fp32"
    assert "tensorrt paints in float32" in caplog.messages[-1]
    assert "pip install onnx" in caplog.messages[-1]


def test_weights_beyond_half_precision_stay_float(
    trt: FakeTensorRt, tiny_model: ModelSpec, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    graph = onnx.load_model(tiny_model.path)
    weights = next(t for t in graph.graph.initializer if len(t.dims) == 4)
    weights.CopyFrom(numpy_helper.from_array(np.full(weights.dims, 1e5, np.float32), weights.name))
    onnx.save_model(graph, tmp_path / "large.onnx")
    with open_engine("tensorrt", read_model(tmp_path / "large.onnx")) as engine:
        assert engine.precision == "fp32"
    assert "weights beyond half precision" in caplog.messages[-1]
