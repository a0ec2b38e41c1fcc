"""Styles by name, by path and mixed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rtstyle.errors import InputNotFoundError, ModelError, StyleNotFoundError, UsageError
from rtstyle.model.spec import ModelSpec
from rtstyle.style.parse import find_style
from rtstyle.style.style import Style, find_styles, mix
from tests import graphs


def metadata(*styles: str, size: int) -> dict[str, str]:
    spec = ModelSpec(Path("m"), "cin", 4, styles, style_size=size)
    return {"rtstyle": spec.metadata()}


@pytest.fixture(autouse=True)
def _user_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTSTYLE_MODELS", str(tmp_path))
    monkeypatch.setattr("rtstyle.model.zoo.shipped_folder", lambda: tmp_path / "shipped")
    graphs.copying(tmp_path / "one.onnx", metadata=metadata("Starry Night", size=0))
    graphs.dimming(tmp_path / "two.onnx", metadata=metadata("copy", "black_hole", size=2))


@pytest.mark.parametrize(
    "name", ["Starry Night", "starry-night", "STARRY_NIGHT", "starrynight", " starry night "]
)
def test_finds_a_name_however_it_is_written(name: str) -> None:
    style = find_style(name)
    assert style.name == "Starry Night"
    assert style.vector is None


def test_lists_all_by_name() -> None:
    assert [style.name for style in find_styles()] == ["black_hole", "copy", "Starry Night"]


def test_the_users_style_wins(tmp_path: Path) -> None:
    (tmp_path / "shipped").mkdir()
    graphs.copying(tmp_path / "shipped" / "a.onnx", metadata=metadata("starry_night", size=0))
    assert find_style("starry night").model.path == tmp_path / "one.onnx"
    assert len(find_styles()) == 3


def test_a_name_of_a_shared_model_is_a_one_hot_vector() -> None:
    style = find_style("black hole")
    assert style.vector is not None
    assert style.vector.tolist() == [[0, 1]]
    assert style.vector.dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        style.vector[0, 0] = 1


def test_suggests_near_names() -> None:
    with pytest.raises(StyleNotFoundError) as caught:
        find_style("stary nigth")
    assert "Did you mean Starry Night?" in str(caught.value)
    assert "`rtstyle styles`" in str(caught.value)
    with pytest.raises(LookupError, match="There is no style ''"):
        find_style("")


def test_takes_a_path(tmp_path: Path, tiny_checkpoint: Path) -> None:
    assert find_style(str(tmp_path / "one.onnx")).name == "Starry Night"
    assert find_style(str(tiny_checkpoint)).model.path == tiny_checkpoint
    with pytest.raises(InputNotFoundError):
        find_style("missing.onnx")
    (tmp_path / "text.onnx").write_text("text")
    with pytest.raises(ModelError):
        find_style(str(tmp_path / "text.onnx"))


def test_mixes_by_weight() -> None:
    style = find_style("copy=3, black_hole=1")
    assert style.vector is not None
    assert style.vector.tolist() == [[0.75, 0.25]]
    assert style.name == "copy=0.75,black_hole=0.25"
    assert find_style("copy=0,black_hole=2").vector == pytest.approx(np.array([[0, 1]]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("copy=0.5,starry night=0.5", "'Starry Night' is a net of its own"),
        ("copy=-1,black_hole=2", "must be 0 or more, not -1"),
        ("copy=nan", "must be 0 or more, not nan"),
        ("copy=inf", "must be 0 or more, not inf"),
        ("copy=0", "must not all be 0"),
        ("copy=x", "'copy=x' does not fit"),
        ("copy=1,", "'' does not fit"),
        ("=1", "There is no style ''"),
        ("nothing=1", "There is no style 'nothing'"),
    ],
)
def test_refuses_mixes_that_cannot_be(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_style(text)
    assert message in str(caught.value)


def test_does_not_mix_models(tmp_path: Path) -> None:
    graphs.dimming(tmp_path / "three.onnx", metadata=metadata("c", "d", size=2))
    with pytest.raises(UsageError, match="different models"):
        find_style("copy=1,c=1")
    with pytest.raises(UsageError, match="at least one"):
        mix([])


def test_styles_compare_by_name_and_model() -> None:
    assert find_style("copy") == find_style("COPY")
    assert isinstance(json.dumps(find_style("copy").name), str)
    assert find_style("copy") != Style("copy", find_style("starry night").model)
