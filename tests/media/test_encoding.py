"""What the user asks of an encoder, found in the file that it makes."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from rtstyle.frame import Frame, StreamInfo
from rtstyle.media import WriteOptions, open_source
from rtstyle.media.video.formats import encoder_options
from rtstyle.media.video.sink import FileSink
from tests.media.clips import Clip, make_clip
from tests.rendering.renders import frame_times, paint, state_of

INFO = StreamInfo(64, 48, Fraction(25), Fraction(1, 25))


def _size(path: Path, bitrate: int | None) -> int:
    rng = np.random.default_rng(0)
    with FileSink(path, INFO, options=WriteOptions(bitrate=bitrate)) as sink:
        for index in range(50):
            image = rng.integers(0, 255, (48, 64, 3), np.uint8)
            sink.write(Frame(image, Fraction(index, 25), index))
        sink.finish()
    return path.stat().st_size


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".avi", ".mpg"])
def test_a_bit_rate_takes_the_place_of_the_quality(suffix: str, tmp_path: Path) -> None:
    by_quality = _size(tmp_path / f"a{suffix}", None)
    assert _size(tmp_path / f"b{suffix}", 50_000) < by_quality / 2


def test_options_of_the_user_win_over_the_bit_rate() -> None:
    wanted = WriteOptions(bitrate=1000, options={"crf": "7"})
    found = encoder_options("libx264", wanted, INFO)
    assert found == {"preset": "superfast", "b": "1000", "crf": "7"}


@pytest.mark.parametrize("suffix", [".ts", ".m2ts", ".mpg", ".apng"])
def test_every_frame_keeps_its_time(suffix: str, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", Clip(range(0, 60 * 512, 512), keyframe_every=10))
    notes: list[str] = []
    paint(clip, tmp_path / f"o{suffix}", notes=notes, preset=None)
    assert frame_times(tmp_path / f"o{suffix}") == frame_times(clip)
    assert notes == []
    assert not state_of(tmp_path / f"o{suffix}").exists()


def test_an_mpeg_of_a_rate_that_it_lacks_takes_the_next(tmp_path: Path) -> None:
    times = [0, 512, 1100, 1500, 3000, 3512]
    clip = make_clip(tmp_path / "a.mp4", Clip(times))
    notes: list[str] = []
    paint(clip, tmp_path / "o.mpg", notes=notes, preset=None)
    found = frame_times(tmp_path / "o.mpg")
    late = [a - b for a, b in zip(found, frame_times(clip), strict=True)]
    assert max(map(abs, late)) < Fraction(1, 20)
    assert len(notes) == 1
    assert "were rounded" in notes[0]


def test_an_apng_is_lossless_and_plays_for_ever(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4")
    paint(clip, tmp_path / "o.apng", preset=None, steady=0.0)
    with open_source(clip) as before, open_source(tmp_path / "o.apng") as after:
        for a, b in zip(before.frames(), after.frames(), strict=True):
            assert np.array_equal(a.image, b.image)
    content = (tmp_path / "o.apng").read_bytes()
    control = content.index(b"acTL")
    assert content[control + 8 : control + 12] == bytes(4)


def test_the_pixel_format_is_the_one_asked_for(tmp_path: Path) -> None:
    options = WriteOptions(pixel_format="yuv422p10le")
    with FileSink(tmp_path / "o.mkv", INFO, options=options) as sink:
        sink.write(Frame(np.zeros((48, 64, 3), np.uint8), Fraction(0), 0))
        sink.finish()
    with av.open(str(tmp_path / "o.mkv")) as made:
        assert made.streams.video[0].codec_context.pix_fmt == "yuv422p10le"


def test_folders_above_an_output_are_made(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4")
    for name in ("new/a/o.mp4", "new/b/pictures", "new/c/p%d.png"):
        paint(clip, tmp_path / name, preset=None)
    assert (tmp_path / "new/a/o.mp4").exists()
    assert len(list((tmp_path / "new/b/pictures").iterdir())) == 12
    assert len(list((tmp_path / "new/c").iterdir())) == 12


def test_no_encoder_takes_the_machine_for_itself(tmp_path: Path) -> None:
    threads = Path("/proc/self/task")
    if not threads.is_dir():
        pytest.skip("only Linux lists the threads of a process with their scheduling")
    frame = Frame(np.zeros((48, 64, 3), np.uint8), Fraction(0), 0)
    with FileSink(tmp_path / "a.mp4", INFO, options=WriteOptions(codec="libsvtav1")) as sink:
        sink.write(frame)
        running = [int(thread.name) for thread in threads.iterdir()]
        ordinary = [os.sched_getscheduler(thread) == os.SCHED_OTHER for thread in running]
        sink.finish()
    assert len(ordinary) > 10  # the encoder's own are among them
    assert all(ordinary)
