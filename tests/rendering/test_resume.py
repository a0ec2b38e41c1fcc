"""A render that was killed or interrupted continues, and ends as if nothing had been."""

from __future__ import annotations

import errno
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from rtstyle.errors import MediaError, OutputError, OutputExistsError, UsageError
from rtstyle.media.images import write_picture
from rtstyle.rendering import packet_file
from tests.media.clips import Clip, make_clip, picture
from tests.rendering.renders import (
    frame_times,
    interrupt,
    paint,
    paint_until_killed,
    sound,
    state_of,
)


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


def test_an_interrupt_leaves_a_playable_part_to_go_on_from(
    clip: Path, whole: bytes, tmp_path: Path
) -> None:
    output = tmp_path / "o.mp4"
    for at_frame in (7, 45):
        interrupt(clip, output, at_frame)
        assert frame_times(output) == [Fraction(i, 25) for i in range(at_frame)]
        assert sound(output)[-1][0] < Fraction(at_frame, 25)
    assert paint(clip, output).resumed == 40
    assert output.read_bytes() == whole


def test_what_cannot_begin_loses_nothing(clip: Path, tmp_path: Path) -> None:
    output = tmp_path / "o.mp4"
    interrupt(clip, output, at_frame=45)
    for wrong in ({"engine": "abacus"}, {"options": {"nonsense": "1"}}):
        with pytest.raises(UsageError):
            paint(clip, output, overwrite=True, **wrong)
    assert paint(clip, output).resumed == 40


def test_a_damaged_input_leaves_its_good_part_and_nothing_to_go_on_with(tmp_path: Path) -> None:
    made = make_clip(tmp_path / "a.mkv", Clip(range(0, 2400, 40), Fraction(1, 1000),
                                             keyframe_every=10, audio_seconds=2.4))  # fmt: skip
    data = made.read_bytes()
    made.write_bytes(data[: len(data) * 3 // 4])
    with pytest.raises(MediaError, match="damaged"):
        paint(made, tmp_path / "plain.mp4", segments=None)
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
    write = packet_file.PacketWriter._put

    def limited(self: packet_file.PacketWriter, data: Any) -> None:
        nonlocal bytes_left
        bytes_left -= memoryview(data).nbytes
        if bytes_left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(self, data)

    patch.setattr(packet_file.PacketWriter, "_put", limited)


def test_pictures_into_a_film_go_on_too(tmp_path: Path) -> None:
    for index in range(30):
        write_picture(tmp_path / f"p{index:02}.png", picture(index), overwrite=False)
    source = tmp_path / "p%02d.png"
    paint(source, tmp_path / "plain.mp4", segments=None)
    interrupt(source, tmp_path / "o.mp4", at_frame=20)
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
    interrupt(tmp_path / "in", output, at_frame=4)
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
