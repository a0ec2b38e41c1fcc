"""What a model file says of itself, and what is refused."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, external_data_helper, helper, load, save_model
from safetensors.torch import save_file

from rtstyle.errors import InputNotFoundError, ModelError, RtstyleError
from rtstyle.model.file import read_model
from rtstyle.model.spec import ModelSpec
from rtstyle.model.zoo import find_models, user_folder
from rtstyle.style.encoder import encoder_path
from tests import graphs

SPEC = ModelSpec(
    path=Path("m.onnx"),
    architecture="fast",
    stride=8,
    styles=("Starry Night",),
    description="Blue swirls.",
    licence="CC0-1.0",
    provenance={"painting": "a", "loss": 1.5},
    options={"width": 32},
)


def document(**changes: Any) -> dict[str, str]:
    return {"rtstyle": json.dumps(json.loads(SPEC.metadata()) | changes)}


def test_reads_back_what_export_wrote(tiny_model: ModelSpec) -> None:
    assert tiny_model.architecture == "johnson"
    assert tiny_model.options == {"width": 4, "blocks": 1}
    assert tiny_model.stride == 4
    assert tiny_model.styles == ("Tiny Waves",)
    assert (tiny_model.description, tiny_model.licence) == ("A test.", "CC0-1.0")
    assert tiny_model.provenance == {"painting": "none"}
    assert (tiny_model.layout, tiny_model.size, tiny_model.style_size) == ("nhwc", None, 0)


def test_reads_every_field(tmp_path: Path) -> None:
    path = graphs.copying(tmp_path / "m.onnx", metadata=document())
    assert read_model(path) == dataclasses.replace(SPEC, path=path)


def test_reads_a_checkpoint_without_torch(tiny_checkpoint: Path) -> None:
    spec = read_model(tiny_checkpoint)
    assert spec.architecture == "johnson"
    assert spec.styles == (tiny_checkpoint.parent.name,)
    assert spec.provenance == {"updates": 7}


@pytest.mark.parametrize(
    ("facts", "names", "expected"),
    [
        ({}, [], (32, ("cin",), 0, "weights", False)),  # written before facts were
        ({"stride": 8, "style_size": 0}, [], (8, ("cin",), 0, "weights", False)),
        ({"stride": 8, "style_size": 2}, ["a", "b"], (8, ("a", "b"), 2, "weights", False)),
        (
            {"stride": 8, "style_size": 5, "style_input": "statistics", "takes_strength": True},
            [],
            (8, (), 5, "statistics", True),
        ),
    ],
)
def test_reads_what_a_checkpoint_tells_of_its_net(
    facts: dict[str, Any], names: list[str], expected: tuple[Any, ...], tmp_path: Path
) -> None:
    path = tmp_path / "cin" / "checkpoint.safetensors"
    path.parent.mkdir()
    recipe = {"architecture": "cin", "options": {"width": 8}}
    meta = {"recipe": recipe, "done": 3, "model": facts, "styles": names}
    save_file({"w": torch.zeros(1)}, path, metadata={"rtstyle": json.dumps(meta)})
    spec = read_model(path)
    found = (spec.stride, spec.styles, spec.style_size, spec.style_input, spec.takes_strength)
    assert found == expected
    assert (spec.architecture, spec.options) == ("cin", {"width": 8})
    meta["model"] = {"stride": 0}
    save_file({"w": torch.zeros(1)}, path, metadata={"rtstyle": json.dumps(meta)})
    with pytest.raises(ModelError, match="a stride of 0"):
        read_model(path)
    meta["model"] = [1]
    save_file({"w": torch.zeros(1)}, path, metadata={"rtstyle": json.dumps(meta)})
    with pytest.raises(ModelError, match="no rtstyle checkpoint"):
        read_model(path)


def test_is_quick(tiny_model: ModelSpec) -> None:
    start = perf_counter()
    for _ in range(20):
        read_model(tiny_model.path)
    assert (perf_counter() - start) / 20 < 0.02  # about 0.5 ms on an idle machine


def test_accepts_a_file_without_metadata(tmp_path: Path) -> None:
    spec = read_model(graphs.copying(tmp_path / "other.onnx"))
    assert (spec.styles, spec.layout, spec.stride) == (("other",), "nhwc", 32)


@pytest.mark.parametrize(
    ("shape", "size", "batch"),
    [
        (("N", 3, "H", "W"), None, None),
        ((1, 3, 224, 320), (224, 320), 1),
        ((None, None, None, None), None, None),
    ],
)
def test_accepts_float_models(
    tmp_path: Path, shape: graphs.Shape, size: tuple[int, int] | None, batch: int | None
) -> None:
    path = graphs.inverting(tmp_path / "negative.onnx", peak=1, shape=shape)
    spec = read_model(path)
    assert (spec.layout, spec.frame_input) == ("nchw", "picture")
    assert (spec.size, spec.batch, spec.peak) == (size, batch, None)


@pytest.mark.parametrize(
    ("element", "shape", "message"),
    [
        (TensorProto.UINT8, ("N", 3, "H", "W"), "uint8 (any, 3, any, any)"),
        (TensorProto.UINT8, ("N", "H", "W", 4), "uint8 (any, any, any, 4)"),
        (TensorProto.FLOAT, ("N", "H", "W", 3), "float32 (any, any, any, 3)"),
        (TensorProto.FLOAT16, ("N", 3, "H", "W"), "float16 (any, 3, any, any)"),
        (TensorProto.FLOAT, ("N", 3), "float32 (any, 3)"),
        (TensorProto.UINT8, None, "unknown shape"),
        (TensorProto.UINT8, (4, "H", "W", 3), "exactly 4 pictures"),
        (TensorProto.UINT8, ("N", 64, "W", 3), "fixes only one side"),
        (TensorProto.UINT8, ("N", 0, 0, 3), "0×0"),
    ],
)
def test_refuses_what_is_no_picture(
    tmp_path: Path, element: int, shape: graphs.Shape | None, message: str
) -> None:
    path = graphs.copying(tmp_path / "m.onnx", element=element, shape=shape)
    with pytest.raises(ModelError) as caught:
        read_model(path)
    assert message in str(caught.value)


def test_refuses_other_inputs_and_outputs(tmp_path: Path) -> None:
    frame = (TensorProto.UINT8, graphs.FREE)
    node = helper.make_node("Identity", ["frame"], ["out"])
    path = tmp_path / "m.onnx"
    graphs.save(path, [node], {"frame": frame, "mask": frame}, {"out": frame})
    with pytest.raises(ModelError, match="the input 'mask'"):
        read_model(path)
    graphs.save(path, [node], {"frame": frame}, {"out": frame, "more": frame})
    with pytest.raises(ModelError, match="2 outputs"):
        read_model(path)
    graphs.save(path, [node], {}, {"out": frame})
    with pytest.raises(ModelError, match="no input"):
        read_model(path)
    for name, shape in (("style", ("N", "S")), ("strength", ("N", 1))):
        inputs = {"frame": frame, name: (TensorProto.FLOAT, shape)}
        graphs.save(path, [node], inputs, {"out": frame})
        with pytest.raises(ModelError, match=name):
            read_model(path)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"rtstyle": "{"}, "no JSON"),
        ({"rtstyle": "[" * 100_000}, "no JSON"),
        ({"rtstyle": "[]"}, "no JSON object"),
        ({"rtstyle": "{}"}, "format = None"),
        (document(format=2), "format 2; this rtstyle reads format 1"),
        (document(format="1"), "type int"),
        (document(stride=True), "type int"),
        (document(stride=0), "stride of 0"),
        (document(stride=8.5), "stride = 8.5"),
        (document(styles=[]), "at least one name"),
        (document(styles=["a\x1b[31m"]), "at least one name"),
        (document(styles="abc"), "type list"),
        (document(styles=["a", "b"]), "names 2 styles"),
        (document(style_size=1), "contradicts itself"),
        (document(provenance=None), "provenance = None"),
        (document(architecture=3), "architecture = 3"),
        (document(style_input="words"), "style_input = 'words'"),
        (document(style_input=["weights"]), "style_input = ['weights']"),
        (document(style_input="statistics"), "names 1 styles and declares a style vector of 0"),
        (document(style_input="statistics", styles=[]), "declares a style vector of 0"),
    ],
)
def test_refuses_bad_metadata(tmp_path: Path, metadata: dict[str, str], message: str) -> None:
    path = graphs.copying(tmp_path / "m.onnx", metadata=metadata)
    with pytest.raises(ModelError) as caught:
        read_model(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_reads_a_style_vector(tmp_path: Path) -> None:
    message = document(styles=["copy", "black"], style_size=2)
    assert read_model(graphs.dimming(tmp_path / "m.onnx", metadata=message)).style_size == 2
    with pytest.raises(ModelError, match="no rtstyle metadata"):
        read_model(graphs.dimming(tmp_path / "m.onnx", metadata={}))


def test_reads_a_model_for_any_painting_but_not_its_encoder(tmp_path: Path) -> None:
    path = graphs.tinting(tmp_path / "any.onnx")
    spec = read_model(path)
    assert (spec.style_input, spec.styles, spec.style_size) == ("statistics", (), 3)
    assert spec.takes_strength
    with pytest.raises(ModelError, match=r"is the style encoder of any\.onnx, not a model that"):
        read_model(encoder_path(path))


def test_refuses_what_is_no_file(tmp_path: Path) -> None:
    for name in ("no.onnx", "no.safetensors"):
        with pytest.raises(InputNotFoundError, match="There is no"):
            read_model(tmp_path / name)
    with pytest.raises(ModelError, match="is a folder"):
        read_model(tmp_path)
    (tmp_path / "empty.onnx").touch()
    with pytest.raises(ModelError, match="is empty"):
        read_model(tmp_path / "empty.onnx")
    (tmp_path / "text.onnx").write_text("hello, I am no model\n" * 50)
    with pytest.raises(ModelError, match="no ONNX model"):
        read_model(tmp_path / "text.onnx")
    (tmp_path / "text.safetensors").write_text("hello, I am no model\n" * 50)
    with pytest.raises(ModelError, match="no rtstyle checkpoint"):
        read_model(tmp_path / "text.safetensors")


def test_refuses_weights_in_other_files(tmp_path: Path, tiny_model: ModelSpec) -> None:
    model = load(tiny_model.path)
    external_data_helper.convert_model_to_external_data(model, location="w", size_threshold=0)
    save_model(model, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="weights in another file"):
        read_model(tmp_path / "m.onnx")


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_never_fails_otherwise(tiny_model: ModelSpec, tmp_path: Path, data: st.DataObject) -> None:
    """Cut short or with bytes changed, a file is read or refused with a sentence."""
    content = bytearray(tiny_model.path.read_bytes())
    del content[data.draw(st.integers(1, len(content))) :]
    for at in data.draw(st.lists(st.integers(0, min(len(content), 4000) - 1), max_size=4)):
        content[at] = data.draw(st.integers(0, 255))
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with contextlib.suppress(ModelError):
        read_model(path)


def test_finds_models_and_leaves_out_bad_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("RTSTYLE_MODELS", str(tmp_path))
    good = graphs.copying(tmp_path / "good.onnx")
    (tmp_path / "bad.onnx").write_text("bad")
    paths = [model.path for model in find_models()]
    assert paths[0] == good
    assert tmp_path / "bad.onnx" not in paths
    assert "bad.onnx" in caplog.text


def test_models_of_several_styles_come_first_among_the_shipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, shipped = tmp_path / "mine", tmp_path / "shipped"
    monkeypatch.setenv("RTSTYLE_MODELS", str(mine))
    monkeypatch.setattr("rtstyle.model.zoo.shipped_folder", lambda: shipped)
    for folder in (mine, shipped):
        folder.mkdir()
        graphs.copying(folder / "a.onnx")
        graphs.dimming(folder / "b.onnx", metadata=document(styles=["c", "d"], style_size=2))
        graphs.tinting(folder / "t.onnx")
    names = [model.path.relative_to(tmp_path).as_posix() for model in find_models()]
    assert names == [
        "mine/a.onnx", "mine/b.onnx", "mine/t.onnx",
        "shipped/b.onnx", "shipped/a.onnx", "shipped/t.onnx",
    ]  # fmt: skip


def test_the_shipped_models_can_be_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RTSTYLE_MODELS", str(tmp_path))
    for model in find_models():
        assert model.description
        assert model.licence
        assert model.provenance


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_knows_where_users_keep_models(monkeypatch: pytest.MonkeyPatch, platform: str) -> None:
    monkeypatch.delenv("RTSTYLE_MODELS", raising=False)
    monkeypatch.setattr("sys.platform", platform)
    assert user_folder().parts[-2:] == ("rtstyle", "models")


def test_errors_are_of_the_tree() -> None:
    assert issubclass(ModelError, RtstyleError)
