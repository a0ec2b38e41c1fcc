"""`… | rtstyle render - - | …`: processes that FFmpeg's libraries feed and read."""

from __future__ import annotations

import io
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from random import Random

import av
import numpy as np
import pytest

from tests.media.clips import Clip, make_clip

RENDER = [sys.executable, "-m", "rtstyle", "render", "--engine", "identity", "--no-progress"]
# Remuxes the file argv[1] to the format argv[2] on standard output, as `ffmpeg -c copy -f` does.
WRITER = """
import sys, av
with av.open(sys.argv[1]) as source, av.open("pipe:1", "w", format=sys.argv[2]) as output:
    streams = {s.index: output.add_stream_from_template(s) for s in source.streams}
    for packet in source.demux():
        if packet.dts is not None:
            packet.stream = streams[packet.stream.index]
            output.mux(packet)
"""
# Decodes standard input, and says what it holds.
READER = """
import sys, av
with av.open("pipe:0") as source:
    counts = {"video": 0, "audio": 0}
    for frame in source.decode():
        counts["audio" if isinstance(frame, av.AudioFrame) else "video"] += 1
print(source.format.name, counts["video"], counts["audio"] > 0)
"""


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    times = range(0, 50 * 40, 40)
    path = tmp_path_factory.mktemp("clip") / "in.mkv"
    return make_clip(path, Clip(times, Fraction(1, 1000), audio_seconds=2))


def render(data: bytes, *arguments: str, folder: Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*RENDER, *arguments], input=data, capture_output=True, cwd=folder, timeout=120, check=False
    )


def pictures(content: bytes) -> list[tuple[Fraction, bytes]]:
    with av.open(io.BytesIO(content)) as source:
        return [
            (frame.pts * frame.time_base, frame.to_ndarray().tobytes())
            for frame in source.decode(video=0)
        ]


@pytest.mark.parametrize("piped", ["matroska", "mpegts", "nut"])
def test_a_video_between_two_processes(piped: str, clip: Path, tmp_path: Path) -> None:
    pipe = subprocess.PIPE
    writer = subprocess.Popen([sys.executable, "-c", WRITER, clip, piped], stdout=pipe)
    between = subprocess.Popen(
        [*RENDER, "-", "-", "-f", piped], stdin=writer.stdout, stdout=pipe, stderr=pipe,
        cwd=tmp_path,
    )  # fmt: skip
    reader = subprocess.Popen([sys.executable, "-c", READER], stdin=between.stdout, stdout=pipe)
    assert writer.stdout
    assert between.stdout
    writer.stdout.close()
    between.stdout.close()
    said, _ = reader.communicate(timeout=120)
    _, notes = between.communicate(timeout=60)
    assert (writer.wait(60), between.returncode, reader.returncode) == (0, 0, 0), notes
    names = {"matroska": "matroska,webm"}
    assert said.decode().split() == [names.get(piped, piped), "50", "True"]
    assert b"50 frames in, 50 out" in notes
    assert list(tmp_path.iterdir()) == []


