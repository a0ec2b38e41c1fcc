"""What a new user tries first."""

from __future__ import annotations

from pathlib import Path

import av
import pytest
from typer.testing import CliRunner

from rtstyle.cli.main import app
from rtstyle.demo import make_clip
from rtstyle.media.images import read_picture
from rtstyle.style.style import find_styles


def test_the_demo_clip_has_pictures_and_sound(tmp_path: Path) -> None:
    make_clip(tmp_path / "clip.mp4")
    with av.open(str(tmp_path / "clip.mp4")) as clip:
        video, audio = clip.streams.video[0], clip.streams.audio[0]
        assert (video.width, video.height, video.frames) == (640, 360, 180)
        assert video.duration is not None
        assert audio.duration is not None
        assert video.duration * video.time_base == pytest.approx(7.5)
        assert audio.duration * audio.time_base == pytest.approx(7.5, abs=0.05)


def test_at_least_three_styles_are_shipped_with_a_sentence_each() -> None:
    styles = find_styles()
    assert len(styles) >= 3
    for style in styles:
        assert len(style.description) > 20
        assert style.model.licence == "MIT"
        assert {"recipe", "updates"} < set(style.model.provenance)
        assert {"painting", "paintings", "collection"} & set(style.model.provenance)


def test_the_preview_shows_every_style(tmp_path: Path) -> None:
    preview = tmp_path / "preview.png"
    result = CliRunner().invoke(app, ["styles", "--preview", str(preview)])
    assert result.exit_code == 0, result.output
    picture, _ = read_picture(preview)
    n_rows = 1 + len(find_styles())
    assert picture.shape == (n_rows * (240 + 34), 3 * 320, 3)
    again = CliRunner().invoke(app, ["styles", "--preview", str(preview)])
    assert "--overwrite" in str(again.exception)
