"""Scenes of a live run: picked, cycled and faded, without a frame that a change costs."""

from __future__ import annotations

import tracemalloc
from fractions import Fraction
from itertools import pairwise

import pytest

from rtstyle.engines import EngineOptions
from rtstyle.errors import UsageError
from rtstyle.frame import Frame
from rtstyle.live.commands import PAGE, parse
from rtstyle.live.controls import Controls
from rtstyle.live.engine_pool import EnginePool
from rtstyle.live.session import Figures, Session
from rtstyle.live.settings import Settings
from rtstyle.media.synthetic import NullSink
from rtstyle.style.scene import Scene
from rtstyle.style.style import Style
from tests.live.conftest import Ramp


class Keeping(NullSink):
    def __init__(self) -> None:
        super().__init__()
        self.means: list[float] = []

    def write(self, frame: Frame) -> None:
        self.means.append(float(frame.image.mean()))


def _scenes(gallery: list[Style]) -> list[Scene]:
    bright, dark, other = gallery
    return [
        Scene(name="day", style=bright, strength=0.5, fade=Fraction(1, 5)),
        Scene(name="late night", style=dark, color=True),
        Scene(name="waves", style=other, stroke=0.9),
    ]


def _do(controls: Controls, *commands: str) -> Settings:
    for command in commands:
        controls.do(command)
    return controls.settings


def test_a_scene_sets_every_knob_that_scenes_have(gallery: list[Style]) -> None:
    controls = Controls(gallery, Settings(style=gallery[0], strength=0.9), scenes=_scenes(gallery))
    day = _do(controls, "strength 0.2", "color on", "scene day")
    assert (day.style.name, day.strength, day.fade, day.preserve_color) == (
        "bright",
        0.5,
        0.2,
        False,
    )
    night = _do(controls, "scene next")
    assert (night.scene, night.style.name, night.strength) == ("late night", "dark", 0.9)
    assert night.preserve_color
    assert _do(controls, "scene next").stroke == 0.9
    assert _do(controls, "scene next").scene == "day"
    assert _do(controls, "scene previous").scene == "waves"
    assert _do(controls, "scene LATE_NIGHT").scene == _do(controls, "scene 2").scene
    controls.do(parse("scene day", PAGE))
    with pytest.raises(UsageError, match="did you mean late night"):
        controls.do("scene lat night")
    assert _do(controls, "stroke 0.0001").stroke == 0.01
    assert _do(controls, "stroke off", "fade 2", "fade +1", "steady 0.3").fade == 3
    without = Controls(gallery, Settings(style=gallery[0]))
    for command in ("scene next", "scene 1", "cycle 5", "stroke on"):
        with pytest.raises(UsageError):
            without.do(command)


@pytest.mark.parametrize("partner", [1, 2])
def test_a_fade_goes_through_all_that_is_between(gallery: list[Style], partner: int) -> None:
    """Within a net and from one to another."""
    controls, sink = Controls(gallery[:2], Settings(style=gallery[0], fade=0.4)), Keeping()
    other = gallery[partner]
    controls.add(other)

    def act(figures: Figures) -> None:
        if len(sink.means) == 20:
            controls.do(f"style {other.name}")

    with EnginePool(EngineOptions(name="onnxruntime", threads=1)) as pool:
        pool.release(pool.lease(Session(Ramp(1), NullSink(), controls, pool)._canvas(
            other, Session(Ramp(1), NullSink(), controls, pool).pipeline.look)))  # fmt: skip
        session = Session(Ramp(120, rate=60), sink, controls, pool)
        session.run(act)
    first, last = sink.means[0], sink.means[-1]
    between = [mean for mean in sink.means if 0.15 < (mean - first) / (last - first) < 0.85]
    assert len(between) >= 6
    assert session.pipeline.fading is None


def test_cycled_scenes_drop_no_frame_and_keep_no_memory(gallery: list[Style]) -> None:
    controls = Controls(gallery, Settings(style=gallery[0], cycle=0.1), scenes=[
        Scene(name=f"scene {n}", style=gallery[n % 3], fade=Fraction(n % 2, 20)) for n in range(20)
    ])  # fmt: skip
    seen: list[str] = []
    sizes: list[int] = []

    def look(figures: Figures) -> None:
        if controls.settings.scene not in seen[-1:]:
            seen.append(controls.settings.scene)
            sizes.append(tracemalloc.get_traced_memory()[0])

    with EnginePool(EngineOptions(name="onnxruntime", threads=1), keep=20) as pool:
        session = Session(Ramp(150, rate=25), NullSink(), controls, pool)
        tracemalloc.start()
        report = session.run(look)
        tracemalloc.stop()
    numbers = [int(name.split()[1]) for name in seen if name]
    assert len(numbers) >= 30
    assert {(after - before) % 20 for before, after in pairwise(numbers)} == {1}
    assert report.frames_in == report.frames_out + report.dropped  # a busy machine drops some
    assert report.frames_out > 75
    assert sizes[-1] - sizes[len(sizes) // 2] < 500_000
