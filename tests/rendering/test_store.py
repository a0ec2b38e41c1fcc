"""What is kept beside the output is continued only where it fits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rtstyle.errors import OutputError, OutputExistsError
from rtstyle.rendering.job import Segments
from rtstyle.rendering.store import State
from tests.media.clips import Clip, make_clip
from tests.rendering.renders import (
    CLIP,
    HALF,
    interrupt,
    paint,
    state_of,
)


def test_a_changed_setting_starts_afresh_and_says_so(
    clip: Path, whole: bytes, tmp_path: Path
) -> None:
    output, notes = tmp_path / "o.mp4", list[str]()
    interrupt(clip, output, at_frame=45)
    output.unlink()
    report = paint(clip, output, crf=30, notes=notes)
    assert report.resumed == 0
    assert any("another encoder" in note for note in notes)
    assert output.stat().st_size < len(whole)


def test_a_changed_input_starts_afresh_and_says_so(clip: Path, tmp_path: Path) -> None:
    source, output, notes = tmp_path / "a.mp4", tmp_path / "o.mp4", list[str]()
    source.write_bytes(clip.read_bytes())
    interrupt(source, output, at_frame=45)
    output.unlink()
    make_clip(source, Clip(CLIP.times[:40], keyframe_every=10))
    assert paint(source, output, notes=notes).frames_out == 40
    assert any("input changed" in note for note in notes)


@pytest.mark.parametrize("damage", ["flipped", "cut off", "empty", "state"])
def test_what_is_damaged_is_painted_again(
    damage: str, clip: Path, whole: bytes, tmp_path: Path
) -> None:
    output, notes = tmp_path / "o.mp4", list[str]()
    interrupt(clip, output, at_frame=45)
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


def test_what_another_put_there_meanwhile_is_not_replaced(clip: Path, tmp_path: Path) -> None:
    output = tmp_path / "o.mp4"
    interrupt(clip, output, at_frame=45)
    output.write_bytes(b"precious")
    with pytest.raises(OutputExistsError):
        paint(clip, output)
    assert output.read_bytes() == b"precious"
    assert list(state_of(output).glob("*.segment"))


def test_two_at_once_are_refused(clip: Path, tmp_path: Path) -> None:
    output = tmp_path / "o.mp4"
    with State(output), pytest.raises(OutputError, match="another process"):
        paint(clip, output)
    paint(clip, output)
    assert list(tmp_path.iterdir()) == [output]


def test_segments_are_kept_if_asked(clip: Path, tmp_path: Path) -> None:
    output = tmp_path / "o.mp4"
    paint(clip, output, segments=Segments(seconds=HALF.seconds, keep=True))
    assert len(list(state_of(output).glob("*.segment"))) == 3
    output.unlink()
    assert paint(clip, output).resumed == 60


def test_a_folder_of_the_format_before_this_one_starts_afresh_and_says_so(
    clip: Path, whole: bytes, tmp_path: Path
) -> None:
    output, notes = tmp_path / "o.mp4", list[str]()
    interrupt(clip, output, at_frame=45)
    output.unlink()
    document = state_of(output) / "state.json"
    facts = json.loads(document.read_text())
    old = {
        "format": 1,
        "input": facts.pop("source"),
        **{k: facts[k] for k in facts if k != "format"},
    }
    document.write_text(json.dumps({**old, "left": {"complete": False, "size": 1, "changed": 1}}))
    assert list(state_of(output).glob("*.segment"))
    assert paint(clip, output, notes=notes).resumed == 0
    assert any("another version of rtstyle" in note for note in notes)
    assert output.read_bytes() == whole
