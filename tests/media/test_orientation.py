"""Pictures are delivered upright."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from rtstyle.media import open_sink, open_source
from rtstyle.media.video.source import FileSource
from tests.media.clips import Clip, make_clip, picture


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270, -90])
def test_display_matrix(rotation: int, mirrored: bool, tmp_path: Path) -> None:
    clip = Clip(rotation=rotation, mirrored=mirrored, pixel_aspect=Fraction(4, 3))
    make_clip(tmp_path / "a.mp4", clip)
    # FFmpeg: the picture is turned counter-clockwise, then flipped.
    expected = np.rot90(picture(0), rotation // 90)
    expected = expected[:, ::-1] if mirrored else expected
    with FileSource(tmp_path / "a.mp4") as source:
        image = next(source.frames()).image
        info = source.info
    assert image.shape == expected.shape == (info.height, info.width, 3)
    assert np.abs(image.astype(int) - expected).mean() < 8
    turned = rotation % 180 != 0
    assert info.pixel_aspect == (Fraction(3, 4) if turned else Fraction(4, 3))


def test_output_is_upright_without_a_matrix(tmp_path: Path) -> None:
    make_clip(tmp_path / "a.mp4", Clip(rotation=90, pixel_aspect=Fraction(4, 3)))
    with (
        open_source(tmp_path / "a.mp4") as source,
        open_sink(tmp_path / "b.mp4", source) as sink,
    ):
        before = list(source.frames())
        for frame in before:
            sink.write(frame)
        sink.finish()
    with FileSource(tmp_path / "b.mp4") as copy:
        after = list(copy.frames())
        assert copy.info.pixel_aspect == Fraction(3, 4)
    assert (copy.info.width, copy.info.height) == (48, 64)
    assert np.abs(before[0].image.astype(int) - after[0].image).mean() < 4
