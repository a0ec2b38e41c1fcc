"""`rtstyle gpu-check` without a GPU: an engine that works passes every row, and each planted fault
makes its own row fail."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from rtstyle.bench import gpu_check, gpu_engine_checks, gpu_media_checks
from rtstyle.bench.case import Case
from rtstyle.bench.document import read_document
from rtstyle.bench.gpu_check import MEDIA
from rtstyle.bench.gpu_engine_checks import CHECKS, Plan, Subject
from rtstyle.bench.result import (
    ABSENT,
    FAIL,
    PASS,
    Check,
    Histogram,
    Measured,
    Missing,
    Quantiles,
)
from rtstyle.engines.base import Done, Engine
from rtstyle.engines.cuda.memory import OutOfDeviceMemoryError
from rtstyle.errors import EngineError, MediaError
from rtstyle.model.file import read_model
from rtstyle.model.spec import ModelSpec
from rtstyle.style.style import Style
from tests import graphs
from tests.cli.test_cli import run
from tests.engines.test_device_frames import on_gpu, smooth

PLAN = Plan(styles=("copy", "grey"), size=(32, 48), seconds=0.05)
FREE_MEMORY = 1 << 30


class Slot:
    """Run 4 ms, upload and download 1 ms each; see `Working.fps`."""

    clock = "between CUDA events"

    def __enter__(self) -> Slot:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def time_run_ms(self, count: int) -> list[float]:
        return [4.0] * count

    def upload(self, inputs: Any) -> None:
        pass

    def download(self) -> None:
        pass


class Working(Engine):
    """A GPU's engine that does all it should. `fault` names what it does wrong."""

    name, device, precision = "torch-cuda", "Test GPU (cuda:0)", "fp16"
    fps = 1e3 / 4.2
    fault = ""

    def __init__(self, model: ModelSpec, options: object = None, *, compile_net: bool = False):
        self.model = replace(model, takes_strength=True)
        self.count, self.last = 0, (np.ones((1, 2), np.float32), 1.0)
        if compile_net and self.fault == "torch.compile":
            raise EngineError("Triton finds no compiler.")

    @classmethod
    def version(cls) -> str:
        return "1.0"

    def _paint(self, frames: Any, style: Any, strength: float) -> Any:
        self.count += 1
        if self.fault == "style change" and self.count > 2:  # as a graph that keeps its inputs
            style = self.last[0]
        if self.fault == "strength change" and self.count > 3:
            strength = self.last[1]
        self.last = style, strength
        kept = style[:, :1, None, None]
        painted = (frames * (1 + (kept - 1) * strength)).round().astype(np.uint8)
        if self.fault == "build":
            return np.full_like(frames, 128)
        if self.fault == "parity":
            return np.clip(painted.astype(int) + 2, 0, 255).astype(np.uint8)
        if self.fault == "repeatability":
            return painted ^ np.uint8(self.count % 2)
        if self.fault == "sizes" and self.count > 5 and frames.shape[1] > 16:
            return painted ^ np.uint8(1)
        return painted

    def submit(self, frames: Any, style: Any = None, strength: float = 1.0) -> Done:
        if self.memory["free"] < 0:
            raise OutOfDeviceMemoryError("The GPU's memory is full.")
        painted = self._paint(frames, style, strength)
        if self.memory["was full"] and self.fault == "memory taken":
            painted = np.zeros_like(painted)
        return Done(painted)

    def takes_device_image(self, image: Any) -> bool:
        return True

    def submit_device(self, image: Any, style: Any = None, strength: float = 1.0) -> Any:
        painted = self._paint(image.download()[None], style, strength)[0]
        if self.fault == "zero-copy":
            painted = np.flip(painted, 0)
        return SimpleNamespace(result=lambda: SimpleNamespace(download=lambda: painted))

    def open_slot(self, frames: Any, style: Any = None, strength: float = 1.0) -> Any:
        return Slot()

    def close(self) -> None:
        pass

    memory: ClassVar[dict[str, float]] = {}


class Cuda:
    """Memory of a GPU of `FREE_MEMORY` bytes."""

    def __init__(self, device: int) -> None:
        Working.memory.update(free=FREE_MEMORY)

    def malloc(self, size: int) -> int:
        if size > Working.memory["free"]:
            Working.memory["was full"] = 1
            if size == 1 << 20:
                Working.memory["free"] = -1
            raise OutOfDeviceMemoryError("out of memory")
        Working.memory["free"] -= size
        return size

    def call(self, name: str, address: int) -> None:
        Working.memory["free"] = FREE_MEMORY


