"""Files that want more than to be painted: nothing they name is opened, and a sentence says so."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from rtstyle.engines import ENGINES, EngineOptions, open_engine
from rtstyle.errors import ModelError
from rtstyle.model.file import read_model
from rtstyle.model.onnx_reader import MAX_NODES, check_safe
from rtstyle.model.spec import ModelSpec
from rtstyle.style.encoder import encode, read_style_encoder
from tests import graphs

ROOT = Path(__file__).parents[1]
FRAME = {"frame": (TensorProto.UINT8, graphs.FREE)}
PAINTED = {"stylized": (TensorProto.UINT8, graphs.FREE)}
ENGINE_NAMES = [name for name in ENGINES if name not in {"identity", "torch", "torch-cuda"}]


def _save(path: Path, nodes: Sequence[onnx.NodeProto], **more: object) -> Path:
    return graphs.save(path, nodes, FRAME, PAINTED, **more)  # type: ignore[arg-type]


def _copy() -> onnx.NodeProto:
    return helper.make_node("Identity", ["frame"], ["stylized"])


def _external(location: str) -> onnx.TensorProto:
    tensor = onnx.TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def _external_constant(path: Path, location: str) -> None:
    """Where a check of the weights alone does not look: in a node's attribute."""
    constant = helper.make_node("Constant", [], ["w"], value=_external(location))
    _save(path, [constant, _copy()])


def _external_in_branch(path: Path) -> None:
    inner = helper.make_graph(
        [helper.make_node("Constant", [], ["c"], value=_external("/etc/passwd"))],
        "inner", [], [helper.make_tensor_value_info("c", TensorProto.FLOAT, [4])],
    )  # fmt: skip
    condition = helper.make_tensor("yes", TensorProto.BOOL, [], [True])
    branch = helper.make_node("If", ["yes"], ["x"], then_branch=inner, else_branch=inner)
    _save(path, [branch, _copy()], weights=[condition])


def _endless(path: Path) -> None:
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Identity", ["a"], ["b"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("a", TensorProto.UINT8, graphs.FREE),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("b", TensorProto.UINT8, graphs.FREE),
        ],
    )
    often = helper.make_tensor("often", TensorProto.INT64, [], [2**62])
    always = helper.make_tensor("always", TensorProto.BOOL, [], [True])
    loop = helper.make_node("Loop", ["often", "always", "frame"], ["stylized"], body=body)
    _save(path, [loop], weights=[often, always])


def _custom(path: Path) -> None:
    _save(path, [helper.make_node("Exec", ["frame"], ["stylized"], domain="com.example")])


def _function(path: Path) -> None:
    model = onnx.load(_save(path, [_copy()]))
    opset = [helper.make_opsetid("", 18)]
    model.functions.append(
        helper.make_function(
            "mine", "F", ["a"], ["b"], [helper.make_node("Identity", ["a"], ["b"])], opset
        )
    )
    path.write_bytes(model.SerializeToString())


def _huge_weight(path: Path) -> None:
    weight = onnx.TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2**20, 2**20])
    _save(path, [_copy()], weights=[weight])


def _many_nodes(path: Path) -> None:
    _save(path, [_copy()] + [helper.make_node("Identity", ["frame"], ["x"])] * MAX_NODES)


def _opset(path: Path) -> None:
    """On which ONNX Runtime 1.27 counts for ever."""
    model = onnx.load(_save(path, [_copy()]))
    model.opset_import[0].version = 2**62
    path.write_bytes(model.SerializeToString())


def _sparse(path: Path) -> None:
    model = onnx.load(_save(path, [_copy()]))
    model.graph.sparse_initializer.add(dims=[4])
    path.write_bytes(model.SerializeToString())


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "absolute": (lambda path: _external_constant(path, "/etc/passwd"), "in another file"),
    "upwards": (lambda path: _external_constant(path, "../../secret"), "in another file"),
    "beside": (lambda path: _external_constant(path, "weights.bin"), "in another file"),
    "branch": (_external_in_branch, "in another file"),
    "loop": (_endless, "Loop, which may run without end"),
    "custom": (_custom, "not ONNX's own"),
    "function": (_function, "operators of its own"),
    "huge": (_huge_weight, "a weight of 1048576×1048576 numbers"),
    "nodes": (_many_nodes, "more than 10000 nodes"),
    "opset": (_opset, "operators of version 4611686018427387904"),
    "sparse": (_sparse, "sparse weights"),
}


