"""Live painting: every change is on the next frame, and none costs a frame."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from rtstyle.engines import EngineOptions
from rtstyle.engines.base import Batch, Pending, StyleVector
from rtstyle.engines.identity_engine import IdentityEngine
from rtstyle.errors import EngineError, OutputError
from rtstyle.frame import Frame
from rtstyle.live.barcode import MeterSink
from rtstyle.live.controls import Controls
from rtstyle.live.engine_pool import Canvas, EnginePool
from rtstyle.live.options import LiveOptions
from rtstyle.live.recorder import RecorderSink
from rtstyle.live.session import Figures, Session
from rtstyle.live.settings import Settings
from rtstyle.media.synthetic import NullSink
from rtstyle.model.spec import ModelSpec
from rtstyle.style.style import Style
from tests.live.conftest import Ramp


class Keeping(NullSink):
    def __init__(self) -> None:
        super().__init__()
        self.frames: list[Frame] = []

    def write(self, frame: Frame) -> None:
        self.frames.append(frame)

    def means(self) -> list[float]:
        return [float(frame.image.mean()) for frame in self.frames]


@pytest.fixture
def pool() -> EnginePool:
    return EnginePool(EngineOptions(name="onnxruntime", threads=1))


def _controls(gallery: list[Style]) -> Controls:
    return Controls(gallery, Settings(style=gallery[0]))


def test_500_style_switches_cost_no_frame(gallery: list[Style], pool: EnginePool) -> None:
    controls, sink = _controls(gallery[:2]), Keeping()
    source = Ramp(500, rate=150)
    expected = []

    def switch(figures: Figures) -> None:
        controls.do("next")
        expected.append(controls.settings.style.name)

    with pool:
        report = Session(source, sink, controls, pool).run(switch)
    assert len(expected) >= report.frames_out == len(sink.frames)
    assert report.frames_in == report.frames_out + report.dropped
    assert report.frames_out >= 100  # a busy machine drops some of 150 a second
    means = sink.means()
    bright = sum(mean > 100 for mean in means)
    assert 0.3 * len(means) < bright < 0.7 * len(means)


def test_another_model_is_opened_while_the_first_goes_on(
    gallery: list[Style], pool: EnginePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening takes half a second; the pictures go on, and then the new style is there."""
    from rtstyle.live import engine_pool

    real = engine_pool.open_engine

    def slow(options: EngineOptions, model: ModelSpec) -> object:
        if model.path == gallery[2].model.path:
            time.sleep(0.5)
        return real(options, model)

    monkeypatch.setattr(engine_pool, "open_engine", slow)
    controls, sink = _controls(gallery), Keeping()
    source = Ramp(150)

    def switch(figures: Figures) -> None:
        if len(sink.frames) == 20:
            controls.do("style Tiny Waves")

    with pool:
        session = Session(source, sink, controls, pool)
        report = session.run(switch)
    assert session.pipeline.style.name == "Tiny Waves"
    copied = [np.array_equal(frame.image, source.picture) for frame in sink.frames]
    assert all(copied[:23]), "the first style did not go on"
    assert not copied[-1], "the new style never came"
    assert report.frames_out > 40


