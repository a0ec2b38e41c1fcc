"""Wherever a video is cut, its segments hold every frame once."""

from __future__ import annotations

import io
import pickle
from fractions import Fraction
from itertools import accumulate, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from rtstyle.frame import StreamInfo
from rtstyle.media import ReadOptions
from rtstyle.media.base import Origin
from rtstyle.media.video.keyframes import spread
from rtstyle.media.video.parts import NotCuttableError, Part, Video, open_part
from rtstyle.media.video.source import FileSource
from rtstyle.rendering.job import RenderJob, Segments
from rtstyle.rendering.mux import risen
from rtstyle.rendering.plan import Plan, cut, plan
from rtstyle.style.style import find_styles
from tests.media.clips import Clip, make_clip

TIMES = st.lists(st.fractions(0, 100, max_denominator=90), unique=True, max_size=30).map(sorted)
VIDEO = Video(StreamInfo(8, 8, Fraction(25), Fraction(1, 25)), Origin((Path("a.mp4"),), 0))


def _job(source: Path, seconds: Fraction, reading: ReadOptions | None = None) -> RenderJob:
    return RenderJob(
        source=source, output=source.with_name("o.mp4"), style=find_styles()[0],
        reading=reading or ReadOptions(), segments=Segments(seconds=seconds),
    )  # fmt: skip


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(keyframes=TIMES, seconds=st.fractions(Fraction(1, 10), 30), times=TIMES)
def test_every_time_is_in_one_segment(
    keyframes: list[Fraction], seconds: Fraction, times: list[Fraction]
) -> None:
    cuts = list(spread(iter(keyframes), Fraction(0), seconds))
    assert set(cuts) <= set(keyframes)
    assert all(b - a >= seconds for a, b in pairwise([Fraction(0), *cuts]))
    made = cut(VIDEO, cuts)
    assert made.cuts == tuple(cuts)
    for time in times:
        holding = [
            s for s in made.segments
            if (s.start is None or s.start <= time) and (s.end is None or time < s.end)
        ]  # fmt: skip
        assert len(holding) == 1


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=st.lists(st.integers(1, 2000), min_size=1, max_size=40),
    first=st.integers(0, 3000),
    keyframe_every=st.integers(1, 9),
    n_b_frames=st.integers(0, 3),
    ticks=st.integers(1, 8000),
    start=st.none() | st.integers(1, 3000),
    suffix=st.sampled_from([".mp4", ".mkv", ".ts"]),
)
def test_parts_of_any_file_are_the_whole(
    steps: list[int], first: int, keyframe_every: int, n_b_frames: int, ticks: int,
    start: int | None, suffix: str,
) -> None:  # fmt: skip
    tick = Fraction(1, 1000)
    times = list(accumulate(steps, initial=first))
    options = (("preset", "ultrafast"), ("bf", str(n_b_frames)), ("x264-params", "b-adapt=0"))
    assume(suffix != ".ts" or len(times) >= 6)  # FFmpeg opens no shorter one
    begin = None if start is None else min(start, times[-1] - 1) * tick  # mp4 rounds times down
    with TemporaryDirectory() as folder:
        source = make_clip(
            Path(folder) / f"a{suffix}",
            Clip(times, tick, 16, 16, options=options, keyframe_every=keyframe_every),
        )
        assume(source.stat().st_size > 2048)  # FFmpeg recognises no .ts that is shorter
        job = _job(source, ticks * tick, ReadOptions(start=None if suffix == ".ts" else begin))
        made = plan(job)
        assert pickle.loads(pickle.dumps(made)) == made
        with FileSource(source, ReadOptions(job.reading.start)) as whole:
            expected = [(frame.time, frame.image.tobytes()) for frame in whole.frames()]
        found = []
        for segment in made.segments:
            with open_part(segment.video, segment.part) as part:
                found += [(frame.time, frame.image.tobytes()) for frame in part.frames()]
        assert found == expected


def test_a_part_that_begins_at_no_frame_is_refused(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mp4")
    with FileSource(source) as whole:
        video = Video.of(whole)
    with pytest.raises(NotCuttableError):
        open_part(video, Part(Fraction(1, 3), None))
    with (
        open_part(video, Part(None, Fraction(1, 3))) as part,
        pytest.raises(NotCuttableError),
    ):
        list(part.frames())


@pytest.mark.parametrize("kind", ["no cues", "fragments", "no times"])
def test_files_without_an_index(kind: str, tmp_path: Path) -> None:
    seconds = Fraction(1, 2)
    clip = Clip(range(0, 2400, 40), Fraction(1, 1000), keyframe_every=5)
    made = make_clip(tmp_path / "a.mkv", clip)
    source = tmp_path / {"no cues": "b.mkv", "fragments": "b.mp4", "no times": "b.h264"}[kind]
    _without_index(made, source, kind)
    found = plan(_job(source, seconds))
    assert len(found.segments) == (1 if kind == "no times" else 4)
    assert _frames_of(found) == 60


def _without_index(made: Path, target: Path, kind: str) -> None:
    sequential = io.BytesIO()
    sequential.seekable = lambda: False  # type: ignore[method-assign]
    options = {"movflags": "frag_keyframe+empty_moov+skip_trailer"} if kind == "fragments" else {}
    muxer = {"no cues": "matroska", "fragments": "mp4", "no times": "h264"}[kind]
    with (
        av.open(str(made)) as source,
        av.open(sequential, "w", format=muxer, container_options=options) as output,
    ):
        stream = output.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None or packet.size:
                packet.stream = stream
                output.mux(packet)
    target.write_bytes(sequential.getvalue())


def _frames_of(made: Plan) -> int:
    n_frames = 0
    for segment in made.segments:
        with open_part(segment.video, segment.part) as part:
            n_frames += len(list(part.frames()))
    return n_frames


@given(
    rounded=st.lists(st.integers(0, 50), min_size=1, max_size=20).map(sorted),
    place=st.integers(0, 20),
)
def test_times_rise_over_a_cut_as_in_one_track(rounded: list[int], place: int) -> None:
    """Where two frames fall on one tick, a track moves the later one on; so do segments."""

    def track(times: list[int]) -> list[int]:
        return list(accumulate(times, lambda last, time: max(time, last + 1)))

    one, two = track(rounded[:place]), track(rounded[place:])
    moved = risen(two, one[-1] if one else None)
    assert one + [moved[time] for time in two] == track(rounded)