def test_a_pipe_gives_what_a_file_does(clip: Path, tmp_path: Path) -> None:
    done = render(clip.read_bytes(), "-", "-", "-q", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    there = render(b"", str(clip), "o.mkv", "--no-resume", "-q", folder=tmp_path)
    assert there.returncode == 0, there.stderr
    assert pictures(done.stdout) == pictures((tmp_path / "o.mkv").read_bytes())


def test_raw_video_is_nothing_but_pictures(clip: Path, tmp_path: Path) -> None:
    done = render(clip.read_bytes(), "-", "-", "-f", "rawvideo", folder=tmp_path)
    assert len(done.stdout) == 50 * 64 * 48 * 3 // 2
    assert b"rawvideo cannot hold it" in done.stderr
    y4m = render(clip.read_bytes(), "-", "pipe:1", "-f", "yuv4mpegpipe", folder=tmp_path)
    assert y4m.stdout.startswith(b"YUV4MPEG2 W64 H48 F25:1")
    again = render(y4m.stdout, "pipe:0", "o.mkv", "-t", "1", folder=tmp_path)
    assert again.returncode == 0, again.stderr
    found = pictures((tmp_path / "o.mkv").read_bytes())
    assert [time for time, _ in found] == [Fraction(i, 25) for i in range(25)]


def test_raw_video_comes_in_by_its_size(clip: Path, tmp_path: Path) -> None:
    written = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-q")
    raw = render(clip.read_bytes(), "-", "-", *written, folder=tmp_path).stdout
    assert len(raw) == 50 * 64 * 48 * 3
    options = ("--size", "64x48:rgb24", "-r", "25", "-q")
    done = render(raw, "-", "o.mkv", *options, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    found = pictures((tmp_path / "o.mkv").read_bytes())
    assert [time for time, _ in found] == [Fraction(i, 25) for i in range(50)]
    assert render(raw, "-", "-", *written, *options, folder=tmp_path).stdout == raw
    cut = render(raw[:-1000], "-", "p.mkv", *options, folder=tmp_path)
    assert cut.returncode in (0, 1)
    assert len(pictures((tmp_path / "p.mkv").read_bytes())) == 49


@pytest.mark.parametrize(("name", "suffix"), [("yuv4mpegpipe", ".y4m"), ("mpegts", ".ts")])
def test_pipes_at_both_ends_give_what_a_file_does(
    name: str, suffix: str, clip: Path, tmp_path: Path
) -> None:
    given = render(clip.read_bytes(), "-", "-", "-f", name, folder=tmp_path).stdout
    (tmp_path / f"in{suffix}").write_bytes(given)
    between = render(given, "-", "-", "-f", name, "-q", folder=tmp_path)
    assert (between.returncode, between.stderr) == (0, b"")
    alone = render(b"", f"in{suffix}", "-", "-f", name, "-q", folder=tmp_path)
    assert (alone.returncode, alone.stderr) == (0, b"")
    assert len(pictures(between.stdout)) == 50
    assert pictures(between.stdout) == pictures(alone.stdout)


def test_a_closed_pipe_ends_quietly(tmp_path: Path) -> None:
    command = [*RENDER, "lavfi:testsrc2=size=320x240:rate=25:duration=20", "-", "-f", "rawvideo"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.read(1000)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 1


@pytest.mark.parametrize(
    ("data", "arguments", "status", "says"),
    [
        (Random(0).randbytes(50_000), ("-", "-"), 1, "is no video that can be read"),
        (b"", ("-", "o.mp4"), 1, "is no video that can be read"),
        (b"", ("-", "-", "-f", "mp4"), 1, "is no video that can be read"),
        (b"", ("{clip}", "-", "-f", "mp4"), 2, "A pipe takes the format matroska"),
        (b"", ("{clip}", "o.mp4", "-f", "nut"), 2, "-f is the format of a pipe"),
        (b"", ("{clip}", "{clip}", "-"), 2, "the output is a pipe"),
        (b"", ("{clip}", "o.mp4", "--size", "64x48"), 2, "--size is of raw video"),
        (b"", ("-", "o.mp4", "--size", "64"), 2, "A size is written as 640x360"),
        (b"", ("-", "o.mp4", "--size", "64x48"), 1, "No picture of standard input"),
        (b"abc", ("-", "o.mp4", "--size", "64x48:nothing"), 1, "is no video that can be read"),
    ],
)
def test_what_is_wrong_with_a_pipe_is_one_sentence(
    data: bytes, arguments: tuple[str, ...], status: int, says: str, clip: Path, tmp_path: Path
) -> None:
    filled = [argument.format(clip=clip) for argument in arguments]
    done = render(data, *filled, folder=tmp_path)
    assert (done.returncode, done.stdout) == (status, b"")
    (sentence,) = done.stderr.decode().splitlines()
    assert sentence.startswith("rtstyle: ")
    assert says in sentence
    assert list(tmp_path.iterdir()) == []


def test_segments_asked_of_a_pipe_are_noted(clip: Path, tmp_path: Path) -> None:
    done = render(clip.read_bytes(), "-", "o.mkv", "--segment", "1", folder=tmp_path)
    assert done.returncode == 0
    assert done.stderr == b"note: a pipe is painted in one go, without segments\n"
    assert [path.name for path in tmp_path.iterdir()] == ["o.mkv"]


def test_the_bytes_kept_for_the_other_reader_are_few() -> None:
    from rtstyle.media.video.pipe import _Tee

    data = np.random.default_rng(0).bytes(1 << 20)
    tee = _Tee(io.BufferedReader(io.BytesIO(data)))
    first = b"".join(iter(lambda: tee.read(0), b""))
    second = b"".join(iter(lambda: tee.read(1), b""))
    assert first == second == data
    tee = _Tee(io.BufferedReader(io.BytesIO(data)))
    tee.read(0)
    tee.drop(1)
    assert b"".join(iter(lambda: tee.read(0), b""))
    assert tee._waiting == [type(tee._waiting[0])(), None]
