"""Pipelines that are slow in one known place, on purpose."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from rtstyle.bench.bottleneck import find_bottleneck
from rtstyle.bench.levels import run_pipeline
from rtstyle.bench.sources import EndlessPictures
from rtstyle.engines.identity_engine import IdentityEngine
from rtstyle.frame import Frame
from rtstyle.media.null import NullSink
from rtstyle.model import ModelSpec
from rtstyle.style import styles_of
from tests.bench.rows import case

SLOW_S = 0.03  # beside well under a millisecond of everything else on 64×48 pixels


class SlowSource(EndlessPictures):
    def frames(self) -> Iterator[Frame]:
        for frame in super().frames():
            time.sleep(SLOW_S)
            yield frame


class SlowEngine(IdentityEngine):
    """Slow where a processor is: in `submit`."""

    def submit(self, *arguments: Any) -> Any:
        time.sleep(SLOW_S)
        return super().submit(*arguments)


class SlowCard(IdentityEngine):
    """Slow where a card is: in `result`, in another thread."""

    def submit(self, *arguments: Any) -> Any:
        done = super().submit(*arguments)

        class Later:
            def result(self) -> Any:
                time.sleep(SLOW_S)
                return done.result()

        return Later()


class SlowSink(NullSink):
    def write(self, frame: Frame) -> None:
        time.sleep(SLOW_S)
        super().write(frame)


@pytest.mark.parametrize(
    ("source", "engine", "sink", "named"),
    [
        (SlowSource, IdentityEngine, NullSink, "source (decode)"),
        (EndlessPictures, SlowEngine, NullSink, "engine (paint)"),
        (EndlessPictures, SlowCard, NullSink, "engine (paint)"),
        (EndlessPictures, IdentityEngine, SlowSink, "sink (encode)"),
    ],
)
def test_the_slow_part_is_named(
    source: Any, engine: Any, sink: Any, named: str, tiny_model: ModelSpec
) -> None:
    (style,) = styles_of(tiny_model)
    timing = run_pipeline(
        case(seconds=0.4, burn_in=0.1), source(64, 48), engine(tiny_model), sink(), style
    )
    assert str(find_bottleneck(timing.stages_ms, fps=timing.fps)) == named
    assert timing.fps <= 1 / SLOW_S
    assert len(timing.latencies_ms) >= 3


def test_no_part_is_named_when_all_of_them_rest() -> None:
    found = find_bottleneck({"decode": 1.0, "paint": 2.0, "encode": 1.0}, fps=30)
    assert str(found) == "none: the busiest, engine (paint), rests 94%"


def test_what_works_in_one_thread_adds_up() -> None:
    stages = {"decode": 10.0, "prepare": 6.0, "paint": 7.0, "finish": 1.0, "encode": 9.0}
    found = find_bottleneck(stages, fps=1e3 / 13)
    assert (found.part, found.stage) == ("engine", "paint")
    assert found.share == pytest.approx(1.0)
