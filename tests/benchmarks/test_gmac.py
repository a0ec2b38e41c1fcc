"""The count of multiplications, held against graphs that can be counted by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from benchmarks.gmac import count_macs
from benchmarks.quality.costs import count_gmac, count_parameters
from rtstyle.errors import ModelError
from rtstyle.model.spec import ModelSpec
from tests import graphs

PICTURE: graphs.Shape = ("N", 3, "H", "W")


def weight(name: str, *shape: int) -> TensorProto:
    return numpy_helper.from_array(np.ones(shape, np.float32), name)


def graph(path: Path, nodes: list[onnx.NodeProto], weights: list[TensorProto]) -> Path:
    kinds = (TensorProto.FLOAT, PICTURE)
    return graphs.save(path, nodes, {"x": kinds}, {"y": (TensorProto.FLOAT, None)}, weights=weights)


def test_convolutions_are_counted_by_hand(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["h"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["h", "b"], ["g"], group=4, pads=[0, 0, 0, 0]),
        helper.make_node("ConvTranspose", ["g", "c"], ["y"], strides=[2, 2]),
    ]
    weights = [weight("a", 8, 3, 3, 3), weight("b", 12, 2, 1, 1), weight("c", 12, 5, 2, 2)]
    path = graph(tmp_path / "m.onnx", nodes, weights)
    strided = 8 * (10 * 16) * 3 * 9
    grouped = 12 * (10 * 16) * 2
    transposed = 12 * (10 * 16) * 5 * 4
    assert count_macs(path, height=20, width=32) == strided + grouped + transposed
    assert count_macs(path, height=20, width=32, batch=3) == 3 * (strided + grouped + transposed)
    assert count_macs(path, height=40, width=64) == 4 * (strided + grouped + transposed)


def test_products_of_matrices_are_counted_and_sizes_followed_through_arithmetic(
    tmp_path: Path,
) -> None:
    """(N, 3, H, W) is viewed as (N · 3 · H / 2, 2W), as exporters write views of free sizes."""
    nodes = [
        helper.make_node("Shape", ["x"], ["height"], start=2, end=3),
        helper.make_node("Shape", ["x"], ["width"], start=3, end=4),
        helper.make_node("Mul", ["width", "two"], ["columns"]),
        helper.make_node("Div", ["height", "two"], ["half"]),
        helper.make_node("Mul", ["half", "three"], ["rows"]),
        helper.make_node("Concat", ["rows", "columns"], ["size"], axis=0),
        helper.make_node("Reshape", ["x", "size"], ["view"]),
        helper.make_node("MatMul", ["view", "a"], ["h"]),
        helper.make_node("Gemm", ["h", "b"], ["y"], transB=1),
    ]
    weights = [
        numpy_helper.from_array(np.array([2]), "two"),
        numpy_helper.from_array(np.array([3]), "three"),
        weight("a", 16, 7),
        weight("b", 5, 7),
    ]
    path = graph(tmp_path / "m.onnx", nodes, weights)
    assert count_macs(path, height=10, width=8) == 15 * 16 * 7 + 15 * 7 * 5


def test_a_graph_whose_sizes_depend_on_the_picture_is_refused(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("NonZero", ["x"], ["where"]),
        helper.make_node("Cast", ["where"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["a", "floats"], ["y"]),
    ]
    path = graph(tmp_path / "m.onnx", nodes, [weight("a", 2, 4)])
    with pytest.raises(ModelError, match="cannot be counted"):
        count_macs(path, height=8, width=8)


def test_a_real_model_is_counted_as_it_runs(tiny_net: nn.Module, tiny_model: ModelSpec) -> None:
    trained = sum(parameter.numel() for parameter in tiny_net.parameters())
    assert count_parameters(tiny_model) == trained
    pixels = 640 * 360
    # Johnson at width 4, one block; a convolution after an enlargement takes 4 taps, not 9,
    # on the source's pixels and one more row and column.
    full = pixels * (3 * 4 * 81 + 4 * 3 * 81)
    quarter = pixels / 16 * (8 * 16 * 9 + 2 * 16 * 16 * 9) + pixels / 4 * (4 * 8 * 9)
    up = 4 * 4 * (161 * 91 * 16 * 8 + 321 * 181 * 8 * 4)
    assert count_gmac(tiny_model) == pytest.approx((full + quarter + up) / 1e9, rel=1e-9)
