"""Every frame keeps its exact time, whatever the clock."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rtstyle.errors import UsageError
from rtstyle.frame import Frame, StreamInfo
from rtstyle.media import ReadOptions, open_sink, open_source
from rtstyle.media.video.sink import FileSink
from rtstyle.media.video.source import FileSource
from tests.media.clips import Clip, make_clip, picture


def _copy(source_path: Path, output: Path, **cut: Fraction | None) -> list[Fraction]:
    """Copy without painting; the times delivered."""
    with (
        open_source(source_path, ReadOptions(**cut)) as source,
        open_sink(output, source) as sink,
    ):
        times = []
        for frame in source.frames():
            times.append(frame.time)
            sink.write(frame)
        sink.finish()
    return times


def _times(path: Path) -> list[Fraction]:
    with FileSource(path) as source:
        return [time for _, time in source.times()]


TICKS = st.sampled_from(
    [Fraction(1, n) for n in (25, 600, 1000, 12_800, 15_360, 44_100, 90_000, 200_000, 1_000_000)]
    + [Fraction(1001, 24_000), Fraction(1001, 30_000), Fraction(3, 125), Fraction(1, 23_040_000)]
)
STEPS = st.lists(st.integers(1, 5000), min_size=0, max_size=12)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tick=TICKS, steps=STEPS, first=st.integers(0, 4000))
def test_any_times_survive_encode_and_copy(tick: Fraction, steps: list[int], first: int) -> None:
    times = [first * tick]
    for step in steps:
        times.append(times[-1] + step * tick)
    info = StreamInfo(16, 16, Fraction(25), tick)
    with TemporaryDirectory() as folder:
        made, copied = Path(folder) / "made.mp4", Path(folder) / "copied.mp4"
        with FileSink(made, info) as sink:
            for index, time in enumerate(times):
                sink.write(Frame(picture(index, 16, 16), time, index))
            sink.finish()
        assert sink.notes == []
        assert _times(made) == times
        assert _copy(made, copied) == times
        assert _times(copied) == times


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_variable_frame_rate_is_kept(suffix: str, tmp_path: Path) -> None:
    irregular = (0, 33, 66, 100, 180, 181, 400, 1000)
    clip = make_clip(tmp_path / "vfr.mkv", Clip(times=irregular, tick=Fraction(1, 1000)))
    expected = [Fraction(t, 1000) for t in irregular]
    assert _copy(clip, tmp_path / f"o{suffix}") == expected
    assert _times(tmp_path / f"o{suffix}") == expected


def test_times_that_a_container_cannot_hold_are_rounded_with_a_note(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", Clip(times=(0, 1001, 2002), tick=Fraction(1, 30_000)))
    with open_source(clip) as source, open_sink(tmp_path / "o.mkv", source) as sink:
        for frame in source.frames():
            sink.write(frame)
        sink.finish()
    assert _times(tmp_path / "o.mkv") == [Fraction(0), Fraction(33, 1000), Fraction(67, 1000)]
    assert any("1/1000 s" in note for note in sink.notes)


def test_a_broadcast_clock_starts_at_zero(tmp_path: Path) -> None:
    clip = make_clip(
        tmp_path / "a.ts",
        Clip(audio_seconds=0.4, tick=Fraction(1, 90_000), times=tuple(range(0, 36_000, 3600))),
    )
    times = _copy(clip, tmp_path / "o.mp4")
    assert 0 <= times[0] < Fraction(1, 10)
    assert [b - a for a, b in pairwise(times)] == [Fraction(1, 25)] * 9
    assert _times(tmp_path / "o.mp4") == times


def test_a_cut_is_accurate_and_starts_at_zero(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", Clip(audio_seconds=0.6))  # 25 frames a second
    with FileSource(clip, ReadOptions(Fraction(1, 5), Fraction(1, 5))) as source:
        frames = list(source.frames())
        assert source.origin is not None
        assert source.origin.offset == Fraction(1, 5)
        assert source.info.n_frames == len(frames) == 5
    assert [f.time for f in frames] == [Fraction(i, 25) for i in range(5)]
    with FileSource(clip) as source:
        whole = list(source.frames())
    assert (frames[0].image == whole[5].image).all()


def test_a_cut_between_two_frames_starts_with_the_later(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4")
    with FileSource(clip, ReadOptions(Fraction("0.05"))) as source:
        assert source.origin is not None
        assert source.origin.offset == Fraction(2, 25)
        assert next(source.frames()).time == 0


@pytest.mark.parametrize(
    ("start", "duration", "says"),
    [
        (Fraction(-1), None, "0 seconds or later"),
        (Fraction(100), None, "start earlier"),
        (None, Fraction(0), "longer than 0"),
    ],
)
def test_a_cut_outside_the_video_is_refused(
    start: Fraction | None, duration: Fraction | None, says: str, tmp_path: Path
) -> None:
    clip = make_clip(tmp_path / "a.mp4")
    with pytest.raises(UsageError, match=says):
        FileSource(clip, ReadOptions(start, duration))


def test_last_frame_keeps_its_duration(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4")
    _copy(clip, tmp_path / "o.mp4")
    for path in (clip, tmp_path / "o.mp4"):
        with FileSource(path) as source:
            assert [f.duration for f in source.frames()] == [Fraction(1, 25)] * 12
