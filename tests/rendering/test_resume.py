"""A render that was killed goes on, and ends as if nothing had been."""

from __future__ import annotations

import errno
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from rtstyle.engines import EngineOptions, open_engine
from rtstyle.errors import MediaError, OutputError, OutputExistsError, UsageError
from rtstyle.frame import StreamInfo
from rtstyle.media import ReadOptions
from rtstyle.media.base import Origin
from rtstyle.media.images import write_picture
from rtstyle.media.video.parts import Video
from rtstyle.media.video.source import FileSource
from rtstyle.metrics import Report
from rtstyle.rendering import packet_file
from rtstyle.rendering.encode import announce
from rtstyle.rendering.job import RenderJob, Segments
from rtstyle.rendering.plan import Segment
from rtstyle.rendering.store import State
from rtstyle.style.parse import find_style
from tests.media.clips import Clip, make_clip, picture
from tests.rendering.renders import (
    CLIP,
    FAST,
    HALF,
    decode_times,
    frame_times,
    paint,
    paint_until_killed,
    sound,
    state_of,
)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clips") / "a.mp4", CLIP)


@pytest.fixture(scope="module")
def whole(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What an uninterrupted run makes of it."""
    output = tmp_path_factory.mktemp("whole") / "o.mp4"
    paint(clip, output)
    return output.read_bytes()


@pytest.mark.parametrize("point", ["3", "45", "leave", "leave_done"])
def test_a_killed_run_goes_on_to_the_same_bytes(
    point: str, clip: Path, whole: bytes, tmp_path: Path
) -> None:
    output = tmp_path / "o.mp4"
    paint_until_killed(clip, output, point)
    assert output.exists() == (point == "leave_done")
    report = paint(clip, output)
    assert report.resumed + report.frames_out == (0 if point == "leave_done" else 60)
    # Of frame 45's three segments one may still be on its way to the disk.
    assert report.resumed in {"3": [0], "45": [20, 40], "leave": [60], "leave_done": [0]}[point]
    assert output.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [output]


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
    paint(source, tmp_path / "plain.mp4", resume=False, notes=notes["plain.mp4"], crf=1)
    kept = Segments(seconds=HALF.seconds, keep=True)
    paint(source, tmp_path / "cut.mp4", resume=kept, notes=notes["cut.mp4"], crf=1)
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
    paint(clip, plain, resume=False, options=options)
    paint(clip, cut, options=options)
    assert frame_times(cut) == frame_times(plain)
    assert sound(cut) == sound(plain)
    decoded = decode_times(cut)
    assert decoded == sorted(set(decoded))
    paint(clip, one, resume=Segments(), options=options)
    assert [type(t) for t in decode_times(one)] == [type(t) for t in decode_times(plain)]


def test_a_cut_of_the_user_is_kept(clip: Path, tmp_path: Path) -> None:
    reading = ReadOptions(start=Fraction(3, 10), duration=Fraction(3, 2))
    paint(clip, tmp_path / "plain.mp4", resume=False, reading=reading)
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
    paint(swapped, tmp_path / "plain.mp4", resume=False)
    paint(swapped, tmp_path / "cut.mp4", notes=notes)
    assert [note for note in notes if "times jump" in note]
    assert frame_times(tmp_path / "cut.mp4") == frame_times(tmp_path / "plain.mp4")


def test_a_changed_setting_starts_afresh_and_says_so(
    clip: Path, whole: bytes, tmp_path: Path
) -> None:
    output, notes = tmp_path / "o.mp4", list[str]()
    _interrupt(clip, output, at_frame=45)
    output.unlink()
    report = paint(clip, output, crf=30, notes=notes)
    assert report.resumed == 0
    assert any("another encoder" in note for note in notes)
    assert output.stat().st_size < len(whole)


def test_a_changed_input_starts_afresh_and_says_so(clip: Path, tmp_path: Path) -> None:
    source, output, notes = tmp_path / "a.mp4", tmp_path / "o.mp4", list[str]()
    source.write_bytes(clip.read_bytes())
    _interrupt(source, output, at_frame=45)
    output.unlink()
    make_clip(source, Clip(CLIP.times[:40], keyframe_every=10))
    assert paint(source, output, notes=notes).frames_out == 40
    assert any("input changed" in note for note in notes)


@pytest.mark.parametrize("damage", ["flipped", "cut off", "empty", "state"])
def test_what_is_damaged_is_painted_again(
    damage: str, clip: Path, whole: bytes, tmp_path: Path
) -> None:
    output, notes = tmp_path / "o.mp4", list[str]()
    _interrupt(clip, output, at_frame=45)
    first = state_of(output) / ("state.json" if damage == "state" else "000000.segment")
    data = bytearray(first.read_bytes())
    if damage == "flipped":
        data[len(data) // 2] ^= 1
    first.write_bytes(b"" if damage == "empty" else data[: -1 if damage != "flipped" else None])
    report = paint(clip, output, notes=notes, overwrite=damage == "state")
    assert any("damaged" in note for note in notes)
    assert report.frames_out == (60 if damage == "state" else 40)
    assert output.read_bytes() == whole
    assert not state_of(output).exists()


def _interrupt(source: Path, output: Path, at_frame: int) -> None:
    """As Ctrl-C at that frame."""

    def press(report: Report, total: int | None) -> None:
        if report.frames_out == at_frame:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        paint(source, output, on_frame=press)


def test_an_interrupt_leaves_a_playable_part_to_go_on_from(
    clip: Path, whole: bytes, tmp_path: Path
) -> None:
    output = tmp_path / "o.mp4"
    for at_frame in (7, 45):
        _interrupt(clip, output, at_frame)
        assert frame_times(output) == [Fraction(i, 25) for i in range(at_frame)]
        assert sound(output)[-1][0] < Fraction(at_frame, 25)
    assert paint(clip, output).resumed == 40
    assert output.read_bytes() == whole


def test_what_another_put_there_meanwhile_is_not_replaced(clip: Path, tmp_path: Path) -> None:
    output = tmp_path / "o.mp4"
    _interrupt(clip, output, at_frame=45)
    output.write_bytes(b"precious")
    with pytest.raises(OutputExistsError):
        paint(clip, output)
    assert output.read_bytes() == b"precious"
    assert list(state_of(output).glob("*.segment"))


def test_what_cannot_begin_loses_nothing(clip: Path, tmp_path: Path) -> None:
    output = tmp_path / "o.mp4"
    _interrupt(clip, output, at_frame=45)
    for wrong in ({"engine": "abacus"}, {"options": {"nonsense": "1"}}):
        with pytest.raises(UsageError):
            paint(clip, output, overwrite=True, **wrong)
    assert paint(clip, output).resumed == 40


def test_two_at_once_are_refused(clip: Path, tmp_path: Path) -> None:
    output = tmp_path / "o.mp4"
    with State(output), pytest.raises(OutputError, match="another process"):
        paint(clip, output)
    paint(clip, output)
    assert list(tmp_path.iterdir()) == [output]


def test_a_damaged_input_leaves_its_good_part_and_nothing_to_go_on_with(tmp_path: Path) -> None:
    made = make_clip(tmp_path / "a.mkv", Clip(range(0, 2400, 40), Fraction(1, 1000),
                                             keyframe_every=10, audio_seconds=2.4))  # fmt: skip
    data = made.read_bytes()
    made.write_bytes(data[: len(data) * 3 // 4])
    with pytest.raises(MediaError, match="damaged"):
        paint(made, tmp_path / "plain.mp4", resume=False)
    with pytest.raises(MediaError, match="damaged"):
        paint(made, tmp_path / "cut.mp4")
    assert frame_times(tmp_path / "cut.mp4") == frame_times(tmp_path / "plain.mp4")
    assert sound(tmp_path / "cut.mp4") == sound(tmp_path / "plain.mp4")
    assert not state_of(tmp_path / "cut.mp4").exists()


def test_a_full_disk_keeps_what_is_finished(
    clip: Path, whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "o.mp4"
    with monkeypatch.context() as patch:
        limit_segments(patch, bytes_left=len(whole) // 2)
        with pytest.raises(OutputError, match="No space left"):
            paint(clip, output)
    assert not output.exists()
    n_finished = len(list(state_of(output).glob("*.segment")))
    assert n_finished in (1, 2)
    assert paint(clip, output).resumed == 20 * n_finished
    assert output.read_bytes() == whole


def limit_segments(patch: pytest.MonkeyPatch, *, bytes_left: int) -> None:
    """No more than that can be written into segments."""
    write = packet_file._Hashing.write

    def limited(self: packet_file._Hashing, data: Any) -> None:
        nonlocal bytes_left
        bytes_left -= memoryview(data).nbytes
        if bytes_left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(self, data)

    patch.setattr(packet_file._Hashing, "write", limited)


def test_segments_are_kept_if_asked(clip: Path, tmp_path: Path) -> None:
    output = tmp_path / "o.mp4"
    paint(clip, output, resume=Segments(seconds=HALF.seconds, keep=True))
    assert len(list(state_of(output).glob("*.segment"))) == 3
    output.unlink()
    assert paint(clip, output).resumed == 60


def test_pictures_into_a_film_go_on_too(tmp_path: Path) -> None:
    for index in range(30):
        write_picture(tmp_path / f"p{index:02}.png", picture(index), overwrite=False)
    source = tmp_path / "p%02d.png"
    paint(source, tmp_path / "plain.mp4", resume=False)
    _interrupt(source, tmp_path / "o.mp4", at_frame=20)
    assert paint(source, tmp_path / "o.mp4").resumed == 12
    assert frame_times(tmp_path / "o.mp4") == frame_times(tmp_path / "plain.mp4")


@pytest.mark.parametrize("was_there", [False, True])
def test_pictures_that_are_there_are_not_painted_again(was_there: bool, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for index in range(9):
        write_picture(tmp_path / "in" / f"p{index}.png", picture(index), overwrite=False)
    output = tmp_path / "out"
    if was_there:
        output.mkdir()
    _interrupt(tmp_path / "in", output, at_frame=4)
    before = {path.name: path.stat().st_mtime_ns for path in output.glob("p*")}
    assert len(before) == 4
    report = paint(tmp_path / "in", output)
    assert (report.resumed, report.frames_out) == (4, 5)
    after = {path.name: path.stat().st_mtime_ns for path in output.iterdir()}
    assert len(after) == 9
    assert before.items() <= after.items()
    assert not state_of(output).exists()  # nor within: nothing but the nine
    with pytest.raises(OutputExistsError):  # a finished run is none to go on with
        paint(tmp_path / "in", output)
    assert not state_of(output).exists()


def test_an_engine_paints_its_first_frame_as_all_others(tmp_path: Path) -> None:
    """Or a run that goes on would show where it began."""
    info = StreamInfo(width=80, height=64, rate=Fraction(25), time_base=Fraction(1, 25))
    video = Video(info, Origin(()))
    job = RenderJob(source=tmp_path / "a", output=tmp_path / "o.mp4", style="udnie")
    style = find_style("starry_night:starry_night")
    image = np.random.default_rng(0).integers(0, 255, (1, 64, 80, 3)).astype(np.uint8)
    with open_engine(EngineOptions(name="openvino", threads=1), style.model) as engine:
        announce(job, Segment(0, None, None, video), engine, style)
        first, second = (engine.submit(image, style.vector).result() for _ in range(2))
    assert np.array_equal(first, second)
