"""Damaged and wrong files: every good frame, then one clear sentence."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from rtstyle.errors import (
    InputNotFoundError,
    MediaError,
    OutputError,
    OutputExistsError,
    UsageError,
)
from rtstyle.frame import Frame, StreamInfo
from rtstyle.media import WriteOptions, open_sink, open_source
from rtstyle.media.video.sink import FileSink
from rtstyle.media.video.source import FileSource
from tests.media.clips import Clip, make_clip, picture

TIMES = tuple(range(0, 40 * 512, 512))
INFO = StreamInfo(64, 48, Fraction(25), Fraction(1, 25))


def _read(path: Path) -> tuple[list[Frame], str]:
    """The frames delivered, and what the error says."""
    frames: list[Frame] = []
    with FileSource(path) as source, pytest.raises(MediaError) as caught:
        frames.extend(source.frames())
    return frames, str(caught.value)


@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".avi"])
def test_a_truncated_file_ends_after_its_last_good_frame(suffix: str, tmp_path: Path) -> None:
    if suffix == ".webm":
        clip = Clip(TIMES, codec="libvpx", options=(("deadline", "realtime"), ("cpu-used", "8")))
    elif suffix == ".avi":
        clip = Clip(range(40), Fraction(1, 25), codec="mpeg4", options=())
    else:
        clip = Clip(TIMES)
    whole = make_clip(tmp_path / f"a{suffix}", clip).read_bytes()
    cut = tmp_path / f"b{suffix}"
    cut.write_bytes(whole[: len(whole) * 2 // 3])
    frames, sentence = _read(cut)
    assert 3 < len(frames) < 40
    assert [f.time for f in frames] == [Fraction(i, 25) for i in range(len(frames))]
    assert f"frame {len(frames)} " in sentence
    assert f"{float(frames[-1].time):.3f} s" in sentence


def test_a_truncated_fast_start_mp4(tmp_path: Path) -> None:
    with FileSink(tmp_path / "a.mp4", INFO) as sink:
        for index in range(40):
            sink.write(Frame(picture(index), Fraction(index, 25), index))
        sink.finish()
    whole = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "b.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    frames, sentence = _read(tmp_path / "b.mp4")
    assert 3 < len(frames) < 40
    assert [f.time for f in frames] == [Fraction(i, 25) for i in range(len(frames))]
    assert "is damaged" in sentence


def test_a_packet_that_cannot_be_decoded(tmp_path: Path) -> None:
    made = make_clip(tmp_path / "a.mp4", Clip(TIMES))
    with av.open(str(made)) as source, av.open(str(tmp_path / "b.mp4"), "w") as output:
        stream = output.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(p for p in source.demux() if p.dts is not None):
            if number == 20:
                broken = av.Packet(b"\x00\x00\x00\x05nonsense" * 3)
                broken.pts, broken.dts, broken.time_base = packet.pts, packet.dts, packet.time_base
                broken.duration = packet.duration
                packet = broken
            packet.stream = stream
            output.mux(packet)
    frames, sentence = _read(tmp_path / "b.mp4")
    assert len(frames) == 20
    assert "frame 20 cannot be decoded" in sentence
    assert "0.760 s" in sentence


def test_the_good_part_can_be_finished(tmp_path: Path) -> None:
    whole = make_clip(tmp_path / "a.mkv", Clip(TIMES, audio_seconds=1.6)).read_bytes()
    (tmp_path / "b.mkv").write_bytes(whole[: len(whole) * 2 // 3])
    with open_source(tmp_path / "b.mkv") as source, open_sink(tmp_path / "c.mkv", source) as sink:
        frames: list[Frame] = []
        with pytest.raises(MediaError):
            frames.extend(source.frames())
        for frame in frames:
            sink.write(frame)
        sink.finish(complete=False)
    with FileSource(tmp_path / "c.mkv") as copy:
        assert [f.time for f in copy.frames()] == [f.time for f in frames]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("text.mp4", b"this is no video at all\n" * 50, "not a video that can be read"),
        ("empty.mp4", b"", "empty"),
        ("cut.mp4", b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2avc1mp41", "not a video"),
        ("list.m3u8", b"#EXTM3U\n#EXTINF:1,\n/etc/hostname\n", "not a video that can be read"),
        ("list.txt", b"ffconcat version 1.0\nfile other.mp4\n", "not a video that can be read"),
        ("text.png", b"this is no picture", "not a picture"),
    ],
)
def test_files_that_are_something_else(
    name: str, content: bytes, says: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MediaError, match=says):
        open_source(tmp_path / name)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match="no file"):
        open_source(tmp_path / "nothing.mp4")
    with pytest.raises(InputNotFoundError):
        open_source(tmp_path / "nothing.png")
    with pytest.raises(InputNotFoundError, match="no pictures"):
        open_source(tmp_path)


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    make_clip(tmp_path / "a.mp4", Clip(audio_seconds=0.2))
    with av.open(str(tmp_path / "a.mp4")) as source, av.open(str(tmp_path / "b.mp4"), "w") as out:
        stream = out.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(audio=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    with pytest.raises(MediaError, match="holds no video, only audio"):
        open_source(tmp_path / "b.mp4")


def test_nothing_of_ffmpeg_leaks(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    whole = make_clip(tmp_path / "a.mkv", Clip(TIMES)).read_bytes()
    (tmp_path / "b.mkv").write_bytes(whole[:2000] + b"\xaa" * 900 + whole[2900:])
    with FileSource(tmp_path / "b.mkv") as source, suppress(MediaError):
        list(source.frames())
    assert capfd.readouterr() == ("", "")


def test_an_existing_output_is_kept(tmp_path: Path) -> None:
    (tmp_path / "o.mp4").write_bytes(b"mine")
    with pytest.raises(OutputExistsError, match="overwrit"):
        FileSink(tmp_path / "o.mp4", INFO)
    assert (tmp_path / "o.mp4").read_bytes() == b"mine"
    with FileSink(tmp_path / "o.mp4", INFO, options=WriteOptions(overwrite=True)) as sink:
        sink.write(Frame(picture(0), Fraction(0), 0))
        assert (tmp_path / "o.mp4").read_bytes() == b"mine"
        sink.finish()
    assert (tmp_path / "o.mp4").read_bytes() != b"mine"


def test_the_input_is_never_the_output(tmp_path: Path) -> None:
    made = make_clip(tmp_path / "a.mp4")
    (tmp_path / "link.mp4").symlink_to(made)
    with open_source(made) as source:
        for output in (made, tmp_path / "link.mp4"):
            with pytest.raises(UsageError, match="the input itself"):
                open_sink(output, source, WriteOptions(overwrite=True))


@pytest.mark.parametrize(
    ("output", "error", "says"),
    [
        ("file/o.mp4", OutputError, "cannot be made"),
        ("o.xyz", UsageError, "mp4"),
        (".", OutputError, "folder"),
    ],
)
def test_outputs_that_cannot_be(
    output: str, error: type[Exception], says: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(error, match=says):
        FileSink(tmp_path / output, INFO) if output != "." else FileSink(_folder(tmp_path), INFO)


def _folder(tmp_path: Path) -> Path:
    folder = tmp_path / "o.mp4"
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    "options",
    [
        WriteOptions(codec="nonsense"),
        WriteOptions(preset="nonsense"),
        WriteOptions(options={"nonsense": "1"}),
        WriteOptions(codec="aac"),
        WriteOptions(pixel_format="nonsense"),
    ],
    ids=lambda o: str(o.codec or o.preset or dict(o.options) or o.pixel_format),
)
def test_encoder_options_that_do_not_exist(options: WriteOptions, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        FileSink(tmp_path / "o.mp4", INFO, options=options)
    assert list(tmp_path.iterdir()) == []


def test_a_frame_of_another_size_is_refused(tmp_path: Path) -> None:
    with FileSink(tmp_path / "o.mp4", INFO) as sink, pytest.raises(OutputError, match="64×48"):
        sink.write(Frame(picture(0, 32, 32), Fraction(0), 0))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="ermission"):
        FileSink(tmp_path / "o.mp4", INFO)


@contextmanager
def _full_disk(limit: int) -> Iterator[None]:
    """Let no file grow beyond `limit` bytes, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("n_frames", [3, 60], ids=["at the end", "on the way"])
def test_a_full_disk(suffix: str, n_frames: int, tmp_path: Path) -> None:
    with (
        _full_disk(4096),
        FileSink(tmp_path / f"o{suffix}", INFO) as sink,
        pytest.raises(OutputError, match="cannot be written"),
    ):
        _write_noise(sink, n_frames)
    assert list(tmp_path.iterdir()) == []


def _write_noise(sink: FileSink, n_frames: int) -> None:
    rng = np.random.default_rng(0)
    for index in range(n_frames):
        image = rng.integers(0, 255, (48, 64, 3), np.uint8)
        sink.write(Frame(image, Fraction(index, 25), index))
    sink.finish()