@pytest.fixture
def working(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Working]]:
    spec = ModelSpec(Path("m"), "cin", 4, ("copy", "black"), style_size=2)
    path = graphs.dimming(tmp_path / "m.onnx", metadata={"rtstyle": spec.metadata()})
    model = read_model(path)
    styles = {
        name: Style(name, model, np.array([[kept, 1 - kept]], np.float32))
        for name, kept in (("copy", 1.0), ("grey", 0.5))
    }
    for module in (gpu_check, gpu_engine_checks):
        monkeypatch.setattr(module, "find_style", styles.__getitem__)
        monkeypatch.setattr(module, "load_engine_class", lambda name: Working)
    monkeypatch.setattr(gpu_check, "open_engine", lambda options, model: Working(model))
    monkeypatch.setattr(gpu_engine_checks, "frame_rate", lambda *a, **k: Working.fps)
    monkeypatch.setattr(gpu_engine_checks, "_timed_ms", lambda call: call() or 1.0)
    monkeypatch.setattr(gpu_engine_checks, "Cuda", Cuda)
    monkeypatch.setattr(Subject, "device_image", on_gpu(smooth(32, 48)))
    monkeypatch.setattr(Working, "memory", {"free": 0, "was full": 0})
    return Working


def rows(name: str = "torch-cuda") -> dict[str, Check]:
    return {row.check: row for row in gpu_check.check_engine(name, PLAN)}


def test_an_engine_that_works_passes_everything(working: type[Working]) -> None:
    found = rows()
    assert list(found) == ["start", *CHECKS]
    assert {row.check: row.reason for row in found.values() if row.status != PASS} == {}
    assert found["overlap"].figures["hidden"] == pytest.approx(0.9)
    assert found["memory taken"].figures == {"refused": 1.0}
    assert found["sizes"].figures == {"sizes": 5.0}
    assert found["torch.compile"].figures == {"fps": 250.0, "compiled_fps": 250.0}


FAULTS = [
    ("build", "one flat colour"),
    ("parity", "differ by 2.00 grey levels"),
    ("repeatability", "another picture, by up to"),
    ("style change", "a changed style gives another picture|two styles paint the same"),
    ("strength change", "a changed strength|strengths of 0 and 1 paint the same"),
    ("sizes", "a size that came back"),
    ("zero-copy", "is off by"),
    ("memory taken", "memory given back gives another picture"),
    ("torch.compile", "Triton finds no compiler"),
]


@pytest.mark.parametrize(("fault", "says"), FAULTS)
def test_a_planted_fault_fails_its_row(
    working: type[Working], fault: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Working, "fault", fault)
    subject = Subject(Working(gpu_check.find_style("copy").model), PLAN)
    row = gpu_check.run_check("torch-cuda", fault, lambda: CHECKS[fault](subject))
    assert row.status == FAIL
    assert any(part in row.reason for part in says.split("|")), row.reason


TRAITS = [
    ("precision", "fp32", "precision", "it paints in fp32, not in fp16"),
    ("fps", 1e3 / 5.9, "overlap", "5% of the copies is hidden"),
]


