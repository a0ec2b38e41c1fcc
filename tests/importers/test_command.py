"""`rtstyle import`, from files of other projects to files that every runtime runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from export.__main__ import main
from rtstyle.engines import open_engine
from rtstyle.model.file import read_model
from tests import graphs
from tests.importers import originals
from tests.importers.originals import weights_of
from tests.importers.test_importers import save_torch


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (1, height, width, 3), dtype=np.uint8)


def zoo_file(path: Path, weights: originals.Weights) -> Path:
    """As the model zoo's files are: opset 9, fixed 224×224, weights among the inputs, Upsample."""
    nodes: list[onnx.NodeProto] = []
    tensors = {name: numpy_helper.from_array(value, name) for name, value in weights.items()}
    tensors["scales"] = numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales")

    def add(kind: str, *inputs: str, **attributes: object) -> str:
        name = str(len(nodes)) if len(nodes) < 1000 else ""
        nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def conv(name: str, x: str, stride: int = 1) -> str:
        k = weights[f"{name}.conv2d.weight"].shape[2]
        padded = add("Pad", x, mode="reflect", pads=[0, 0, k // 2, k // 2, 0, 0, k // 2, k // 2])
        return add(
            "Conv", padded, f"{name}.conv2d.weight", f"{name}.conv2d.bias", kernel_shape=[k, k],
            strides=[stride, stride], pads=[0, 0, 0, 0], dilations=[1, 1], group=1,
        )  # fmt: skip

    def norm(name: str, x: str) -> str:
        return add("InstanceNormalization", x, f"{name}.weight", f"{name}.bias", epsilon=1e-5)

    x = "input1"
    for i, stride in ((1, 1), (2, 2), (3, 2)):
        x = add("Relu", norm(f"in{i}", conv(f"conv{i}", x, stride)))
    for i in range(1, 6):
        y = add("Relu", norm(f"res{i}.in1", conv(f"res{i}.conv1", x)))
        x = add("Add", norm(f"res{i}.in2", conv(f"res{i}.conv2", y)), x)
    for i in (1, 2):
        x = conv(f"deconv{i}", add("Upsample", x, "scales", mode="nearest"))
        x = add("Relu", norm(f"in{i + 3}", x))
    conv("deconv3", x)
    nodes[-1].output[0] = "output1"
    shape = [1, 3, 224, 224]
    inputs = [helper.make_tensor_value_info("input1", TensorProto.FLOAT, shape)]
    inputs += [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, list(v.dims))
        for n, v in tensors.items()
    ]
    outputs = [helper.make_tensor_value_info("output1", TensorProto.FLOAT, shape)]
    graph = helper.make_graph(nodes, "torch-jit-export", inputs, outputs, list(tensors.values()))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=4)
    onnx.save_model(model, path)
    return path


def test_the_model_zoo_at_any_size(tmp_path: Path) -> None:
    weights = weights_of(originals.examples_shapes(4))
    path = zoo_file(tmp_path / "mosaic-9.onnx", weights)
    output = tmp_path / "mosaic.onnx"
    assert main(["import", str(path), "-o", str(output), "--licence", "BSD-3-Clause"]) == 0
    spec = read_model(output)
    assert (spec.layout, spec.styles, spec.licence) == ("nhwc", ("mosaic",), "BSD-3-Clause")
    assert spec.size is None
    frame = picture(64, 96)
    with torch.inference_mode():
        x = torch.from_numpy(frame).permute(0, 3, 1, 2).float()
        expected = originals.examples_paint(weights, x).clamp(0, 255).round().permute(0, 2, 3, 1)
    for runtime in ("openvino", "onnxruntime"):
        with open_engine(runtime, spec) as engine:
            painted = engine.submit(frame).result()
        assert np.abs(painted - expected.numpy()).max() <= 1


