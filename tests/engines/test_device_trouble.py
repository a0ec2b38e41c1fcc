"""Too little memory on a GPU, and GPUs that are lost: every engine by the same means."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rtstyle.engines import EngineOptions, onnxruntime_engine, open_engine, torch_engine
from rtstyle.engines.base import Batch, Done, Pending, StyleVector
from rtstyle.engines.cuda.memory import BatchSplitter, OutOfDeviceMemoryError, is_about_memory
from rtstyle.engines.onnxruntime_engine import DirectMlEngine
from rtstyle.engines.tensorrt_engine import TensorRtEngine
from rtstyle.engines.torch_engine import TorchCudaEngine
from rtstyle.errors import EngineError
from rtstyle.media import open_sink, open_source
from rtstyle.media.synthetic import SyntheticSource
from rtstyle.model.file import read_model
from rtstyle.model.spec import ModelSpec
from rtstyle.rendering.api import render
from rtstyle.style.style import Style
from tests import graphs
from tests.engines.fake_gpu import FakeCuda, FakeTensorRt, install


def batch(count: int, height: int = 32, width: int = 48) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, height, width, 3), dtype=np.uint8)


class Device:
    """Paints the negative of at most `holds` pictures at once; `late` fails in the result."""

    def __init__(self, holds: int, *, late: bool = False) -> None:
        self.holds, self.late = holds, late
        self.painted: list[int] = []
        self.rooms = 0

    def start(self, frames: Batch, style: StyleVector | None, strength: float) -> Pending:
        if len(frames) <= self.holds:
            self.painted.append(len(frames))
            scale = 1 if style is None else style[:, :1, None, None]
            return Done(np.asarray((255 - frames) * scale, np.uint8))
        if not self.late:
            raise OutOfDeviceMemoryError("The GPU is full.")
        return _Late()

    def make_room(self) -> None:
        self.rooms += 1


class _Late:
    def wait(self, seconds: float) -> bool:
        return True

    def result(self) -> Batch:
        raise OutOfDeviceMemoryError("The GPU is full.")


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(("count", "holds"), [(1, 1), (5, 2), (7, 1), (8, 8), (3, 2)])
def test_what_does_not_fit_is_painted_in_parts(
    tiny_model: ModelSpec, count: int, holds: int, late: bool
) -> None:
    device = Device(holds, late=late)
    splitter = BatchSplitter(tiny_model, device.start, device.make_room)
    frames = batch(count)
    for _ in range(2):
        assert np.array_equal(splitter.submit(frames, None, 1.0).result(), 255 - frames)
    assert max(device.painted) <= holds
    rooms = device.rooms
    splitter.submit(frames, None, 1.0).result()
    assert device.rooms == rooms, "what fits is remembered"
    rows = np.array([[i % 2] for i in range(count)], np.float32)
    painted = splitter.submit(frames, rows, 1.0).result()
    assert np.array_equal(painted, (255 - frames) * rows[:, :, None, None].astype(np.uint8))


def test_a_single_picture_that_does_not_fit_is_an_error(tiny_model: ModelSpec) -> None:
    for late in (False, True):
        device = Device(0, late=late)
        with pytest.raises(EngineError, match="The GPU is full"):
            BatchSplitter(tiny_model, device.start, device.make_room).submit(
                batch(4), None, 1.0
            ).result()
        device = Device(1, late=late)
        fixed = replace(tiny_model, batch=4)
        with pytest.raises(EngineError, match="The GPU is full"):
            BatchSplitter(fixed, device.start, device.make_room).submit(
                batch(4), None, 1.0
            ).result()


def test_room_is_made_before_parts(tiny_model: ModelSpec) -> None:
    device = Device(0)
    splitter = BatchSplitter(tiny_model, device.start, lambda: setattr(device, "holds", 4))
    assert np.array_equal(splitter.submit(batch(4), None, 1.0).result(), 255 - batch(4))
    assert device.painted == [4]


def test_words_of_memory() -> None:
    assert is_about_memory("CUDA failure 2: out of memory ; GPU=0")
    assert is_about_memory("Failed to allocate memory for requested buffer of size 12")
    assert is_about_memory("Available memory of 1 is smaller than requested bytes of 2")
    assert not is_about_memory("an illegal memory access was encountered")


@pytest.fixture
def trt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeTensorRt:
    monkeypatch.setenv("RTSTYLE_CACHE", str(tmp_path / "cache"))
    return install(monkeypatch)


@pytest.fixture
def model(tmp_path: Path) -> ModelSpec:
    spec = ModelSpec(Path("m"), "fading", 4, ("fade",))
    return read_model(graphs.fading(tmp_path / "m.onnx", metadata={"rtstyle": spec.metadata()}))


@pytest.fixture
def small_device(trt: FakeTensorRt, monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    """A GPU of 40 kB: three slots of one 32×48 picture, or two of two, but none of five."""
    malloc = trt.cuda.do_Malloc
    room = 40_000

    real = FakeCuda.__getattr__

    def call(self: FakeCuda, name: str) -> object:
        if name != "cudaMalloc":
            return real(self, name)

        def allocate(size: int) -> tuple[int, int | None]:
            used = sum(len(block) for block in self.memory.values())
            return (2, None) if used + size > room else (0, malloc(size))

        return allocate

    monkeypatch.setattr(FakeCuda, "__getattr__", call)
    return trt.cuda


def test_tensorrt_on_a_small_device(small_device: FakeCuda, model: ModelSpec) -> None:
    """Parts are painted right, also when another size took the room; all memory is given back."""
    with TensorRtEngine(model) as engine:
        for count in (1, 5, 3):
            for size in ((32, 48), (16, 24)):
                frames = batch(count, *size)
                pending = [engine.submit(frames, None, 0.5) for _ in range(3)]
                expected = (frames * np.float32(0.5)).round().astype(np.uint8)
                assert all(np.array_equal(p.result(), expected) for p in pending)
        with pytest.raises(EngineError, match=r"Fake RTX \(cuda:0\): out of memory; paint smaller"):
            engine.submit(batch(1, 96, 96)).result()
        assert not engine.submit(batch(1)).result().any(), "smaller ones are painted all the same"
    assert not small_device.memory


def test_torch_on_a_small_device(
    tiny_checkpoint: Path, tiny_model: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Allocation fails for more than two pictures, in the slots as on a GPU."""
    make = torch_engine.TorchSlot.__init__

    def allocate(self, runner, device, model, shapes, **graph) -> None:  # type: ignore[no-untyped-def]
        if shapes["frame"][0] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.\nTry that")
        make(self, runner, device, model, shapes, **graph)

    monkeypatch.setattr(torch_engine.TorchSlot, "__init__", allocate)
    spec = read_model(tiny_checkpoint)
    with (
        open_engine(EngineOptions(name="torch", threads=1), spec) as plain,
        TorchCudaEngine(spec, gpu="cpu") as engine,
    ):
        painted = engine.submit(batch(5)).result()
        assert np.abs(painted - plain.submit(batch(5)).result().astype(int)).mean() < 1
        monkeypatch.setattr(
            torch_engine.TorchSlot,
            "__init__",
            lambda *a, **k: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory.")),
        )
        with pytest.raises(
            EngineError, match=r"1 of 24×16 on CPU: CUDA out of.*--height"
        ) as caught:
            engine.submit(batch(2, 16, 24))
        assert "\n" not in str(caught.value)