@pytest.mark.parametrize(("attribute", "value", "check", "says"), TRAITS)
def test_a_wrong_trait_fails_its_row(
    working: type[Working], attribute: str, value: Any, check: str, says: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(Working, attribute, value)
    row = rows()[check]
    assert row.status == FAIL
    assert says in row.reason


def test_every_check_has_a_planted_fault() -> None:
    assert {fault for fault, _ in FAULTS} | {check for _, _, check, _ in TRAITS} == set(CHECKS)


def test_what_is_missing_is_absent_and_what_breaks_fails(
    working: type[Working], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> Engine:
        raise EngineError("It is not here.")

    assert rows("torch-tensorrt")["start"].status == ABSENT, "no program"
    monkeypatch.setattr(gpu_check, "open_engine", refuse)
    assert [(row.check, row.status) for row in rows().values()] == [("start", FAIL)]
    monkeypatch.setattr(Working, "version", refuse)
    (row,) = rows().values()
    assert (row.status, row.reason) == (ABSENT, "It is not here.")


def test_decoding_and_encoding(working: type[Working], monkeypatch: pytest.MonkeyPatch) -> None:
    frames = {"none": [smooth(32, 48)] * 12}

    def decoded(clip: Path, hwaccel: str) -> list[Any]:
        if hwaccel not in frames:
            raise MediaError("it cannot be decoded on a GPU")
        return frames[hwaccel]

    monkeypatch.setattr(gpu_media_checks, "_decoded", decoded)
    monkeypatch.setattr(gpu_media_checks, "device_encoder", lambda *a: None)
    for driver, status in ((False, ABSENT), (True, FAIL)):
        monkeypatch.setattr(gpu_media_checks, "has_nvidia_driver", lambda driver=driver: driver)
        found = rows(MEDIA)
        assert (found["decoding"].status, found["encoding"].status) == (status, ABSENT)
    monkeypatch.setattr(gpu_media_checks, "device_encoder", lambda *a: "libx264")
    for got, status in (
        (frames["none"], PASS),
        (frames["none"][:-1], FAIL),
        ([255 - frame for frame in frames["none"]], FAIL),
    ):
        frames["cuda"] = got
        assert rows(MEDIA)["decoding"].status == status
    assert rows(MEDIA)["encoding"].status == PASS
    monkeypatch.setattr(gpu_media_checks, "_LOSSY", -1.0)
    assert rows(MEDIA)["encoding"].status == FAIL


def test_a_process_that_dies_is_a_row(
    working: type[Working], monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(module: str, arguments: list[str], limit_s: float) -> str:
        Path(arguments[2]).write_text(json.dumps({"engine": "e", "check": "build", "status": PASS}))
        return "its process was ended by SIGSEGV"

    monkeypatch.setattr(gpu_check, "run_process", die)
    last = gpu_check.check_in_process("tensorrt", PLAN)[-1]
    assert (last.check, last.status) == ("process", FAIL)
    assert last.reason == "its process was ended by SIGSEGV after 'build'"


def test_speeds_are_rows() -> None:
    case = Case(level="engine", style="s", engine="tensorrt", width=1280, height=720)
    times = Quantiles(1.0, 2.0, 3.0, 1.5, 4.0, 9)
    measured = Measured(
        case, "tensorrt", "1", "GPU", "m.onnx", "0", 900.0, "runs", times,
        Histogram((0.0, 1.0), (1,)), sm_mhz=1980.0, unmeasured={"watts": "NVML: Not Supported"},
    )  # fmt: skip
    row = gpu_check.speed_row(measured)
    assert (row.status, row.check, row.reason) == (PASS, "speed 1280x720", "NVML: Not Supported")
    assert row.figures == {
        "fps": 900.0, "p50_ms": 1.0, "p95_ms": 2.0, "p99_ms": 3.0, "sm_mhz": 1980.0
    }  # fmt: skip
    missing = gpu_check.speed_row(Missing(str(case), "it crashed"))
    assert (missing.engine, missing.check, missing.status) == ("tensorrt", "speed 1280x720", FAIL)


def test_the_command_without_a_gpu(tmp_path: Path) -> None:
    """Nothing crashes for a missing engine; the document is one that the catalogue can read."""
    if gpu_media_checks.has_nvidia_driver():
        pytest.skip("this machine has a GPU")
    out = tmp_path / "gpu.json"
    done = run("gpu-check", "--engine", "tensorrt", "--json", out)
    assert done.returncode == 1
    assert done.stdout.startswith("ABSENT tensorrt              start ")
    assert "no engine for a GPU starts here" in done.stdout
    checks = json.loads(out.read_text())["checks"]
    assert {(row["engine"], row["check"]): row["status"] for row in checks} == {
        ("tensorrt", "start"): ABSENT, ("media", "decoding"): ABSENT, ("media", "encoding"): ABSENT
    }  # fmt: skip
    assert read_document(out).missing[0].what == "tensorrt start"
    assert read_document(out).checks[0].status == ABSENT
    assert run("gpu-check", "--engine", "openvino").returncode == 2
    assert run("gpu-check", "--model", "nothing").returncode == 2


@pytest.mark.gpu
def test_this_machines_gpu() -> None:
    """Every engine that starts passes every check."""
    plan = Plan(styles=("gallery:udnie", "gallery:starry_night"), size=(720, 1280))
    found = [row for name in gpu_check.engines_to_check() for row in
             gpu_check.check_in_process(name, plan)]  # fmt: skip
    assert [row for row in found if row.status == FAIL] == []
    assert any(row.check == "start" and row.status == PASS for row in found)
