"""What goes wrong inside a run ends it with one sentence, and leaves no thread and no half file."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

import rtstyle.pipeline
from benchmarks.reliability import faults, soak
from benchmarks.reliability import faulty_engines as faulty
from rtstyle.channel import Channel
from rtstyle.engines import EngineOptions, open_engine
from rtstyle.engines.watchdog import Watchdog
from rtstyle.errors import EngineError
from rtstyle.frame import Frame
from rtstyle.media.synthetic import NullSink, SyntheticSource
from rtstyle.model.file import read_model
from rtstyle.model.spec import ModelSpec
from rtstyle.pipeline import Pipeline
from rtstyle.style.style import styles_of
from tests import graphs
from tests.media.clips import Clip, make_clip


@pytest.fixture(autouse=True)
def _quick_and_clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hanging threads are waited for only briefly, are let go after the test, and then end."""
    monkeypatch.setattr(rtstyle.pipeline, "_CLOSING_SECONDS", 0.2)
    monkeypatch.setattr(Watchdog, "SECONDS", 0.05)
    faulty.HangingEngine.release.clear()
    yield
    faulty.HangingEngine.release.set()
    for thread in threading.enumerate():
        if thread.name.startswith("rtstyle"):
            thread.join(5)
            assert not thread.is_alive()


def _pipeline(engine: faulty.FaultyEngine, patience: float = 60) -> Pipeline:
    return Pipeline(
        SyntheticSource(34, 30, n_frames=30),
        engine,
        NullSink(),
        style=styles_of(engine.model)[0],
        patience=patience,
    )


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (faulty.RaisingEngine, r"faulty cannot paint 36×32: the driver went away"),
        (faulty.LateRaisingEngine, r"faulty cannot paint 36×32: .*the GPU fell off the bus"),
        (faulty.WrongShapeEngine, r"gave uint8 \(1, 28, 36, 3\), where uint8 \(1, 32, 36, 3\)"),
        (faulty.WrongTypeEngine, r"gave float32 \(1, 32, 36, 3\), where uint8"),
        (faulty.NothingEngine, r"gave None"),
        (faulty.StarvedEngine, r"cannot paint 36×32: .*too little memory.*--height"),
    ],
)
def test_whatever_an_engine_does_is_one_sentence_that_names_it(
    kind: type[faulty.FaultyEngine], says: str, tiny_model: ModelSpec
) -> None:
    pipeline = _pipeline(kind(tiny_model))
    with pytest.raises(EngineError, match=says) as caught:
        pipeline.run()
    assert "\n" not in str(caught.value)
    assert pipeline.report.frames_out == faulty.FAULTY_BATCH  # all that was good is delivered


