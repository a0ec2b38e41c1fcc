"""Photo filters: tables of colours, read, applied, learnt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rtstyle.errors import InputNotFoundError, MediaError
from rtstyle.image import Look, finish
from rtstyle.lut import SIDE, Table, learn, load_lut, read_cube, write_cube
from rtstyle.model.spec import ModelSpec


def _table(side: int = 5) -> Table:
    """Red and blue change places, and green is darkened."""
    axis = np.linspace(0, 1, side, dtype=np.float32)
    r, g, b = np.meshgrid(axis, axis, axis, indexing="ij")
    return np.stack([b, g / 2, r], -1)


def test_a_filter_maps_every_colour(tmp_path: Path) -> None:
    path = tmp_path / "swap.cube"
    write_cube(_table(), path, title='a "filter"', overwrite=False)
    assert np.abs(read_cube(path) - _table()).max() < 1e-5
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    wanted = image[..., ::-1] * np.array([1, 0.5, 1])
    assert np.abs(load_lut(str(path))(image) - wanted).max() <= 1
    model = ModelSpec(Path("none"), "identity", 1, ("none",))
    painted = finish(image[None], image, model=model, look=Look(strength=0, lut=str(path)))
    assert np.abs(painted - wanted).max() <= 1


def test_a_filter_learns_a_paintings_colours() -> None:
    rng = np.random.default_rng(0)
    photos = rng.normal((120, 130, 110), 30, (5000, 3)).clip(0, 255).astype(np.uint8)
    mixing = np.array([[20, 9, 0], [0, 15, 5], [0, 0, 25]])
    painting = (rng.normal(0, 1, (4000, 3)) @ mixing + (150, 90, 100)).clip(0, 255).astype(np.uint8)
    table = learn(painting, photos)
    assert table.shape == (SIDE, SIDE, SIDE, 3)
    place = (photos / 255 * (SIDE - 1)).round().astype(int)
    filtered = table[tuple(place.T)] * 255
    assert filtered.mean(0) == pytest.approx(painting.mean(0), abs=3)
    assert np.cov(filtered.T) == pytest.approx(np.cov(painting.T), rel=0.15, abs=25)


@pytest.mark.parametrize(
    "text",
    [
        "", "LUT_3D_SIZE 2\n0 0 0\n", "LUT_3D_SIZE two\n", "LUT_1D_SIZE 4\n",
        "LUT_3D_SIZE 2\nDOMAIN_MAX 2 2 2\n" + "0 0 0\n" * 8,
        "LUT_3D_SIZE 2\n" + "0 0 nan\n" * 8, "LUT_3D_SIZE 2\n" + "0 0\n" * 8,
        "LUT_3D_SIZE 999999\n",
    ],
)  # fmt: skip
def test_what_is_no_filter_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.cube"
    path.write_text(text)
    with pytest.raises(MediaError, match="no filter that can be used"):
        Look(lut=str(path))
    with pytest.raises(InputNotFoundError):
        Look(lut=str(tmp_path / "nowhere.cube"))
