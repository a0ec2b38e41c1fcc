from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from rtstyle.engines import open_engine
from rtstyle.engines.base import Batch, Pending, StyleVector
from rtstyle.engines.identity_engine import IdentityEngine
from rtstyle.errors import EngineError, MediaError, OutputError
from rtstyle.frame import Frame
from rtstyle.image import Look
from rtstyle.media.synthetic import NullSink, SyntheticSource
from rtstyle.metrics import Report
from rtstyle.model.spec import ModelSpec
from rtstyle.pipeline import Pipeline
from rtstyle.steady import SteadyFilter
from rtstyle.style.style import Style, styles_of


class KeepingSink(NullSink):
    def __init__(self) -> None:
        super().__init__()
        self.frames: list[Frame] = []

    def write(self, frame: Frame) -> None:
        self.frames.append(frame)


class FailingSource(SyntheticSource):
    def frames(self) -> Iterator[Frame]:
        for frame in super().frames():
            if frame.index == 5:
                raise MediaError("frame 5 is damaged")
            yield frame


class FailingEngine(IdentityEngine):
    def submit(
        self, frames: Batch, style: StyleVector | None = None, strength: float = 1.0
    ) -> Pending:
        if frames[0, 0, 0, 0] % 2:  # whatever the picture holds, it comes soon
            raise EngineError("the engine broke")
        return super().submit(frames, style, strength)


class FailingSink(NullSink):
    def write(self, frame: Frame) -> None:
        if frame.index == 3:
            raise OutputError("the disk is full")


@pytest.fixture(autouse=True)
def _no_thread_survives() -> Iterator[None]:
    yield
    assert [t.name for t in threading.enumerate() if t.name.startswith("rtstyle")] == []


def _source(n_frames: int = 20) -> SyntheticSource:
    return SyntheticSource(34, 30, n_frames=n_frames, rate=Fraction(30000, 1001))


def _style(model: ModelSpec) -> Style:
    return styles_of(model)[0]


class LeadingSource(SyntheticSource):
    def frames(self) -> Iterator[Frame]:
        for frame in super().frames():
            yield replace(frame, lead=frame.index < 5)


def test_the_lead_of_a_steadied_run_is_painted_but_not_delivered(tiny_model: ModelSpec) -> None:
    source, sink = LeadingSource(64, 48, n_frames=12, rate=Fraction(25)), KeepingSink()
    report = Pipeline(
        source, IdentityEngine(tiny_model), sink, style=_style(tiny_model), steady=SteadyFilter(1)
    ).run()
    assert [frame.index for frame in sink.frames] == list(range(5, 12))
    assert report.frames_in == report.frames_out == 7
    assert report.stages["steady"].count == report.stages["paint"].count == 12
    assert report.stages["encode"].count == 7


def test_the_strength_reaches_the_engine(tiny_model: ModelSpec) -> None:
    seen = []

    class Listening(IdentityEngine):
        def submit(
            self, frames: Batch, style: StyleVector | None = None, strength: float = 1.0
        ) -> Pending:
            seen.append(strength)
            return super().submit(frames, style, strength)

    pipeline = Pipeline(
        _source(3),
        Listening(tiny_model),
        NullSink(),
        style=_style(tiny_model),
        look=Look(strength=0.3),
    )
    pipeline.run()
    assert seen == [0.3] * 3


def test_every_frame_arrives_in_order_with_its_time(tiny_model: ModelSpec) -> None:
    sink = KeepingSink()
    report = Pipeline(_source(), IdentityEngine(tiny_model), sink, style=_style(tiny_model)).run()
    assert [f.index for f in sink.frames] == list(range(20))
    assert [f.time for f in sink.frames] == [i * Fraction(1001, 30000) for i in range(20)]
    for got, sent in zip(sink.frames, _source().frames(), strict=True):
        np.testing.assert_array_equal(got.image, sent.image)
    assert (report.frames_in, report.frames_out, report.dropped) == (20, 20, 0)
    assert {name: times.count for name, times in report.stages.items()} == dict.fromkeys(
        ("decode", "prepare", "paint", "finish", "encode"), 20
    ) | {"steady": 0, "masks": 0}


def test_a_damaged_source_yields_what_was_good_and_then_its_error(tiny_model: ModelSpec) -> None:
    sink = KeepingSink()
    pipeline = Pipeline(
        FailingSource(34, 30), IdentityEngine(tiny_model), sink, style=_style(tiny_model)
    )
    with pytest.raises(MediaError, match="frame 5"):
        pipeline.run()
    assert [f.index for f in sink.frames] == [0, 1, 2, 3, 4]
    assert pipeline.report.frames_out == 5


def test_an_engine_that_fails_ends_the_run_with_its_own_error(tiny_model: ModelSpec) -> None:
    pipeline = Pipeline(
        _source(1000), FailingEngine(tiny_model), NullSink(), style=_style(tiny_model)
    )
    with pytest.raises(EngineError, match="broke") as caught:
        pipeline.run()
    assert any(entry.name == "submit" for entry in caught.traceback)


