"""Tiles are the whole picture, cut: with the same statistics, the same pixels."""

from __future__ import annotations

import cv2
import numpy as np
import openvino as ov
import pytest

from rtstyle.engines import open_engine, tiles
from rtstyle.engines.tiles import MARGIN, TiledGraph, thumbnail_size, tile_spans
from rtstyle.frame import Image
from rtstyle.model.spec import ModelSpec
from rtstyle.model.zoo import find_models

SHIPPED = {model.path.stem: model for model in find_models()}


def _picture(height: int, width: int) -> Image:
    noise = np.random.default_rng(0).uniform(0, 255, (9, 12, 3)).astype(np.float32)
    picture = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(picture, 0, 255).astype(np.uint8)


def _tiled(model: ModelSpec) -> TiledGraph:
    core = ov.Core()
    config = {"INFERENCE_PRECISION_HINT": "f32"}
    return TiledGraph(core, core.read_model(model.path), model, config)


@pytest.mark.parametrize("name", ["gallery", "any_picture"])
def test_tiles_are_the_whole_picture(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = SHIPPED[name]
    frames = _picture(64, 640)[None]
    style = None
    if model.style_size:
        style = np.abs(np.random.default_rng(1).normal(size=(1, model.style_size)))
        style = (style / style.sum()).astype(np.float32)
    monkeypatch.setattr(tiles, "_MAX_TILE", 30_000)
    monkeypatch.setattr(tiles, "_THUMBNAIL", 10**9)  # the whole picture: its own statistics
    assert len(tile_spans((64, 640), 8)[1]) > 1
    tiled = _tiled(model).stylize(frames, style, 1.0)
    with open_engine("openvino", model) as engine:
        whole = engine.submit(frames, style).result()
    assert np.ptp(whole.astype(int)) > 20  # it is painted at all
    assert np.abs(tiled.astype(int) - whole).max() <= 2


@pytest.mark.parametrize("size", [(2160, 3840), (1440, 2560), (8, 4_000_000), (4320, 7680)])
def test_tiles_cover_every_pixel_once(size: tuple[int, int]) -> None:
    rows, columns = tile_spans(size, 8)
    for spans, length in ((rows, size[0]), (columns, size[1])):
        kept = np.concatenate([np.arange(length)[span.kept] for span in spans])
        assert (kept == np.arange(length)).all()
        for span in spans:
            assert span.window.start % 8 == 0
            assert span.window.start == 0 or span.kept.start - span.window.start >= MARGIN
            assert span.window.stop == length or span.window.stop - span.kept.stop >= MARGIN
    largest = max(s.window.stop - s.window.start for s in rows) * max(
        s.window.stop - s.window.start for s in columns
    )
    assert largest <= tiles._MAX_TILE


def test_a_picture_smaller_than_a_tile_is_one() -> None:
    rows, columns = tile_spans((64, 96), 8)
    assert [span.kept for span in (*rows, *columns)] == [slice(0, 64), slice(0, 96)]
    assert thumbnail_size((64, 96), 8) == (64, 96)
    assert thumbnail_size((2160, 3840), 8) == (752, 1336)


def test_the_engine_paints_large_pictures_in_tiles(tiny_model: ModelSpec) -> None:
    picture = _picture(1600, 1760)
    with open_engine("openvino", tiny_model) as engine:
        stylized = engine.submit(picture[None]).result()
    assert stylized.shape == (1, 1600, 1760, 3)
    expected = _tiled(engine.model).stylize(picture[None], None, 1.0)
    assert (stylized == expected).all()
