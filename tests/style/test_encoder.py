"""Any picture becomes a style, once."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PillowImage
from platformdirs.macos import MacOS
from platformdirs.unix import Unix
from platformdirs.windows import Windows, get_win_folder_from_env_vars

from rtstyle.engines import graph, open_engine
from rtstyle.errors import EngineError, MediaError, ModelError, StyleNotFoundError
from rtstyle.files import cache_folder
from rtstyle.frame import Image
from rtstyle.model.file import read_model
from rtstyle.model.spec import ModelSpec
from rtstyle.style.encoder import (
    MAX_ASPECT,
    StyleEncoder,
    encoder_path,
    prepare_style_image,
    style_from_image,
)
from tests import graphs

COLOR = (200, 120, 40)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RTSTYLE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def model(tmp_path: Path) -> ModelSpec:
    return read_model(graphs.tinting(tmp_path / "any.onnx"))


def flat(height: int, width: int) -> Image:
    return np.full((height, width, 3), COLOR, np.uint8)


def bgr(image: Image) -> Image:
    return np.ascontiguousarray(image[..., ::-1])


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 2), (37, 53), (60, 60), (2500, 4000)])
def test_every_size_works(size: tuple[int, int], model: ModelSpec) -> None:
    vector = style_from_image(flat(*size), model).vector
    assert vector is not None
    assert vector.tolist() == [list(COLOR)]
    assert vector.dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        vector[0] = 0


@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 16), st.integers(16, 100))
def test_paintings_are_scaled_and_cut(height: int, width: int, stride: int, size: int) -> None:
    encoder = StyleEncoder(Path("e"), stride, size, 3)
    scaled = prepare_style_image(flat(height, width), encoder)
    assert size - stride < min(scaled.shape[:2]) <= size
    assert max(scaled.shape[:2]) <= MAX_ASPECT * size
    assert scaled.shape[0] % stride == scaled.shape[1] % stride == 0
    assert scaled.flags.c_contiguous
    assert (scaled == COLOR).all()


def test_every_kind_of_picture_works(tmp_path: Path, model: ModelSpec) -> None:
    image = bgr(flat(64, 80))
    gray = np.full((64, 80), 90, np.uint8)
    alpha = np.dstack([image, np.full((64, 80), 128, np.uint8)])
    wide = image.astype(np.uint16) * 257
    for name, picture, expected in (
        ("gray.png", gray, (90, 90, 90)), ("gray.jpg", gray, (90, 90, 90)),
        ("alpha.png", alpha, COLOR), ("deep.png", wide, COLOR), ("p.webp", image, COLOR),
        ("p.tiff", image, COLOR), ("p.bmp", image, COLOR), ("p.jpg", image, COLOR),
    ):  # fmt: skip
        cv2.imwrite(str(tmp_path / name), picture)
        vector = style_from_image(tmp_path / name, model).vector
        assert vector is not None
        assert np.abs(vector - expected).max() < 4, name
    cmyk = PillowImage.fromarray(flat(64, 80)).convert("CMYK")
    for name in ("cmyk.jpg", "cmyk.tif"):
        cmyk.save(tmp_path / name)
        vector = style_from_image(tmp_path / name, model).vector
        assert vector is not None
        assert np.abs(vector - COLOR).max() < 4, name
    first, second = image, np.zeros_like(image)
    animation = cv2.Animation()
    animation.frames, animation.durations = [first, second], [100, 100]
    for name in ("moving.png", "moving.webp", "moving.gif"):
        assert cv2.imwriteanimation(str(tmp_path / name), animation)
        vector = style_from_image(tmp_path / name, model).vector
        assert vector is not None
        assert np.abs(vector - COLOR).max() < 4, name


def test_a_broken_picture_is_reported(tmp_path: Path, model: ModelSpec) -> None:
    cv2.imwrite(str(tmp_path / "p.png"), flat(64, 64))
    (tmp_path / "p.png").write_bytes((tmp_path / "p.png").read_bytes()[:-30])
    with pytest.raises(MediaError, match=r"p\.png is damaged"):
        style_from_image(tmp_path / "p.png", model)


def test_the_engine_paints_like_it(model: ModelSpec) -> None:
    style = style_from_image(flat(64, 64), model)
    frames = np.zeros((1, 8, 8, 3), np.uint8)
    with open_engine("auto", style.model) as engine:
        painted = engine.submit(frames, style.vector, 0.5).result()
    assert painted[0, 0, 0].tolist() == [c // 2 for c in COLOR]


@pytest.mark.parametrize("runtime", list(graph._RUNTIMES))
def test_every_runtime_runs_the_encoder(
    runtime: str, model: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "automatic", lambda: (runtime, "torch"))
    vector = style_from_image(flat(64, 64), model).vector
    assert vector is not None
    assert vector.tolist() == [list(COLOR)]


def test_without_a_runtime_every_reason_is_reported(
    model: ModelSpec, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    for name in ("openvino", "onnxruntime"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(EngineError, match=r"openvino: .* onnxruntime: ") as caught:
        style_from_image(flat(64, 64), model)
    assert "\n" not in str(caught.value)
    assert not cache.exists()


def test_the_encoder_runs_once_a_picture(
    model: ModelSpec, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    first = style_from_image(flat(64, 64), model)
    kept = list(cache.iterdir())
    assert len(kept) == 1
    monkeypatch.setattr(graph, "automatic", lambda: ())
    again = style_from_image(flat(64, 64), model)
    assert first.vector is not None
    assert again.vector is not None
    assert np.array_equal(first.vector, again.vector)
    with pytest.raises(EngineError):  # another picture
        style_from_image(flat(64, 64) + np.uint8(1), model)
    encoder = encoder_path(model.path)
    encoder.write_bytes(encoder.read_bytes().replace(b"test", b"tess"))
    with pytest.raises(EngineError):  # another encoder
        style_from_image(flat(64, 64), model)


def test_a_damaged_cache_file_is_made_again(model: ModelSpec, cache: Path) -> None:
    style_from_image(flat(64, 64), model)
    (kept,) = cache.iterdir()
    whole = kept.read_bytes()
    flipped = whole[:-1] + bytes([whole[-1] ^ 1])
    for damaged in (b"", whole[:-1], whole + b"x", flipped):
        kept.write_bytes(damaged)
        vector = style_from_image(flat(64, 64), model).vector
        assert vector is not None
        assert vector.tolist() == [list(COLOR)]
        assert kept.read_bytes() == whole


def test_a_cache_that_cannot_be_written_is_no_error(model: ModelSpec, cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    assert style_from_image(flat(64, 64), model).vector is not None
    assert cache.read_text() == "a file where the folder should be"


@pytest.mark.parametrize(
    ("directories", "variable"), [(Unix, "XDG_CACHE_HOME"), (Windows, "LOCALAPPDATA")]
)
def test_knows_where_caches_are(
    directories: type, variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("RTSTYLE_CACHE")
    monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.setattr("platformdirs.PlatformDirs", directories)
    # where Windows itself cannot be asked
    monkeypatch.setattr("platformdirs.windows.get_win_folder", get_win_folder_from_env_vars)
    assert cache_folder().is_relative_to(tmp_path / "rtstyle")
    monkeypatch.delenv(variable)
    monkeypatch.setattr("platformdirs.PlatformDirs", MacOS)
    assert cache_folder().parts[-3:] == ("Library", "Caches", "rtstyle")


def test_says_when_there_is_no_model_for_any_painting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: ModelSpec, tiny_model: ModelSpec
) -> None:
    monkeypatch.setattr("rtstyle.model.zoo.shipped_folder", lambda: tmp_path / "none")
    monkeypatch.setenv("RTSTYLE_MODELS", str(tmp_path / "mine"))
    with pytest.raises(StyleNotFoundError, match="a model for any painting is, and there is none"):
        style_from_image(flat(64, 64))
    monkeypatch.setenv("RTSTYLE_MODELS", str(tmp_path))
    assert style_from_image(flat(64, 64)).model == model
    with pytest.raises(ModelError, match="its own styles only"):
        style_from_image(flat(64, 64), tiny_model)


def test_an_encoder_that_does_not_fit_is_refused(tmp_path: Path, model: ModelSpec) -> None:
    encoder = encoder_path(model.path)
    whole = encoder.read_bytes()
    wrong = {
        "is missing; copy it to": None,
        "is no ONNX model": b"text" * 50,
        "'painting' does not fit": whole.replace(b"painting\x12", b"paintinG\x12"),
        "a stride of 8 and paintings of 4 ": whole.replace(b'size": 60', b'size": 4 '),
        "architecture 'style-encodes'": whole.replace(b"style-encoder", b"style-encodes"),
        "metadata of format 9": whole.replace(b'"format": 1', b'"format": 9'),
        "no rtstyle metadata": whole.replace(b"rtstyle", b"rtstylE"),
    }
    for message, content in wrong.items():
        encoder.unlink(missing_ok=True)
        if content is not None:
            assert content != whole, message
            encoder.write_bytes(content)
        with pytest.raises(ModelError, match=message):
            style_from_image(flat(64, 64), model)
    graphs.dimming(encoder, metadata={"rtstyle": StyleEncoder(encoder, 8, 60, 3).metadata()})
    with pytest.raises(ModelError, match="does not map a painting to 3 numbers"):
        style_from_image(flat(64, 64), model)