def test_an_engine_that_hangs_is_given_up(
    tiny_model: ModelSpec, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline = _pipeline(faulty.HangingEngine(tiny_model), patience=0.3)
    with pytest.raises(EngineError, match=r"engine faulty hangs: .* try another --engine"):
        pipeline.run()
    assert pipeline.report.frames_out == faulty.FAULTY_BATCH
    assert [r.message for r in caplog.records] == ["rtstyle-engine did not end and is left behind."]


def test_an_engine_that_does_not_finish_a_batch_is_given_up(
    tiny_model: ModelSpec, caplog: pytest.LogCaptureFixture
) -> None:
    """It hangs in the wait for the result: the engine's own thread is free and ends."""
    pipeline = _pipeline(faulty.HangingLateEngine(tiny_model), patience=0.3)
    with pytest.raises(EngineError, match=r"engine faulty hangs: .* try another --engine"):
        pipeline.run()
    assert pipeline.report.frames_out == faulty.FAULTY_BATCH
    assert caplog.records == []


def test_building_in_flight_is_no_hang(tiny_model: ModelSpec) -> None:
    """The first batch of a size may take long in the result too, where the engine says so."""

    class Building(faulty.FaultyEngine):
        builds_in_flight = True

        def submit(self, frames, style=None, strength=1.0):  # type: ignore[no-untyped-def]
            done = super().submit(frames, style, strength).result()
            return _Later(done, 0.5 if self.n == 1 else 0.0)

    class _Later:
        def __init__(self, done: np.ndarray, seconds: float) -> None:
            self._done, self._left = done, seconds

        def wait(self, seconds: float) -> bool:
            time.sleep(min(seconds, self._left))
            self._left -= min(seconds, self._left)
            return self._left <= 0

        def result(self) -> np.ndarray:
            return self._done

    assert _pipeline(Building(tiny_model), patience=0.2).run().frames_out == 30
    Building.builds_in_flight = False
    with pytest.raises(EngineError, match="engine faulty hangs"):
        _pipeline(Building(tiny_model), patience=0.2).run()


def test_building_for_a_new_size_is_no_hang(tiny_model: ModelSpec) -> None:
    """The first picture of a size may take longer than any patience."""

    class Building(faulty.FaultyEngine):
        seen: set[tuple[int, ...]] = set()  # noqa: RUF012

        def submit(self, frames, style=None, strength=1.0):  # type: ignore[no-untyped-def]
            if frames.shape not in self.seen:
                self.seen.add(frames.shape)
                time.sleep(0.5)
            return super().submit(frames, style, strength)

    class Growing(SyntheticSource):
        def frames(self) -> Iterator[Frame]:
            for frame in super().frames():
                image = frame.image if frame.index < 10 else np.tile(frame.image, (2, 2, 1))
                yield Frame(image, frame.time, frame.index)

    engine = Building(tiny_model)
    pipeline = Pipeline(
        Growing(34, 30, n_frames=20),
        engine,
        NullSink(),
        style=styles_of(tiny_model)[0],
        patience=0.2,
    )
    assert pipeline.run().frames_out == 20


def test_a_slow_source_is_not_the_engines_fault(tiny_model: ModelSpec) -> None:
    class Slow(SyntheticSource):
        def frames(self) -> Iterator[Frame]:
            for frame in super().frames():
                time.sleep(0.5 if frame.index == 3 else 0)
                yield frame

    pipeline = Pipeline(
        Slow(34, 30, n_frames=6),
        faulty.FaultyEngine(tiny_model),
        NullSink(),
        style=styles_of(tiny_model)[0],
        patience=0.2,
    )
    assert pipeline.run().frames_out == 6


@pytest.mark.parametrize(
    "kind", [faulty.HangingEngine, faulty.HangingLateEngine, faulty.HangingAtOnceEngine]
)
def test_ctrl_c_gets_through_while_an_engine_hangs(
    kind: type[faulty.FaultyEngine], tiny_model: ModelSpec
) -> None:
    pipeline = _pipeline(kind(tiny_model))
    start = time.perf_counter()
    timer = threading.Timer(0.5, _interrupt_main)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        pipeline.run()
    assert time.perf_counter() - start < 5


def _interrupt_main() -> None:
    import signal

    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_values_that_are_no_numbers_are_an_error(name: str, tmp_path: Path) -> None:
    """A float model that takes the root of what is below zero where the picture is dark."""
    kinds = (TensorProto.FLOAT, ("N", 3, "H", "W"))
    nodes = [
        helper.make_node("Sub", ["picture", "limit"], ["below"]),
        helper.make_node("Sqrt", ["below"], ["root"]),
    ]
    limit = helper.make_tensor("limit", TensorProto.FLOAT, [], [0.1])
    path = graphs.save(
        tmp_path / "nan.onnx", nodes, {"picture": kinds}, {"root": kinds}, weights=[limit]
    )
    with open_engine(EngineOptions(name=name, threads=1), read_model(path)) as engine:
        bright = np.full((1, 32, 32, 3), 200, np.uint8)
        assert engine.submit(bright).result().shape == bright.shape
        with pytest.raises(EngineError, match=r"nan\.onnx .* no numbers"):
            engine.submit(np.zeros((1, 32, 32, 3), np.uint8)).result()


@pytest.mark.parametrize("name", ["engine hangs, Ctrl-C", "wrong shape", "input deleted"])
def test_the_command_ends_in_order(name: str, tmp_path: Path) -> None:
    """Three of the cases of `python -m benchmarks reliability faults`."""
    clip = make_clip(tmp_path / "clip.mp4", Clip(range(0, faults.N_FRAMES * 512, 512)))
    (case,) = (case for case in faults.cases(0, 0) if case.name == name)
    case = replace(case, fault={**case.fault, "closing": 0.5}, after=case.after / 2)
    outcome = faults.run(case, clip, tmp_path / "run")
    assert outcome.problem == ""


def test_what_a_soak_counts() -> None:
    finding = soak.measure(soak.Options(frames=4000, engine="identity"))
    figures = finding.figures
    assert (figures["frames"], figures["wrong"], figures["frames dropped"]) == (4000, 0, 0)
    assert (figures["pictures compared"], figures["threads left"]) == (40, 0)
    assert figures["file handles"] != "0"


def test_a_soak_notices_a_wrong_time_and_a_wrong_picture() -> None:
    sink = soak.CheckingSink(2000, period=8)
    for frame in SyntheticSource(8, 8, n_frames=300, rate=Fraction(30_000, 1001)).frames():
        late = frame.index == 150
        wrong = frame.index == 199
        sink.write(
            Frame(
                255 - frame.image if wrong else frame.image,
                frame.time + (Fraction(1, 10**9) if late else 0),
                frame.index,
            )
        )
    assert sink.wrong == 2


def test_the_wall_clock_is_not_asked_how_long_something_took() -> None:
    """It jumps: by hand, by a time server, by summer time."""
    jumps = re.compile(r"\btime\.time\(|from time import [^\n]*\btime\b|datetime\.(utc)?now\(\) -")
    root = Path(rtstyle.pipeline.__file__).parents[1]
    found = [
        path
        for room in ("rtstyle", "export", "benchmarks")
        for path in (root / room).rglob("*.py")
        if path.name != "faulty_run.py"  # which makes it jump
        and jumps.search(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_silence_is_reported_again_and_again_and_what_it_raises_ends_the_waiting() -> None:
    channel: Channel[int] = Channel(2)
    calls = []

    def silent() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise EngineError("enough")

    channel.put(7)
    items = channel.items(silent, after=0.01)
    assert next(items) == 7
    assert calls == []
    with pytest.raises(EngineError, match="enough"):
        next(items)
    channel.close()
    with suppress(StopIteration):
        next(channel.items(silent, after=0.01))


def test_times_stay_exact_however_long_it_runs() -> None:
    """A hundred hours in: no float has touched a frame's time."""
    rate = Fraction(30_000, 1001)
    source = SyntheticSource(8, 8, n_frames=3, rate=rate)
    assert [f.time for f in source.frames()] == [i / rate for i in range(3)]