@pytest.mark.parametrize("values", ["0..1", "0..255", "-1..1", "imagenet"])
def test_onnx_files_of_any_range(values: str, tmp_path: Path) -> None:
    """A graph that negates: what that does to a picture tells the range."""
    node = helper.make_node("Neg", ["x"], ["y"])
    kinds = (TensorProto.FLOAT, ("N", 3, "H", "W"))
    path = graphs.save(tmp_path / "neg.onnx", [node], {"x": kinds}, {"y": kinds})
    output = tmp_path / "out" / "neg.onnx"
    assert main(["import", str(path), "-o", str(output), "--range", values]) == 0
    frame = picture(32, 32)
    middle = {"0..1": 0, "0..255": 0, "-1..1": 127.5, "imagenet": 255 * np.array(
        [0.485, 0.456, 0.406])}[values]  # fmt: skip
    expected = np.floor((2 * middle - frame.astype(np.float64)).clip(0, 255) + 0.5)
    with open_engine("onnxruntime", read_model(output)) as engine:
        assert np.abs(engine.submit(frame).result() - expected).max() <= 1


def test_a_fixed_size_stays_where_the_graph_needs_it(tmp_path: Path) -> None:
    kinds = (TensorProto.FLOAT, (1, 3, 64, 32))
    path = graphs.save(
        tmp_path / "m.onnx",
        [helper.make_node("Reshape", ["x", "flat"], ["f"]),
         helper.make_node("Reshape", ["f", "shape"], ["y"])],
        {"x": kinds}, {"y": kinds},
        weights=[numpy_helper.from_array(np.array([1, 3 * 64 * 32]), "flat"),
                 numpy_helper.from_array(np.array([1, 3, 64, 32]), "shape")],
    )  # fmt: skip
    output = tmp_path / "o.onnx"
    assert main(["import", str(path), "-o", str(output), "--range", "0..1"]) == 0
    assert read_model(output).size == (64, 32)
    frame = picture(64, 32)
    with open_engine("onnxruntime", read_model(output)) as engine:
        assert np.array_equal(engine.submit(frame).result(), frame)


def test_a_checkpoint_becomes_a_model_file(tmp_path: Path) -> None:
    """Through the parity gate of the export, which paints with every runtime."""
    weights = weights_of(originals.examples_shapes(2))
    path, output = save_torch(tmp_path / "candy.pth", weights), tmp_path / "candy.onnx"
    assert main(["import", str(path), "-o", str(output), "--name", "Candy"]) == 0
    spec = read_model(output)
    assert (spec.architecture, spec.styles, spec.stride) == ("johnson", ("Candy",), 4)
    assert spec.provenance["origin"] == "pytorch/examples fast_neural_style"
    assert spec.provenance["imported"] == ["candy.pth"]


def test_tells_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kinds = (TensorProto.FLOAT, ("N", 3, "H", "W"))
    node = helper.make_node("Neg", ["x"], ["y"])
    path = str(graphs.save(tmp_path / "neg.onnx", [node], {"x": kinds}, {"y": kinds}))
    weights = save_torch(tmp_path / "w.pth", weights_of({"a": (3,)}))
    out = str(tmp_path / "o.onnx")

    def failing(status: int, *arguments: str) -> str:
        assert main(["import", *arguments]) == status
        return capsys.readouterr().err

    assert "--range 0..1|0..255|-1..1|imagenet" in failing(2, path, "-o", out)
    assert "one of the inputs" in failing(2, path, "-o", path, "--range", "0..1")
    assert "ends in .onnx" in failing(2, path, "-o", "o.pth", "--range", "0..1")
    assert "imported alone" in failing(2, path, str(weights), "-o", out)
    assert "not recognised" in failing(1, str(weights), "-o", out)
    assert "for ONNX files" in failing(2, str(weights), "-o", out, "--range", "0..1")
    (tmp_path / "bad.onnx").write_bytes(b"nothing")
    assert failing(1, str(tmp_path / "bad.onnx"), "-o", out)
    assert not (tmp_path / "o.onnx").exists()
    assert not list(tmp_path.glob("*.part"))