@pytest.mark.parametrize("name", BAD)
def test_model_files_that_want_too_much(name: str, tmp_path: Path) -> None:
    """They can be listed, as that opens nothing, but no engine is given them."""
    make, says = BAD[name]
    path = tmp_path / "m.onnx"
    make(path)
    with pytest.raises(ModelError, match=says) as caught:
        check_safe(path)
    assert "\n" not in str(caught.value)
    spec = read_model(path)
    for engine in ("auto", "openvino", "onnxruntime"):
        with pytest.raises(ModelError, match=says):
            open_engine(engine, spec)


def test_no_engine_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the engine, and with the fp16 variant in the place of a good file."""
    opened: list[str] = []

    class Engine:
        def __init__(self, model: ModelSpec, options: EngineOptions) -> None:
            opened.append(str(model.path))

    monkeypatch.setattr("rtstyle.engines.load_engine_class", lambda name: Engine)
    BAD["custom"][0](path := tmp_path / "m.onnx")
    for name in ENGINE_NAMES:
        devices = (0,) if ENGINES[name].runs_on_gpu else ()
        with pytest.raises(ModelError, match="not ONNX's own"):
            open_engine(EngineOptions(name=name, devices=devices), read_model(path))
    assert opened == []


def test_a_link_does_not_lead_around_the_check(tmp_path: Path) -> None:
    (tmp_path / "w").symlink_to("/etc/hostname")
    weight = _external("w")
    _save(tmp_path / "real.onnx", [_copy()], weights=[weight])
    (tmp_path / "m.onnx").symlink_to("real.onnx")
    with pytest.raises(ModelError, match="in another file"):
        read_model(tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="in another file"):
        check_safe(tmp_path / "m.onnx")


def test_the_style_encoder_is_checked_too(tmp_path: Path) -> None:
    model = read_model(graphs.tinting(tmp_path / "any.onnx"))
    encoder = read_style_encoder(model)
    painting = np.zeros((64, 64, 3), np.uint8)
    assert encode(encoder, painting).shape == (1, 3)
    bad = onnx.load(encoder.path)
    bad.graph.node.append(helper.make_node("Exec", ["painting"], ["x"], domain="com.example"))
    encoder.path.write_bytes(bad.SerializeToString())
    with pytest.raises(ModelError, match="not ONNX's own"):
        encode(encoder, painting)


def test_a_file_larger_than_any_model_is_not_read(tmp_path: Path) -> None:
    path = _save(tmp_path / "m.onnx", [_copy()])
    with path.open("r+b") as file:
        file.truncate(2**30 + 1)  # takes no room on the disk
    with pytest.raises(ModelError, match="larger than 1024 MiB"):
        check_safe(path)


def test_fixed_sizes_are_bounded(tmp_path: Path) -> None:
    path = graphs.inverting(tmp_path / "m.onnx", peak=1, shape=(1, 3, 100_000, 100_000))
    with pytest.raises(ModelError, match=r"100000×100000; .* 36 million pixels"):
        read_model(path)


def test_the_shipped_models_are_safe() -> None:
    for path in (ROOT / "rtstyle" / "zoo").rglob("*.onnx"):
        check_safe(path)


def test_nothing_unpickles() -> None:
    """Pickles run code. The one use of torch.load reads tensors alone."""
    for room in ("rtstyle", "export", "benchmarks"):
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.Call):
                    continue
                called = ast.unparse(node.func)
                message = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                where = f"{path}:{node.lineno}"
                assert called not in {"eval", "exec", "pickle.load", "pickle.loads"}, where
                assert not called.endswith((".Unpickler", "joblib.load", "yaml.load")), where
                if called == "torch.load":
                    assert message.get("weights_only") == "True", where
                if called == "np.load":
                    assert message.get("allow_pickle", "False") == "False", where
