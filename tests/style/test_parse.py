"""What may stand after --style beside a plain name and a mix, which test_style.py tries."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from rtstyle.errors import InputNotFoundError, MediaError, StyleNotFoundError, UsageError
from rtstyle.model.spec import ModelSpec
from rtstyle.style.parse import find_style
from tests import graphs


def metadata(*styles: str) -> dict[str, str]:
    spec = ModelSpec(Path("m"), "cin", 4, styles, style_size=len(styles) if len(styles) > 1 else 0)
    return {"rtstyle": spec.metadata()}


@pytest.fixture(autouse=True)
def _models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two shipped models of two styles, one of one style, one of the user's; all share a name."""
    mine, shipped = tmp_path / "mine", tmp_path / "shipped"
    mine.mkdir()
    shipped.mkdir()
    monkeypatch.setenv("RTSTYLE_MODELS", str(mine))
    monkeypatch.setenv("RTSTYLE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("rtstyle.model.zoo.shipped_folder", lambda: shipped)
    graphs.copying(shipped / "a_single.onnx", metadata=metadata("wave"))
    graphs.dimming(shipped / "first.onnx", metadata=metadata("wave", "night"))
    graphs.dimming(shipped / "second.onnx", metadata=metadata("Wave", "udnie"))
    graphs.copying(mine / "own.onnx", metadata=metadata("udnie"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def arbitrary(tmp_path: Path) -> Path:
    return graphs.tinting(tmp_path / "shipped" / "any.onnx")


def picture(path: Path, color: tuple[int, int, int]) -> Path:
    cv2.imwrite(str(path), np.full((70, 90, 3), color[::-1], np.uint8))
    return path


@pytest.mark.parametrize(
    ("text", "model", "name"),
    [
        ("wave", "first", "wave"),  # of a model of several styles, though another sorts before it
        ("udnie", "own", "udnie"),  # the user's own
        ("a_single:wave", "a_single", "wave"),
        ("A Single:WAVE", "a_single", "wave"),
        ("second:wave", "second", "Wave"),
        ("second:udnie", "second", "udnie"),
        ("shipped/second.onnx", "second", "Wave"),
        ("shipped/second.onnx:udnie", "second", "udnie"),
    ],
)
def test_a_name_means_one_model(text: str, model: str, name: str) -> None:
    style = find_style(text)
    assert (style.model.path.stem, style.name) == (model, name)


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("wave=1,night=1", "first"),
        ("wave=1,udnie=1", "second"),  # neither the plain name's model
        ("udnie=1,wave=1", "second"),
        ("second:wave=1,udnie=1", "second"),
        ("first:night=1,wave=1", "first"),
    ],
)
def test_a_mix_finds_the_model_that_has_all(text: str, model: str) -> None:
    style = find_style(text)
    assert style.model.path.stem == model
    assert style.vector is not None
    assert style.vector.tolist() == [[0.5, 0.5]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("second:night", "There is no style 'night'."),
        ("third:wave", "There is no style 'third:wave'. Did you mean"),
        ("night=1,udnie=1", "cannot be mixed"),
        ("first:night=1,second:udnie=1", "belong to different models"),
        (":wave", "There is no style ':wave'."),
        ("C:\\nothing", "There is no style"),
        ("x" * 5000, "There is no style"),
        ("a\0b", "There is no style"),
    ],
)
def test_refuses_with_a_sentence(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_style(text)
    assert message in str(caught.value)


def test_a_drive_of_windows_is_no_model() -> None:
    with pytest.raises(InputNotFoundError, match=r"no model file C:\\x\.onnx"):
        find_style("C:\\x.onnx")
    with pytest.raises(InputNotFoundError, match=r"no file C:\\x\.jpg"):
        find_style("C:\\x.jpg")
    with pytest.raises(InputNotFoundError, match=r"no file C:/x\.jpg"):
        find_style("C:/x.jpg")


@pytest.mark.usefixtures("arbitrary")
@pytest.mark.parametrize(
    "text", ["red.png", "{tmp}/red.png", "any:red.png", "any:{tmp}/red.png", "{model}:red.png"]
)
def test_a_picture_is_a_style(text: str, tmp_path: Path, arbitrary: Path) -> None:
    picture(tmp_path / "red.png", (250, 0, 10))
    style = find_style(text.format(tmp=tmp_path, model=arbitrary))
    assert (style.name, style.model.path) == ("red.png", arbitrary)
    assert style.vector is not None
    assert style.vector.tolist() == [[250, 0, 10]]


@pytest.mark.usefixtures("arbitrary")
def test_pictures_mix_with_pictures(tmp_path: Path) -> None:
    picture(tmp_path / "a=1.png", (200, 0, 0))
    picture(tmp_path / "b.png", (0, 100, 0))
    style = find_style("a=1.png=3,b.png=1")
    assert style.vector is not None
    assert style.vector.tolist() == [[150, 25, 0]]
    assert find_style("a=1.png").name == "a=1.png"
    with pytest.raises(UsageError, match="belong to different models"):
        find_style("b.png=1,night=1")


def test_a_file_that_is_no_picture_is_reported(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("a text")
    with pytest.raises(MediaError, match=r"notes\.txt is not a picture"):
        find_style("notes.txt")
    with pytest.raises(InputNotFoundError, match=r"There is no file my_painting\.jpg"):
        find_style("my_painting.jpg")


def test_a_model_for_any_painting_alone_is_no_style(arbitrary: Path) -> None:
    with pytest.raises(StyleNotFoundError, match=r"any\.onnx:my_painting\.jpg"):
        find_style(str(arbitrary))


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("candy.pth", "a PyTorch checkpoint, not a style: import it first"),
        ("Candy.T7", r"rtstyle import \S*Candy\.T7 -o MODEL\.onnx"),
        ("wave.ckpt", r"rtstyle import \S*wave\.ckpt"),
        ("decoder_iter_160000.pth.tar", "rtstyle import"),
        ("model.json", "a TensorFlow.js model"),
        ("frozen.pb", "convert it to ONNX"),
        ("net.tflite", "convert it to ONNX"),
        ("a.engine", r"name the model\.onnx that it was made from"),
        ("clip.mp4", "a video, not a style: name a picture"),
    ],
)
def test_every_kind_of_file_has_its_hint(name: str, advice: str, tmp_path: Path) -> None:
    with pytest.raises(StyleNotFoundError, match=f"There is no file {name}"):
        find_style(name)
    (tmp_path / name).write_bytes(b"whatever")
    with pytest.raises(StyleNotFoundError, match=advice):
        find_style(name)
    with pytest.raises(StyleNotFoundError, match=advice):
        find_style(f"wave=0.5,./{name}=0.5")


def test_weights_that_do_not_sum_to_one_are_noted(caplog: pytest.LogCaptureFixture) -> None:
    mixed = find_style("wave=0.7,night=0.7")
    assert mixed.vector is not None
    assert mixed.vector.tolist() == [[0.5, 0.5]]
    assert "sum to 1.4, not to 1; it is wave=0.5,night=0.5" in caplog.text
    caplog.clear()
    find_style("wave=0.7,night=0.3")
    assert find_style("wave=1").name.startswith("wave")
    assert not caplog.text
    with pytest.raises(UsageError, match="'wave=2' is one style"):
        find_style("wave=2")
