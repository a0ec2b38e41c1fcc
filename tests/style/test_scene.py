"""Scene files: what they hold, and what is wrong with them in one sentence."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from rtstyle.errors import InputNotFoundError, UsageError
from rtstyle.image import Look
from rtstyle.style.scene import read_scenes, scene_named


def _file(folder: Path, text: str) -> Path:
    path = folder / "scenes.toml"
    path.write_text(text)
    return path


def test_a_scene_sets_what_it_names(tmp_path: Path) -> None:
    text = '["Late night"]\nstyle = "udnie"\nstroke = 0.03\nfade = 0.1\n[day]\ncolor = true\n'
    night, day = read_scenes(_file(tmp_path, text))
    assert night.style is not None
    assert (night.style.name, night.fade, night.strength) == ("udnie", Fraction(1, 10), None)
    assert night.look(Look(strength=0.5, height=90)) == Look(strength=0.5, stroke=0.03)
    assert day.look(Look(height=90)) == Look(height=90, preserve_color=True)
    scenes = (night, day)
    assert scene_named("late_night", scenes) is scene_named("1", scenes) is night
    with pytest.raises(UsageError, match="did you mean day"):
        scene_named("dya", scenes)
    with pytest.raises(UsageError, match="there are Late night, day"):
        scene_named("3", scenes)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[a]\nstrenth = 1\n", "scene a: There is no knob 'strenth'; did you mean strength"),
        ("[a]\nstrength = 1.5\n", "scene a: strength is a number from 0 to 1, not 1.5"),
        ("[a]\nstrength = nan\n", "strength is a number from 0 to 1"),
        ("[a]\nstroke = 0\n", "stroke is a number above 0 to 1, not 0"),
        ("[a]\nfade = true\n", "fade is a number from 0 to 3600, not True"),
        ("[a]\nstyle = 3\n", "A style is a text"),
        ("[a]\nstyle = 'udnei'\n", "no style 'udnei'"),
        ("[a]\ncolor = 1\n", "color is true or false"),
        ("strength = 1\n", "strength stands above the first scene"),
        ("[a\n", "cannot be read as TOML"),
        ("", "must hold 1 to 1000 scenes"),
    ],
)
def test_what_is_wrong_is_said_with_the_scene(text: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=sentence):
        read_scenes(_file(tmp_path, text))


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match="check its name"):
        read_scenes(tmp_path / "none.toml")