def test_a_style_that_cannot_be_opened_is_reported_and_the_run_goes_on(
    gallery: list[Style], pool: EnginePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rtstyle.live import engine_pool

    real = engine_pool.open_engine

    def broken(options: EngineOptions, model: ModelSpec) -> object:
        if model.path == gallery[2].model.path:
            raise EngineError("The model is broken.")
        return real(options, model)

    monkeypatch.setattr(engine_pool, "open_engine", broken)
    controls, sink, notices = _controls(gallery), Keeping(), set()

    with pool:
        session = Session(Ramp(60), sink, controls, pool)

        def switch(figures: Figures) -> None:
            notices.add(session.notice)
            if len(sink.frames) == 5:
                controls.do("style 3")

        session.run(switch)
    assert "Tiny Waves cannot be painted: The model is broken." in notices
    assert all(frame.image.mean() > 100 for frame in sink.frames)


def test_mirror_pause_and_split(gallery: list[Style], pool: EnginePool) -> None:
    controls, sink = _controls(gallery), Keeping()
    source = Ramp(60)

    def act(figures: Figures) -> None:
        if len(sink.frames) == 10:
            controls.do("mirror")
        if len(sink.frames) == 30:
            controls.do("style dark")
            controls.do("split 0.25")

    with pool:
        Session(source, sink, controls, pool).run(act)
    np.testing.assert_array_equal(sink.frames[0].image, source.picture)
    np.testing.assert_array_equal(sink.frames[25].image, source.picture[:, ::-1])
    last = sink.frames[-1].image
    np.testing.assert_array_equal(last[:, :30], source.picture[:, ::-1][:, :30])
    assert last[:, 40:].max() == 0


def test_a_paused_picture_stays_and_is_still_painted(
    gallery: list[Style], pool: EnginePool
) -> None:
    class Changing(Ramp):
        def frames(self):  # type: ignore[no-untyped-def]
            for frame in super().frames():
                yield Frame(np.full_like(frame.image, 50 + frame.index), frame.time, frame.index)

    controls, sink = _controls(gallery), Keeping()

    def act(figures: Figures) -> None:
        if len(sink.frames) == 10:
            controls.do("pause")
        if len(sink.frames) == 40:
            controls.do("strength 0.5")
            controls.do("style dark")

    with pool:
        Session(Changing(80), sink, controls, pool).run(act)
    held = sink.frames[20].image[0, 0, 0]
    assert {int(frame.image[0, 0, 0]) for frame in sink.frames[15:35]} == {held}
    assert sink.frames[-1].image[0, 0, 0] == pytest.approx(held / 2, abs=1)


def test_latency_and_losses_are_measured_at_the_sink(
    gallery: list[Style], pool: EnginePool
) -> None:
    source = Ramp(50)
    meter = MeterSink(source.clock)
    controls = Controls(gallery, Settings(style=gallery[1]))  # dark: the code must survive
    with pool:
        session = Session(source, meter, controls, pool, options=LiveOptions(measure=True))
        report = session.run()
    assert meter.n_frames == report.frames_out
    assert meter.missing <= report.dropped
    assert meter.unreadable == 0
    assert 0 < meter.latency.quantile_ms(0.5) <= report.latency.quantile_ms(0.5) * 1.1 + 1
    assert "latency p50" in str(report)


def test_frames_that_would_come_too_late_are_dropped(gallery: list[Style]) -> None:
    class Late(Ramp):
        def frames(self):  # type: ignore[no-untyped-def]
            for frame in super().frames():
                if frame.index % 2:
                    time.sleep(0.08)  # taken, then kept waiting
                yield frame

    sink = Keeping()
    with EnginePool(EngineOptions(name="onnxruntime", threads=1)) as pool:
        options = LiveOptions(max_latency_ms=60)
        report = Session(Late(40), sink, _controls(gallery), pool, options=options).run()
    assert report.dropped >= 15
    assert all(frame.index % 2 == 0 for frame in sink.frames)


def test_too_slow_a_net_is_painted_smaller(
    gallery: list[Style], monkeypatch: pytest.MonkeyPatch
) -> None:
    from rtstyle.live import engine_pool

    class Slow(IdentityEngine):
        def submit(
            self, frames: Batch, style: StyleVector | None = None, strength: float = 1.0
        ) -> Pending:
            time.sleep(frames.shape[1] * frames.shape[2] / 200_000)
            return super().submit(frames, style, strength)

    monkeypatch.setattr(engine_pool, "open_engine", lambda options, model: Slow(model))
    sink = Keeping()
    options = LiveOptions(fps_target=25, adaptive=True, lowest=48)
    with EnginePool() as pool:
        session = Session(
            Ramp(240, rate=50, size=(96, 128)), sink, _controls(gallery), pool, options=options
        )
        assert 48 <= session.figures.height < 96, "it starts at a height that holds the rate"
        session.run()
    assert 48 <= session.figures.height < 96
    assert {frame.image.shape for frame in sink.frames} == {(96, 128, 3)}


def test_stop_and_quit_end_a_painting(gallery: list[Style], pool: EnginePool) -> None:
    with pool:
        for end in ("stop", "quit"):
            controls = _controls(gallery)
            session = Session(Ramp(10_000), Keeping(), controls, pool)
            act = session.stop if end == "stop" else lambda c=controls: c.do("quit")
            timer = threading.Timer(0.3, act)
            timer.start()
            report = session.run()
            timer.join()
            assert 0 < report.frames_out < 1000
        assert [t.name for t in threading.enumerate() if t.name.startswith("rtstyle-r")] == []


def test_engines_are_shared_kept_and_closed(gallery: list[Style]) -> None:
    dim, tiny = gallery[0].model, gallery[2].model
    with EnginePool(EngineOptions(name="onnxruntime", threads=1), keep=1) as pool:
        first = pool.lease(Canvas(dim, (32, 32)))
        assert pool.lease(Canvas(dim, (32, 32))) is first
        other = pool.lease(Canvas(tiny, (32, 32)))
        pool.release(other)
        pool.release(first)
        pool.release(first)
        assert pool.lease_if_open(Canvas(dim, (32, 32))) is first  # the one used last is kept
        assert pool.lease_if_open(Canvas(tiny, (32, 32))) is None
        assert pool.lease_if_open(Canvas(dim, (64, 32))) is None


def test_snapshots_and_recordings(tmp_path: Path, gallery: list[Style], pool: EnginePool) -> None:
    controls, notes = _controls(gallery), []
    source = Ramp(80)
    recorder = RecorderSink(tmp_path, source.info, controls, on_note=notes.append)
    seen = 0

    def act(figures: Figures) -> None:
        nonlocal seen
        seen += 1
        for at, command in ((5, "record"), (30, "snapshot"), (40, "record"), (60, "record")):
            if seen == at:
                controls.do(command)

    with pool, recorder:
        Session(source, recorder, controls, pool).run(act)
        recorder.finish()
    videos, pictures = sorted(tmp_path.glob("*.mp4")), list(tmp_path.glob("*.png"))
    assert (len(videos), len(pictures), len(list(tmp_path.iterdir()))) == (2, 1, 3)
    for video in videos:
        with av.open(str(video)) as container:
            assert sum(1 for _ in container.decode(video=0)) > 10
            assert container.streams.video[0].start_time == 0
    assert cv2.imread(str(pictures[0])).shape == (48, 128, 3)
    assert sum(note.startswith("recorded") for note in notes) == 2
    with pytest.raises(OutputError, match="no folder"):
        RecorderSink(tmp_path / "no", source.info, controls, on_note=notes.append)
