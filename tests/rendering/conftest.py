"""A clip that is cut into three segments, and what a whole render makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.media.clips import make_clip
from tests.rendering.renders import CLIP, paint


@pytest.fixture(scope="package")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clips") / "a.mp4", CLIP)


@pytest.fixture(scope="package")
def whole(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What an uninterrupted run makes of it."""
    output = tmp_path_factory.mktemp("whole") / "o.mp4"
    paint(clip, output)
    return output.read_bytes()
