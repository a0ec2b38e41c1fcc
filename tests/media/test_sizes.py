"""Odd sizes, changing sizes, transparency, GIF."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from rtstyle.frame import Frame, StreamInfo
from rtstyle.media.options import WriteOptions
from rtstyle.media.video.sink import FileSink
from rtstyle.media.video.source import FileSource
from tests.media.clips import Clip, make_clip, picture


@pytest.mark.parametrize(("width", "height"), [(33, 48), (64, 25), (45, 31)])
def test_odd_sizes_are_padded_with_a_note(width: int, height: int, tmp_path: Path) -> None:
    info = StreamInfo(width, height, Fraction(25), Fraction(1, 25))
    with FileSink(tmp_path / "o.mp4", info, options=WriteOptions(crf=1)) as sink:
        sink.write(Frame(picture(0, width, height), Fraction(0), 0))
        sink.finish()
    (note,) = sink.notes
    assert "odd" in note
    with FileSource(tmp_path / "o.mp4") as source:
        image = next(source.frames()).image
    assert image.shape == (height + height % 2, width + width % 2, 3)
    assert np.abs(image[:height, :width].astype(int) - picture(0, width, height)).mean() < 4
    if width % 2:
        assert np.abs(image[:, -1].astype(int) - image[:, -2]).mean() < 4


def test_vp9_holds_odd_sizes(tmp_path: Path) -> None:
    info = StreamInfo(33, 25, Fraction(25), Fraction(1, 25))
    with FileSink(tmp_path / "o.webm", info) as sink:
        sink.write(Frame(picture(0, 33, 25), Fraction(0), 0))
        sink.finish()
    assert sink.notes == []
    with FileSource(tmp_path / "o.webm") as source:
        assert next(source.frames()).image.shape == (25, 33, 3)


def test_odd_sizes_are_read(tmp_path: Path) -> None:
    clip = Clip(width=33, height=25, pixel_format="yuv444p")
    with FileSource(make_clip(tmp_path / "a.mp4", clip)) as source:
        image = next(source.frames()).image
    assert np.abs(image.astype(int) - picture(0, 33, 25)).mean() < 4


def test_a_size_that_changes_is_scaled_to_the_first(tmp_path: Path) -> None:
    tick = Fraction(1, 90_000)
    small = make_clip(tmp_path / "small.ts", Clip(range(0, 36_000, 3600), tick))
    large = make_clip(tmp_path / "large.ts", Clip(range(36_000, 72_000, 3600), tick, 96, 80))
    (tmp_path / "both.ts").write_bytes(small.read_bytes() + large.read_bytes())
    with FileSource(tmp_path / "both.ts") as source:
        shapes = [f.image.shape for f in source.frames()]
    assert shapes == [(48, 64, 3)] * 20
    assert any("size changes" in note for note in source.notes)


def test_interlaced_video_is_read_whole_with_a_note(tmp_path: Path) -> None:
    options = (("preset", "ultrafast"), ("x264-params", "interlaced=1"))
    clip = Clip(range(0, 36_000, 3600), Fraction(1, 90_000), options=options)
    with FileSource(make_clip(tmp_path / "a.ts", clip)) as source:
        assert len(list(source.frames())) == 10
    assert source.notes == [
        "the video is interlaced and was deinterlaced; --no-deinterlace keeps both fields"
    ]


def test_transparency_is_dropped_with_a_note(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as output:
        video = output.add_stream("ffv1", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuva444p"
        frame = av.VideoFrame.from_ndarray(picture(0), format="rgb24")
        frame = frame.reformat(format="yuva444p")
        frame.planes[3].update(bytes([100]) * frame.planes[3].buffer_size)
        output.mux(video.encode(frame))
        output.mux(video.encode(None))
    with FileSource(tmp_path / "a.mkv") as source:
        assert len(list(source.frames())) == 1
    assert any("transparency" in note for note in source.notes)


def test_gif_in_and_out(tmp_path: Path) -> None:
    info = StreamInfo(64, 48, Fraction(25), Fraction(1, 25))
    with FileSink(tmp_path / "o.gif", info) as sink:
        for index in range(4):
            sink.write(Frame(picture(index), Fraction(index, 25), index, Fraction(1, 25)))
        sink.finish()
    with FileSource(tmp_path / "o.gif") as source:
        frames = list(source.frames())
    assert [f.time for f in frames] == [Fraction(i, 25) for i in range(4)]
    assert np.abs(frames[2].image.astype(int) - picture(2)).mean() < 8
