"""The rewritten graph paints the same, borders included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from rtstyle.model.spec import ModelSpec
from rtstyle.nets import build_net
from rtstyle.nets.fold_upsampling import BILINEAR, Enlargement, fold, fold_upsampling, unfold
from rtstyle.nets.fold_upsampling import NEAREST as NEAREST_KIND
from rtstyle.nets.layers import Conv, smooth_upsample, upsample
from rtstyle.train.to_onnx import to_onnx

NEAREST = {
    "mode": "nearest",
    "nearest_mode": "floor",
    "coordinate_transformation_mode": "asymmetric",
}
LINEAR = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}


def chain(
    conv: nn.Conv2d,
    resize: dict[str, str] = NEAREST,
    *,
    scale: float = 2.0,
    padding: str = "reflect",
) -> onnx.ModelProto:
    """Resize, Pad and Conv as the exporter writes them."""
    weights = {
        "scales": np.array([1, 1, scale, scale], np.float32),
        "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64),
        "weight": conv.weight.detach().numpy(),
        "bias": conv.bias.detach().numpy(),  # type: ignore[union-attr]
    }
    nodes = [
        helper.make_node("Resize", ["x", "", "scales"], ["large"], **resize),
        helper.make_node("Pad", ["large", "pads"], ["padded"], mode=padding),
        helper.make_node("Conv", ["padded", "weight", "bias"], ["y"], strides=conv.stride),
    ]
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", conv.in_channels, "H", "W"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", conv.out_channels, "h", "w"])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def run(model: onnx.ModelProto, x: torch.Tensor) -> NDArray[np.float32]:
    (y,) = ort.InferenceSession(model.SerializeToString()).run(None, {"x": x.numpy()})
    result: NDArray[np.float32] = y
    return result


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 3), (8, 8)])
def test_after_a_nearest_enlargement(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    conv = Conv(5, 3)
    model = chain(conv)
    assert fold_upsampling(model) == 1
    onnx.checker.check_model(model, full_check=True)
    kinds = [node.op_type for node in model.graph.node]
    assert kinds == ["Pad", "Conv", "DepthToSpace", "Slice"]
    x = torch.randn(2, 5, *size)
    with torch.inference_mode():
        assert np.abs(run(model, x) - conv(upsample(x)).numpy()).max() < 1e-5


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 3), (8, 8)])
def test_after_a_bilinear_enlargement(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    conv = Conv(5, 3, padding="replicate")
    model = chain(conv, LINEAR, padding="edge")
    assert fold_upsampling(model) == 1
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == ["Pad", "Conv", "DepthToSpace"]
    x = torch.randn(2, 5, *size)
    with torch.inference_mode():
        assert np.abs(run(model, x) - conv(smooth_upsample(x)).numpy()).max() < 1e-5


@pytest.mark.parametrize("kind", [NEAREST_KIND, BILINEAR])
def test_the_weights_come_back(kind: Enlargement) -> None:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((4, 6, 3, 3), np.float32)
    bias = rng.standard_normal(4, np.float32)
    again = unfold(*fold(weight, bias, kind))
    assert np.abs(again[0] - weight).max() < 1e-5
    assert np.array_equal(again[1], bias)


@pytest.mark.parametrize(
    ("conv", "resize", "changes"),
    [
        (Conv(4, 4, 9), NEAREST, {}),
        (Conv(4, 4, stride=2), NEAREST, {}),
        (Conv(4, 4), NEAREST, {"scale": 4.0}),
        (Conv(4, 4), NEAREST, {"padding": "edge"}),
        (Conv(4, 4), NEAREST | {"nearest_mode": "ceil"}, {}),
        (Conv(4, 4), LINEAR, {"padding": "reflect"}),
        (Conv(4, 4), LINEAR | {"coordinate_transformation_mode": "align_corners"}, {}),
    ],
)
def test_other_chains_are_left_alone(
    conv: nn.Conv2d, resize: dict[str, str], changes: dict[str, Any]
) -> None:
    model = chain(conv, resize, **changes)
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
    assert kinds.count("Resize") == 1  # the canvas's grain


def test_the_full_resolution_of_the_fast_net_is_folded() -> None:
    torch.manual_seed(0)
    net = build_net("fast", width=8, deep=8, blocks=1, tail=8).eval()
    model = to_onnx(net, ModelSpec(Path("m"), "fast", 8, ("m",)))
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("DepthToSpace") == 2
    assert kinds.count("Resize") == 2  # the canvas's grain, and before the skip is joined
