"""Which engine and which precision; several engines as one; building in the background."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from threading import Event
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from rtstyle.engines import (
    ENGINES,
    EngineOptions,
    available_engines,
    onnxruntime_engine,
    open_engine,
    registry,
)
from rtstyle.engines.base import Done, Engine
from rtstyle.engines.half import to_half
from rtstyle.engines.onnxruntime_engine import (
    DirectMlEngine,
    OnnxRuntimeTensorRtEngine,
    mixed_installation,
)
from rtstyle.engines.torch_engine import TorchCudaEngine
from rtstyle.engines.wrappers import MultiDeviceEngine, WarmupEngine
from rtstyle.errors import EngineError, ModelError, UsageError
from rtstyle.model.file import read_model
from rtstyle.model.spec import ModelSpec
from rtstyle.model.zoo import at_precision
from rtstyle.style.parse import find_style
from tests.engines.fake_gpu import FakeTensorRt, install

ON_GPU = {name for name, row in ENGINES.items() if row.runs_on_gpu}


def batch(seed: int, height: int = 32, width: int = 48) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (1, height, width, 3), dtype=np.uint8)


@pytest.fixture
def with_half(tiny_model: ModelSpec, tmp_path: Path) -> ModelSpec:
    """A model with an fp16 variant beside it."""
    shutil.copy(tiny_model.path, tmp_path / "tiny.onnx")
    (tmp_path / "fp16").mkdir()
    onnx.save_model(to_half(onnx.load_model(tiny_model.path)), tmp_path / "fp16" / "tiny.onnx")
    return read_model(tmp_path / "tiny.onnx")


class Slow(Engine):
    """An engine that has to build, under the test's control."""

    name, device = "slow", "a GPU"

    def __init__(self, model: ModelSpec, *, fails: bool = False) -> None:
        self.model, self.fails = model, fails
        self.go, self.ready, self.closed = Event(), set[str](), False
        self.painted = 0

    def is_ready(self, shapes: dict[str, tuple[int, ...]]) -> bool:
        return repr(shapes) in self.ready

    def build(self, shapes: dict[str, tuple[int, ...]]) -> None:
        self.go.wait(10)
        if self.fails:
            raise EngineError("no memory")
        self.ready.add(repr(shapes))

    def submit(self, frames: Any, style: Any = None, strength: float = 1.0) -> Any:
        self.painted += 1
        return Done(255 - frames)

    def close(self) -> None:
        self.closed = True


def test_the_faster_engine_takes_over_without_a_lost_frame(
    tiny_model: ModelSpec, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "rtstyle")
    better = Slow(tiny_model)
    with WarmupEngine(open_engine("identity", tiny_model), better) as engine:
        early = [engine.submit(batch(i)) for i in range(5)]
        assert engine.name == "identity"
        better.go.set()
        engine.wait_until_built()
        late = [engine.submit(batch(i)) for i in range(5)]
        assert engine.name == "slow"
        other = engine.submit(batch(9, 64, 64))  # a new size is built in turn
        assert all(np.array_equal(p.result(), batch(i)) for i, p in enumerate(early))
        assert all(np.array_equal(p.result(), 255 - batch(i)) for i, p in enumerate(late))
        assert np.array_equal(other.result(), batch(9, 64, 64))
    assert better.closed
    assert better.painted == 5
    assert "slow is being built while identity paints." in caplog.messages
    assert "Engine slow on a GPU from now on." in caplog.messages


def test_what_cannot_be_built_is_said_once(
    tiny_model: ModelSpec, caplog: pytest.LogCaptureFixture
) -> None:
    better = Slow(tiny_model, fails=True)
    better.go.set()
    with WarmupEngine(open_engine("identity", tiny_model), better) as engine:
        for i in range(4):
            assert np.array_equal(engine.submit(batch(i)).result(), batch(i))
            engine.wait_until_built()
    failures = [m for m in caplog.messages if "failed" in m]
    assert failures == ["identity goes on, as slow failed: no memory"]


