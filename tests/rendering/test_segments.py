"""A render in segments holds the same frames and times as one in one go."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from rtstyle.engines import EngineOptions, open_engine
from rtstyle.frame import StreamInfo
from rtstyle.image import Look
from rtstyle.media import ReadOptions
from rtstyle.media.video.source import FileSource
from rtstyle.rendering.encode import Batch, encode_segments
from rtstyle.rendering.engines import Engines, announce
from rtstyle.rendering.job import RenderJob, Segments, settled
from rtstyle.rendering.plan import look_at, plan
from rtstyle.style.parse import find_style
from rtstyle.style.style import find_styles
from tests.media.clips import Clip, make_clip
from tests.rendering.renders import (
    CLIP,
    FAST,
    HALF,
    decode_times,
    frame_times,
    paint,
    sound,
    state_of,
)

SOURCES = {
    "vfr": ("a.mp4", Clip(times=[i * 512 + (i * i % 7) * 60 for i in range(60)])),
    "late start": ("a.mp4", Clip(times=range(5000, 5000 + 60 * 512, 512), audio_seconds=2)),
    "b-frames": (
        "a.mp4",
        Clip(
            CLIP.times, keyframe_every=10, audio_seconds=2.4,
            options=(
                ("preset", "ultrafast"), ("crf", "10"), ("bf", "2"), ("x264-params", "b-adapt=0"),
            ),
        ),
    ),
    "open gop": (
        "a.mp4",
        Clip(
            CLIP.times, keyframe_every=10,
            options=(
                ("preset", "ultrafast"), ("crf", "10"), ("bf", "2"),
                ("x264-params", "open-gop=1:b-adapt=0:keyint=10:min-keyint=10"),
            ),
        ),
    ),
    "rotated": ("a.mp4", Clip(CLIP.times, keyframe_every=10, rotation=90)),
    "odd size": ("a.mp4", Clip(CLIP.times, keyframe_every=10, width=63, height=47,
                               pixel_format="yuv444p")),
    "matroska": ("a.mkv", Clip(range(0, 2400, 40), Fraction(1, 1000), keyframe_every=10,
                               audio_seconds=2.4)),
    "broadcast": ("a.ts", Clip(range(0, 60 * 3600, 3600), Fraction(1, 90_000), keyframe_every=10,
                               audio_seconds=2.4)),
    "avi": ("a.avi", Clip(range(60), Fraction(1, 25), codec="mpeg4", options=(),
                          keyframe_every=10)),
}  # fmt: skip


@pytest.mark.parametrize("name", SOURCES)
def test_segments_hold_every_frame_once(name: str, tmp_path: Path) -> None:
    file, clip = SOURCES[name]
    source = make_clip(tmp_path / file, clip)
    notes: dict[str, list[str]] = {"plain.mp4": [], "cut.mp4": []}
    paint(source, tmp_path / "plain.mp4", segments=None, notes=notes["plain.mp4"], crf=1)
    kept = Segments(seconds=HALF.seconds, keep=True)
    paint(source, tmp_path / "cut.mp4", segments=kept, notes=notes["cut.mp4"], crf=1)
    assert len(list(state_of(tmp_path / "cut.mp4").glob("*.segment"))) >= 2
    assert notes["cut.mp4"] == notes["plain.mp4"]
    assert frame_times(tmp_path / "cut.mp4") == frame_times(tmp_path / "plain.mp4")
    assert sound(tmp_path / "cut.mp4") == sound(tmp_path / "plain.mp4")
    _assert_same_pictures(tmp_path / "cut.mp4", tmp_path / "plain.mp4")


def _assert_same_pictures(one: Path, other: Path) -> None:
    """Encoded nearly without loss, but not from the same keyframes."""
    with FileSource(one) as a, FileSource(other) as b:
        for x, y in zip(a.frames(), b.frames(), strict=True):
            assert x.image.shape == y.image.shape
            assert abs(x.image.astype(int) - y.image).max() < 40
            assert abs(x.image.astype(int) - y.image).mean() < 2


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm", ".avi"])
@pytest.mark.parametrize("b_frames", [False, True])
def test_every_container(suffix: str, b_frames: bool, clip: Path, tmp_path: Path) -> None:
    if b_frames and suffix in FAST:
        pytest.skip("its codec has none")
    options = {"bf": "3", "x264-params": "b-adapt=0:b-pyramid=normal"} if b_frames else {}
    plain, cut, one = (tmp_path / f"{name}{suffix}" for name in ("plain", "cut", "one"))
    paint(clip, plain, segments=None, options=options)
    paint(clip, cut, options=options)
    assert frame_times(cut) == frame_times(plain)
    assert sound(cut) == sound(plain)
    decoded = decode_times(cut)
    assert decoded == sorted(set(decoded))
    paint(clip, one, segments=Segments(), options=options)
    assert [type(t) for t in decode_times(one)] == [type(t) for t in decode_times(plain)]


def test_a_cut_of_the_user_is_kept(clip: Path, tmp_path: Path) -> None:
    reading = ReadOptions(start=Fraction(3, 10), duration=Fraction(3, 2))
    paint(clip, tmp_path / "plain.mp4", segments=None, reading=reading)
    paint(clip, tmp_path / "cut.mp4", reading=reading)
    assert frame_times(tmp_path / "cut.mp4") == frame_times(tmp_path / "plain.mp4")
    assert len(frame_times(tmp_path / "cut.mp4")) == 37
    assert sound(tmp_path / "cut.mp4") == sound(tmp_path / "plain.mp4")


def test_times_that_jump_within_a_segment_make_one_of_all(tmp_path: Path) -> None:
    made = make_clip(tmp_path / "a.mkv", Clip(range(0, 2400, 40), Fraction(1, 1000),
                                             keyframe_every=10))  # fmt: skip
    swapped = tmp_path / "b.mkv"
    with av.open(str(made)) as source, av.open(str(swapped), "w") as output:
        stream = output.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(p for p in source.demux() if p.dts is not None):
            if number == 25:
                assert packet.pts is not None
                packet.pts += 300  # behind the frames that follow on it
            packet.stream = stream
            output.mux(packet)
    notes: list[str] = []
    paint(swapped, tmp_path / "plain.mp4", segments=None)
    paint(swapped, tmp_path / "cut.mp4", notes=notes)
    assert [note for note in notes if "times jump" in note]
    assert frame_times(tmp_path / "cut.mp4") == frame_times(tmp_path / "plain.mp4")


def test_a_steadied_segment_is_the_same_without_the_one_before(clip: Path, tmp_path: Path) -> None:
    """So that a kill or a cluster changes nothing; its lead is painted, but not delivered."""
    style = find_styles()[0]
    job = RenderJob(
        source=clip, output=tmp_path / "o.mp4", style=style, segments=HALF, steady=1.0,
        engine=EngineOptions(name="identity"),
    )  # fmt: skip
    video = look_at(job)
    job = settled(job, video.info, 1, 1)
    segments = plan(job, video).segments
    assert len(segments) == 3

    def encode(name: str, job: RenderJob, first: int) -> list[bytes]:
        (tmp_path / name).mkdir()
        with Engines() as engines:
            report = encode_segments(
                Batch(job=job, segments=segments[first:], path=lambda n: tmp_path / name / str(n)),
                engines,
            )
        assert report.frames_in == report.frames_out == 60 - 20 * first
        return [
            (tmp_path / name / str(segment.number)).read_bytes() for segment in segments[first:]
        ]

    through = encode("all", job, 0)
    assert encode("last", job, 2) == through[2:]
    assert encode("plain", replace(job, steady=0.0), 2) != through[2:]


def test_an_engine_paints_its_first_frame_as_all_others() -> None:
    """Or a run that goes on would show where it began."""
    info = StreamInfo(width=80, height=64, rate=Fraction(25), time_base=Fraction(1, 25))
    style = find_style("starry_night:starry_night")
    image = np.random.default_rng(0).integers(0, 255, (1, 64, 80, 3)).astype(np.uint8)
    with open_engine(EngineOptions(name="openvino", threads=1), style.model) as engine:
        announce(info, style, Look(), engine)
        first, second = (engine.submit(image, style.vector).result() for _ in range(2))
    assert np.array_equal(first, second)
