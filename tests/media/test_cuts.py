"""A video that is decoded from a cut on gives the pictures that it gives from its beginning."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from av.error import InvalidDataError

from rtstyle.frame import Frame
from rtstyle.media import ReadOptions
from rtstyle.media.video.decoder import Decoder
from rtstyle.media.video.deinterlace import TimedFrame
from rtstyle.media.video.keyframes import keyframes_apart
from rtstyle.media.video.parts import Part, Video, open_part
from rtstyle.media.video.source import FileSource
from tests.media.clips import Clip, make_clip

X264, X265 = "x264-params", "x265-params"
TIMES, TICK = range(50), Fraction(1, 25)
CLIPS = {
    "h264 4:2:0.mp4": ("libx264", "yuv420p", {X264: "scenecut=0"}),
    "h264 4:2:2.mp4": ("libx264", "yuv422p", {X264: "scenecut=0"}),
    "h264 4:4:4 open GOP.mp4": ("libx264", "yuv444p", {X264: "open-gop=1:scenecut=0"}),
    "h264 open GOP.mkv": ("libx264", "yuv420p", {X264: "open-gop=1:b-pyramid=normal:scenecut=0"}),
    "h264 open GOP.ts": ("libx264", "yuv420p", {X264: "open-gop=1:scenecut=0"}),
    "h264 10 bit.mp4": ("libx264", "yuv420p10le", {}),
    "h264 intra refresh.mp4": ("libx264", "yuv420p", {X264: "intra-refresh=1"}),
    "h264 field-coded.mp4": ("libx264", "yuv420p", {X264: "interlaced=1:open-gop=1"}),
    "hevc RASL.mp4": ("libx265", "yuv420p", {X265: "log-level=none:open-gop=1:scenecut=0"}),
    "vp9 alt-ref.webm": ("libvpx-vp9", "yuv420p", {"lag-in-frames": "16", "cpu-used": "8"}),
    "mpeg2.ts": ("mpeg2video", "yuv420p", {"bf": "2"}),
    "mpeg4.avi": ("mpeg4", "yuv420p", {"bf": "2"}),
    "prores.mov": ("prores_ks", "yuv422p10le", {}),
    "ffv1.mkv": ("ffv1", "yuv420p", {}),
    "mjpeg.avi": ("mjpeg", "yuvj420p", {}),
}


@pytest.mark.parametrize("name", CLIPS)
def test_parts_and_starts_are_those_of_the_whole(name: str, tmp_path: Path) -> None:
    codec, pixel_format, options = CLIPS[name]
    clip = Clip(
        TIMES, TICK, codec=codec, pixel_format=pixel_format, options=tuple(options.items()),
        keyframe_every=12,
    )  # fmt: skip
    _check(make_clip(tmp_path / name, clip), n_parts=2)


def test_an_old_encoder_named_in_the_first_packet_is_known_in_every_part(tmp_path: Path) -> None:
    """FFmpeg decodes High 4:4:4 of x264 before build 151 differently, and x264 states its build
    in the first packet only. The first build is put in the place of a later one here."""
    options = (("qp", "0"), (X264, "scenecut=0"))  # lossless, which is High 4:4:4
    new = make_clip(tmp_path / "new.mp4", Clip(TIMES, TICK, options=options, keyframe_every=12))
    content = new.read_bytes()
    assert content.count(b"x264 - core 1") == 1
    old = tmp_path / "old.mp4"
    old.write_bytes(content.replace(b"x264 - core 1", b"x264 - core 0"))
    with FileSource(new) as source, FileSource(old) as other:
        pairs = zip(source.frames(), other.frames(), strict=True)
        assert not all(np.array_equal(a.image, b.image) for a, b in pairs)
    _check(old, n_parts=2)


def test_a_stream_without_times_starts_where_it_should(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mp4", Clip(TIMES, TICK))
    with av.open(str(source)) as given, av.open(str(tmp_path / "a.h264"), "w") as raw:
        stream = raw.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(given.streams.video[0]):
            if packet.size:
                packet.stream = stream
                raw.mux(packet)
    whole = _frames(tmp_path / "a.h264", None)
    assert len(whole) == len(TIMES)
    for start in (Fraction(0), Fraction(9, 10)):
        _assert_same(_frames(tmp_path / "a.h264", start), [f for f in whole if f.time >= start])


@pytest.mark.parametrize("raises", [False, True])
def test_what_is_damaged_only_from_a_cut_on_is_no_damage_of_the_file(
    raises: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_clip(tmp_path / "a.mp4", Clip(TIMES, TICK, keyframe_every=12))
    whole, sought = _frames(path, None), Decoder._sought

    def damaged(self: Decoder, start: Fraction) -> Iterator[TimedFrame]:
        for number, timed in enumerate(sought(self, start)):
            if number == 3:
                if raises:
                    raise InvalidDataError(1, "no reference")
                self.lost += 1
            yield timed

    monkeypatch.setattr(Decoder, "_sought", damaged)
    with FileSource(path, ReadOptions(Fraction(1))) as source:
        _assert_same(list(source.frames()), [f for f in whole if f.time >= 1])
        assert source.notes == []


def _check(path: Path, *, n_parts: int) -> None:
    whole = _frames(path, None)
    with FileSource(path) as source:
        video = Video.of(source)
    cuts = list(keyframes_apart(video, Fraction(1, 2)))
    assert len(cuts) + 1 >= n_parts
    parts: list[Frame] = []
    for start, end in pairwise([None, *cuts, None]):
        with open_part(video, Part(start, end)) as part:
            parts += part.frames()
    _assert_same(parts, whole)
    assert [frame.time for frame in parts] == [frame.time for frame in whole]
    for start in (Fraction(1, 3), Fraction(11, 10), Fraction(3, 2)):
        _assert_same(_frames(path, start), [f for f in whole if f.time >= start])


def _frames(path: Path, start: Fraction | None) -> list[Frame]:
    with FileSource(path, ReadOptions(start)) as source:
        return list(source.frames())


def _assert_same(frames: list[Frame], expected: list[Frame]) -> None:
    assert len(frames) == len(expected)
    for frame, other in zip(frames, expected, strict=True):
        np.testing.assert_array_equal(frame.image, other.image)