def test_striped_engines_keep_the_order(tiny_model: ModelSpec) -> None:
    opened = [open_engine(EngineOptions(name="openvino", threads=1), tiny_model) for _ in range(2)]
    with (
        open_engine(EngineOptions(name="openvino", threads=1), tiny_model) as alone,
        MultiDeviceEngine(opened) as engine,
    ):
        pending = [engine.submit(batch(i)) for i in range(7)]
        expected = [alone.submit(batch(i)).result() for i in range(7)]
        assert all(np.array_equal(p.result(), e) for p, e in zip(pending, expected, strict=True))
        assert engine.device == f"{opened[0].device}, {opened[1].device}"


def test_auto_on_a_device(
    with_half: ModelSpec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Paints at once on the CPU, then on the GPU, in half precision; without a dropped frame."""
    monkeypatch.setenv("RTSTYLE_CACHE", str(tmp_path / "cache"))
    trt: FakeTensorRt = install(monkeypatch)
    monkeypatch.setattr(registry, "has_nvidia_driver", lambda: True)
    with open_engine(EngineOptions(name="auto", threads=1), with_half) as engine:
        assert isinstance(engine, WarmupEngine)
        assert engine.name == "openvino"
        first = engine.submit(batch(0)).result().astype(int)
        engine.wait_until_built()
        second = engine.submit(batch(0)).result()
        assert engine.name == "tensorrt"
        assert np.abs(first - second).mean() < 1
    assert trt.builds == 1
    with open_engine(EngineOptions(name="auto", threads=1), with_half) as engine:
        engine.submit(batch(0)).result()
        assert engine.name == "tensorrt", "what is kept on disk needs no building"


def test_devices(with_half: ModelSpec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RTSTYLE_CACHE", str(tmp_path / "cache"))
    install(monkeypatch).cuda.devices = 2
    with open_engine(EngineOptions(name="tensorrt", devices=(0, 1)), with_half) as engine:
        assert engine.device == "Fake RTX (cuda:0), Fake RTX (cuda:1)"
        assert engine.model.precision == "fp16"
        pending = [engine.submit(batch(i)) for i in range(5)]
        assert len({p.result().tobytes() for p in pending}) == 5
    with pytest.raises(EngineError, match="There is no GPU 2"):
        open_engine(EngineOptions(name="tensorrt", devices=(0, 2)), with_half)
    with pytest.raises(UsageError, match="twice"):
        EngineOptions(name="tensorrt", devices=(1, 1))
    with pytest.raises(UsageError, match="does not run on a GPU"):
        EngineOptions(name="openvino", devices=(0,))
    monkeypatch.setattr(registry, "has_nvidia_driver", lambda: False)
    with pytest.raises(EngineError, match="names GPUs, and there is no NVIDIA driver here"):
        open_engine(EngineOptions(name="auto", devices=(0,)), with_half)


def test_precision(with_half: ModelSpec) -> None:
    assert at_precision(with_half, "fp32") == with_half
    assert at_precision(with_half, "fp16").path.parent.name == "fp16"
    with pytest.raises(ModelError, match="rtstyle export int8"):
        at_precision(with_half, "int8")
    with pytest.raises(UsageError, match="no precision 'fp8'; use auto, fastest, fp32"):
        EngineOptions(name="openvino", precision="fp8")
    half = EngineOptions(name="openvino", precision="fp16", threads=1)
    with open_engine(half, with_half) as engine:
        assert engine.model.path.parent.name == "fp16"
    with open_engine(EngineOptions(name="openvino", threads=1), with_half) as engine:
        assert engine.model.path == with_half.path, "auto stays in float32 on a CPU"
    fastest = EngineOptions(name="openvino", precision="fastest", threads=1)
    with open_engine(fastest, with_half) as engine:
        assert engine.model.path == with_half.path, "there is no INT8 variant"
    other = replace(with_half, stride=8)
    with pytest.raises(ModelError, match="is no variant"):
        at_precision(other, "fp16")


def test_fastest_takes_int8_where_that_is_faster() -> None:
    model = find_style("starry_night:starry_night").model
    for name, folder in (("openvino", "int8"), ("onnxruntime", "zoo")):
        with open_engine(EngineOptions(name=name, precision="fastest", threads=1), model) as engine:
            assert engine.model.path.parent.name == folder


@pytest.mark.parametrize(
    "name", [n for n in sorted(ON_GPU) if not n.startswith("torch")] + ["coreml"]
)
def test_a_named_engine_never_falls_back(name: str, tiny_model: ModelSpec) -> None:
    rows = {row.name: row for row in available_engines()}
    if rows[name].version:
        pytest.skip("this machine has it")
    with pytest.raises(EngineError) as caught:
        open_engine(name, tiny_model)
    assert "\n" not in str(caught.value)


def test_a_provider_that_is_listed_but_does_not_load(
    tiny_model: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the GPU build does on a machine that lacks a library: it paints on the CPU instead."""
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    make = ort.InferenceSession
    monkeypatch.setattr(
        ort,
        "InferenceSession",
        lambda *a, **k: make(*a, **k | {"providers": ["CPUExecutionProvider"]}),
    )
    with pytest.raises(EngineError, match="CUDAExecutionProvider is listed but did not load"):
        open_engine("onnxruntime-cuda", tiny_model)


def test_libraries_are_loaded_before_a_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA's, which the provider would not find, and the TensorRT that it links, no other."""
    loaded: list[str] = []
    provider = OnnxRuntimeTensorRtEngine.provider
    monkeypatch.setattr(ort, "get_available_providers", lambda: [provider])
    monkeypatch.setattr(ort, "preload_dlls", lambda: loaded.append("CUDA"), raising=False)
    onnxruntime_engine._preload.cache_clear()
    tensorrt = ModuleType("tensorrt")
    monkeypatch.setitem(sys.modules, "tensorrt", tensorrt)
    for version in ("11.4.0", "9.3.0"):
        vars(tensorrt)["__version__"] = version
        with pytest.raises(EngineError, match=f"needs TensorRT 10, not {version}; pip install"):
            OnnxRuntimeTensorRtEngine.version()
    vars(tensorrt)["__version__"] = "10.15.1"
    assert OnnxRuntimeTensorRtEngine.version() == ort.__version__
    assert loaded == ["CUDA"], "once"


def test_a_provider_paints_by_a_thread_of_its_own(
    tiny_model: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session and the size handling of all providers, with the CPU's in their place."""
    monkeypatch.setattr(DirectMlEngine, "provider", "CPUExecutionProvider")
    monkeypatch.setattr(DirectMlEngine, "options", lambda self: {})
    with (
        DirectMlEngine(tiny_model) as engine,
        open_engine(EngineOptions(name="onnxruntime", threads=1), tiny_model) as plain,
    ):
        sizes = [(32, 48), (64, 32), (32, 32), (48, 48), (64, 64), (32, 48)]
        pending = [engine.submit(batch(0, *size)) for size in sizes]
        for size, p in zip(sizes, pending, strict=True):
            expected = plain.submit(batch(0, *size)).result().astype(int)
            assert np.abs(p.result() - expected).max() <= 1
        with pytest.raises(EngineError, match="directml failed on a batch"):
            engine.submit(batch(0, 4, 4)).result()


def test_two_builds_of_onnxruntime_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    assert mixed_installation() == ""
    monkeypatch.setattr(metadata, "version", lambda name: "1")
    assert "onnxruntime and onnxruntime-gpu" in mixed_installation()


def test_torch_for_gpus_paints_as_on_the_cpu(tiny_checkpoint: Path) -> None:
    """The engine's own code on the CPU: half precision, fused norms, slots."""
    model = read_model(tiny_checkpoint)
    with (
        open_engine(EngineOptions(name="torch", threads=1), model) as plain,
        TorchCudaEngine(model, gpu="cpu") as engine,
    ):
        batches = [batch(i) for i in range(7)] + [255 - batch(0) // 100]
        pending = [engine.submit(b) for b in batches]
        for b, p in zip(batches, reversed([q.result() for q in pending[::-1]]), strict=True):
            difference = np.abs(plain.submit(b).result().astype(int) - p)
            assert difference.mean() < 1
    if not torch.cuda.is_available():
        with pytest.raises(EngineError, match="sees no CUDA GPU"):
            open_engine("torch-cuda", model)