def test_a_sink_that_fails_ends_the_run(tiny_model: ModelSpec) -> None:
    pipeline = Pipeline(
        _source(1000), IdentityEngine(tiny_model), FailingSink(), style=_style(tiny_model)
    )
    with pytest.raises(OutputError, match="disk"):
        pipeline.run()
    assert pipeline.report.frames_in < 20


def test_an_interrupt_in_the_caller_ends_the_run(tiny_model: ModelSpec) -> None:
    def interrupt(report: object) -> None:
        raise KeyboardInterrupt

    pipeline = Pipeline(
        _source(1000), IdentityEngine(tiny_model), NullSink(), style=_style(tiny_model)
    )
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(interrupt)


def test_stop_ends_after_the_frames_that_were_read(tiny_model: ModelSpec) -> None:
    sink = KeepingSink()
    pipeline = Pipeline(_source(1000), IdentityEngine(tiny_model), sink, style=_style(tiny_model))

    def stop(report: object) -> None:
        pipeline.stop()

    report = pipeline.run(stop)
    assert report.frames_in == report.frames_out == len(sink.frames) < 20


def test_live_the_newest_frame_wins_and_order_is_kept(tiny_model: ModelSpec) -> None:
    class SlowSink(KeepingSink):
        def write(self, frame: Frame) -> None:
            time.sleep(0.01)
            super().write(frame)

    sink = SlowSink()
    report = Pipeline(
        _source(200),
        IdentityEngine(tiny_model),
        sink,
        style=_style(tiny_model),
        capacity=1,
        newest_wins=True,
    ).run()
    indices = [f.index for f in sink.frames]
    assert indices == sorted(set(indices))
    assert indices[-1] == 199
    assert report.frames_in == 200 == report.frames_out + report.dropped
    assert report.dropped > 0


@pytest.mark.parametrize(("rate", "painted"), [(30, [0, 1, 2, 3, 4]), (10**6, [0, 1, 3, 4])])
def test_live_a_hiccup_is_made_up_for_where_the_engine_keeps_up(
    tiny_model: ModelSpec, rate: int, painted: list[int]
) -> None:
    """Frames 2 and 3 come while frame 1 is in the engine, and frame 4 after it."""
    both_wait, caught_up = threading.Event(), threading.Event()

    class Source(SyntheticSource):
        def frames(self) -> Iterator[Frame]:
            for frame in super().frames():
                if frame.index == 2:
                    assert in_engine.wait(10)
                if frame.index == 4:  # 3 was taken over when 4 is asked for
                    both_wait.set()
                    assert caught_up.wait(10)
                yield frame

    class Stuck(IdentityEngine):
        def submit(
            self, frames: Batch, style: StyleVector | None = None, strength: float = 1.0
        ) -> Pending:
            if (frames == second).all():
                in_engine.set()
                assert both_wait.wait(10)
            return super().submit(frames, style)

    class Sink(KeepingSink):
        def write(self, frame: Frame) -> None:
            super().write(frame)
            if frame.index == 3:
                caught_up.set()

    in_engine = threading.Event()
    source = Source(64, 64, n_frames=5, rate=Fraction(rate))
    second = list(SyntheticSource(64, 64, n_frames=2).frames())[1].image[None]
    sink = Sink()
    report = Pipeline(
        source, Stuck(tiny_model), sink, style=_style(tiny_model), capacity=1, newest_wins=True
    ).run()
    assert [frame.index for frame in sink.frames] == painted
    assert report.dropped == 5 - len(painted)


def test_a_new_look_is_seen_by_the_next_frames(tiny_model: ModelSpec) -> None:
    class Inverting(IdentityEngine):
        def submit(
            self, frames: Batch, style: StyleVector | None = None, strength: float = 1.0
        ) -> Pending:
            return super().submit(255 - frames, style)

    sink = KeepingSink()
    pipeline = Pipeline(_source(40), Inverting(tiny_model), sink, style=_style(tiny_model))

    def switch(report: object) -> None:
        pipeline.look = Look(strength=0)

    pipeline.run(switch)
    originals = [frame.image for frame in _source(40).frames()]
    assert (sink.frames[0].image == 255 - originals[0]).all()
    assert (sink.frames[-1].image == originals[-1]).all()


def test_frames_that_nobody_waits_for_do_no_harm(tiny_model: ModelSpec) -> None:
    """Ctrl-C drops batches that an engine is still painting into memory of ours."""
    for _ in range(20):
        with open_engine("openvino", tiny_model) as engine:
            source = SyntheticSource(256, 256, n_frames=30)
            pipeline = Pipeline(source, engine, NullSink(), style=_style(tiny_model))

            def interrupt(report: Report) -> None:
                if report.frames_out == 3:
                    raise KeyboardInterrupt

            with pytest.raises(KeyboardInterrupt):
                pipeline.run(interrupt)