def test_onnxruntime_on_a_small_device(
    tiny_model: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The allocator's own words, in the result."""
    monkeypatch.setattr(DirectMlEngine, "provider", "CPUExecutionProvider")
    monkeypatch.setattr(DirectMlEngine, "options", lambda self: {})
    run = onnxruntime_engine.OnnxRuntimeSlot.stylize

    def small(self, inputs):  # type: ignore[no-untyped-def]
        if len(inputs["frame"]) > 2:
            raise RuntimeError(
                "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while "
                "running Conv node. Status Message: bfc_arena.cc:376 Failed to allocate memory for "
                "requested buffer of size 8294400000"
            )
        return run(self, inputs)

    monkeypatch.setattr(onnxruntime_engine.OnnxRuntimeSlot, "stylize", small)
    with (
        DirectMlEngine(tiny_model) as engine,
        open_engine(EngineOptions(name="onnxruntime", threads=1), tiny_model) as plain,
    ):
        pending = [engine.submit(batch(5)) for _ in range(2)]
        expected = plain.submit(batch(5)).result().astype(int)
        assert all(np.abs(p.result() - expected).max() <= 1 for p in pending)


@pytest.mark.parametrize("lost", ["cudaEventSynchronize", "cudaGraphLaunch", "cudaSetDevice"])
def test_a_device_lost_in_mid_run_leaves_what_was_painted(
    trt: FakeTensorRt, model: ModelSpec, tmp_path: Path, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the GPU, not what closing it fails by; the file plays."""
    clip, output = tmp_path / "in.mp4", tmp_path / "out.mp4"
    with SyntheticSource(64, 48, n_frames=12) as source, open_sink(clip, source) as sink:
        for frame in source.frames():
            sink.write(frame)
        sink.finish()

    def lose(report: object, n_frames: object) -> None:
        nonlocal painted
        painted += 1
        if painted == 4:
            trt.cuda.fail |= dict.fromkeys((lost, "cudaStreamSynchronize", "cudaSetDevice"), 719)

    painted = 0
    with pytest.raises(EngineError, match=r"Fake RTX \(cuda:0\).*unspecified"):
        render(clip, output, style=Style("fade", model), engine="tensorrt", on_frame=lose)
    trt.cuda.fail.clear()
    with open_source(output) as left:
        assert len(list(left.frames())) == painted
    assert 4 <= painted < 12
