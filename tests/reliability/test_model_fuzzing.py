"""Model files made up by hypothesis: refused with `ModelError`, or read, and nothing else.

`RTSTYLE_FUZZ=100` tries a hundred times as many.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rtstyle.errors import ModelError, UsageError
from rtstyle.model.file import read_model
from rtstyle.model.spec import ModelSpec, parse_metadata
from rtstyle.style.encoder import encoder_path, read_style_encoder
from rtstyle.style.style import mix, styles_of
from tests.graphs import dimming, tinting
from tests.serve.dim import DIM

FUZZ = settings(
    max_examples=40 * int(os.environ.get("RTSTYLE_FUZZ", "1")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _message(values: st.SearchStrategy[int | bytes]) -> st.SearchStrategy[bytes]:
    """Protobuf whose field numbers are among those that the reader looks for."""
    numbers = st.sampled_from([1, 2, 5, 7, 8, 11, 12, 13, 14, 20])
    fields = st.lists(st.builds(_field, numbers, values), max_size=6)
    return fields.map(b"".join)


NUMBERS = st.integers(0, 2**70) | st.sampled_from([0, 1, 2, 3, 2**63, 2**64 - 1])
LEAF = st.binary(max_size=12) | st.sampled_from([b"frame", b"style", b"strength", b"rtstyle"])
PROTOBUF = st.recursive(NUMBERS | LEAF, _message, max_leaves=20).filter(
    lambda made: isinstance(made, bytes)
)


def _is_sentence(message: str) -> None:
    assert 20 < len(message) < 2000
    assert message.endswith(".")
    assert "\n" not in message


def _check(path: Path) -> None:
    try:
        model = read_model(path)
    except ModelError as error:
        _is_sentence(str(error))
    else:
        assert model.stride >= 1
        for style in styles_of(model):
            assert style.vector is None or style.vector.shape == (1, model.style_size)


@FUZZ
@given(st.binary(max_size=300))
def test_bytes(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.onnx").write_bytes(data)
    _check(tmp_path / "a.onnx")
    (tmp_path / "a.safetensors").write_bytes(data)
    _check(tmp_path / "a.safetensors")


@FUZZ
@given(PROTOBUF)
def test_messages(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.onnx").write_bytes(_field(1, 9) + _field(7, data) + data)
    _check(tmp_path / "a.onnx")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "a.onnx"
    return dimming(path, metadata={"rtstyle": json.dumps(DIM)}).read_bytes()


@FUZZ
@given(edits=st.lists(st.tuples(st.integers(0, 10_000), st.binary(max_size=6), st.integers(0, 9))))
def test_edited_models(tmp_path: Path, whole: bytes, edits: list[tuple[int, bytes, int]]) -> None:
    for at, new, removed in edits:
        at %= len(whole)
        whole = whole[:at] + new + whole[at + removed :] or b"\0"
    (tmp_path / "a.onnx").write_bytes(whole)
    _check(tmp_path / "a.onnx")


@FUZZ
@given(changed=st.dictionaries(st.sampled_from([*DIM, "style_input", "style_descriptions"]), JSON))
def test_documents(changed: dict[str, Any]) -> None:
    text = json.dumps(DIM | changed)
    try:
        message = parse_metadata(Path("a.onnx"), text)
    except ModelError as error:
        _is_sentence(str(error))
        return
    model = ModelSpec(Path("a.onnx"), takes_strength=False, **message)
    assert parse_metadata(Path("a.onnx"), model.metadata()) == message
    styles = styles_of(model)
    assert [style.name for style in styles] == list(message["styles"])
    assert all(name.isprintable() and name.strip() for name in message["styles"])
    if len(styles) > 1:
        assert mix([(style, 1.0) for style in styles]).vector is not None
    elif styles:
        try:
            mix([(styles[0], 1.0)])
        except UsageError:
            assert styles[0].vector is None


@FUZZ
@given(text=st.text(max_size=60) | JSON.map(json.dumps))
def test_documents_that_are_none(text: str) -> None:
    with pytest.raises(ModelError):
        parse_metadata(Path("a.onnx"), text)


@FUZZ
@given(
    changed=st.dictionaries(
        st.sampled_from(["format", "architecture", "stride", "painting_size"]), JSON, min_size=1
    )
)
def test_encoders(tmp_path_factory: pytest.TempPathFactory, changed: dict[str, Any]) -> None:
    import onnx

    path = tmp_path_factory.getbasetemp() / "tinting.onnx"
    tinting(path)
    model = onnx.load(str(encoder_path(path)))
    entry = model.metadata_props[0]
    entry.value = json.dumps(json.loads(entry.value) | changed)
    encoder_path(path).write_bytes(model.SerializeToString())
    try:
        encoder = read_style_encoder(read_model(path))
    except ModelError as error:
        _is_sentence(str(error))
    else:
        assert 1 <= encoder.stride <= encoder.image_size


@FUZZ
@given(meta=JSON, length=st.integers(0, 2**64 - 1) | st.none())
@example(meta=float("inf"), length=None)
def test_checkpoints(tmp_path: Path, meta: Any, length: int | None) -> None:
    recipe = {"architecture": "johnson", "options": {}}
    for message in (meta, {"recipe": meta}, {"recipe": recipe, "done": meta},
                 {"recipe": recipe, "done": 1, "model": meta},
                 {"recipe": recipe, "done": 1, "styles": meta}):  # fmt: skip
        head = json.dumps({"__metadata__": {"rtstyle": json.dumps(message)}}).encode()
        size = len(head) if length is None else length
        (tmp_path / "a.safetensors").write_bytes(size.to_bytes(8, "little") + head)
        _check(tmp_path / "a.safetensors")


def test_a_vast_header_takes_no_memory(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes((2**62).to_bytes(8, "little") + b"{}")
    with pytest.raises(ModelError):
        read_model(tmp_path / "a.safetensors")
