"""The rewritten graph paints the same, borders included."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from rtstyle.model import ModelSpec
from rtstyle.nets.layers import Conv, upsample
from rtstyle.train.fold_upsampling import fold_upsampling
from rtstyle.train.onnx_export import to_onnx


def chain(
    conv: nn.Conv2d, *, scale: float = 2.0, mode: str = "reflect", nearest: str = "floor"
) -> onnx.ModelProto:
    """Resize, Pad and Conv as the exporter writes them; the enlarged array is an output too when
    its name is "kept"."""
    weights = {
        "scales": np.array([1, 1, scale, scale], np.float32),
        "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64),
        "weight": conv.weight.detach().numpy(),
        "bias": conv.bias.detach().numpy(),  # type: ignore[union-attr]
    }
    nodes = [
        helper.make_node(
            "Resize", ["x", "", "scales"], ["large"], mode="nearest", nearest_mode=nearest,
            coordinate_transformation_mode="asymmetric",
        ),
        helper.make_node("Pad", ["large", "pads"], ["padded"], mode=mode),
        helper.make_node("Conv", ["padded", "weight", "bias"], ["y"], strides=conv.stride),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", conv.in_channels, "H", "W"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", conv.out_channels, "h", "w"])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 3), (8, 8)])
def test_the_result_stays_the_same(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    conv = Conv(5, 3)
    model = chain(conv)
    assert fold_upsampling(model) == 1
    onnx.checker.check_model(model, full_check=True)
    kinds = [node.op_type for node in model.graph.node]
    assert kinds == ["Pad", "Conv", "DepthToSpace", "Slice"]
    x = torch.randn(2, 5, *size)
    (y,) = ort.InferenceSession(model.SerializeToString()).run(None, {"x": x.numpy()})
    with torch.inference_mode():
        assert np.abs(y - conv(upsample(x)).numpy()).max() < 1e-5


@pytest.mark.parametrize(
    ("conv", "changes"),
    [
        (Conv(4, 4, 9), {}),
        (Conv(4, 4, stride=2), {}),
        (Conv(4, 4), {"scale": 4.0}),
        (Conv(4, 4), {"mode": "edge"}),
        (Conv(4, 4), {"nearest": "ceil"}),
    ],
)
def test_other_chains_are_left_alone(conv: nn.Conv2d, changes: dict[str, str | float]) -> None:
    model = chain(conv, **changes)  # type: ignore[arg-type]
    before = model.SerializeToString()
    assert fold_upsampling(model) == 0
    assert model.SerializeToString() == before


def test_an_array_that_is_used_elsewhere_is_kept() -> None:
    model = chain(Conv(4, 4))
    model.graph.node.append(helper.make_node("Relu", ["large"], ["z"]))
    assert fold_upsampling(model) == 0


def test_exported_nets_are_folded(tiny_net: nn.Module) -> None:
    model = to_onnx(tiny_net, ModelSpec(Path("m"), "johnson", 4, ("m",)))
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("DepthToSpace") == 2
    assert "Resize" not in kinds
