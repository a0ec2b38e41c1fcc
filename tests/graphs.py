"""ONNX files written by hand, as other makers may write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

from rtstyle.model.spec import ModelSpec
from rtstyle.style.encoder import StyleEncoder, encoder_path

Shape = Sequence[int | str | None]
FREE: Shape = ("N", "H", "W", 3)


def save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, tuple[int, Shape | None]],
    outputs: Mapping[str, tuple[int, Shape | None]],
    *,
    weights: Sequence[onnx.TensorProto] = (),
    metadata: dict[str, str] | None = None,
) -> Path:
    """Write a graph to `path`; inputs and outputs are (TensorProto.DataType, shape) by name."""

    def values(message: Mapping[str, tuple[int, Shape | None]]) -> list[Any]:
        return [helper.make_tensor_value_info(name, *kind) for name, kind in message.items()]

    graph = helper.make_graph(nodes, "test", values(inputs), values(outputs), list(weights))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, metadata or {})
    path.write_bytes(model.SerializeToString())
    return path


def copying(
    path: Path,
    *,
    element: int = TensorProto.UINT8,
    shape: Shape | None = FREE,
    metadata: dict[str, str] | None = None,
) -> Path:
    """A model that paints nothing: its output is its input."""
    node = helper.make_node("Identity", ["frame"], ["stylized"])
    kinds = (element, shape)
    return save(path, [node], {"frame": kinds}, {"stylized": kinds}, metadata=metadata)


def inverting(path: Path, *, peak: float, shape: Shape = ("N", 3, "H", "W")) -> Path:
    """A float model that paints the negative, for values from 0 to `peak`."""
    node = helper.make_node("Sub", ["white", "picture"], ["negative"])
    kinds = (TensorProto.FLOAT, shape)
    white = helper.make_tensor("white", TensorProto.FLOAT, [], [peak])
    return save(path, [node], {"picture": kinds}, {"negative": kinds}, weights=[white])


def dimming(path: Path, *, metadata: dict[str, str]) -> Path:
    """A model with two styles: the first copies, the second paints black."""
    nodes = [
        helper.make_node("Cast", ["frame"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("Gemm", ["style", "rates"], ["rate"]),  # (N, 1)
        helper.make_node("Unsqueeze", ["rate", "axes"], ["rate4"]),  # (N, 1, 1, 1)
        helper.make_node("Mul", ["x", "rate4"], ["dim"]),
        helper.make_node("Round", ["dim"], ["round"]),
        helper.make_node("Cast", ["round"], ["stylized"], to=TensorProto.UINT8),
    ]
    weights = [
        helper.make_tensor("rates", TensorProto.FLOAT, [2, 1], [1.0, 0.0]),
        helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3]),
    ]
    frame = (TensorProto.UINT8, FREE)
    inputs = {"frame": frame, "style": (TensorProto.FLOAT, ("N", 2))}
    return save(path, nodes, inputs, {"stylized": frame}, weights=weights, metadata=metadata)


def fading(path: Path, *, metadata: dict[str, str]) -> Path:
    """A model that takes a strength: 0 paints the picture, 1 paints black."""
    nodes = [
        helper.make_node("Cast", ["frame"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["one", "strength"], ["rate"]),
        helper.make_node("Unsqueeze", ["rate", "axes"], ["rate4"]),  # (N, 1, 1, 1)
        helper.make_node("Mul", ["x", "rate4"], ["dim"]),
        helper.make_node("Round", ["dim"], ["round"]),
        helper.make_node("Cast", ["round"], ["stylized"], to=TensorProto.UINT8),
    ]
    weights = [
        helper.make_tensor("one", TensorProto.FLOAT, [], [1.0]),
        helper.make_tensor("axes", TensorProto.INT64, [3], [1, 2, 3]),
    ]
    frame = (TensorProto.UINT8, FREE)
    inputs = {"frame": frame, "strength": (TensorProto.FLOAT, ("N",))}
    return save(path, nodes, inputs, {"stylized": frame}, weights=weights, metadata=metadata)


def tinting(path: Path) -> Path:
    """A model for any painting, which lays the painting's mean colour over the picture by its
    strength, and its style encoder."""
    spec = ModelSpec(path, "tinting", 4, (), style_size=3, style_input="statistics")
    axes = helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2])
    frame, numbers = (TensorProto.UINT8, FREE), (TensorProto.FLOAT, ("N", 3))
    nodes = [
        helper.make_node("Cast", ["frame"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["style", "axes"], ["color"]),  # (N, 1, 1, 3)
        helper.make_node("Unsqueeze", ["strength", "axes3"], ["rate"]),  # (N, 1, 1, 1)
        helper.make_node("Sub", ["color", "x"], ["off"]),
        helper.make_node("Mul", ["off", "rate"], ["step"]),
        helper.make_node("Add", ["x", "step"], ["y"]),
        helper.make_node("Round", ["y"], ["round"]),
        helper.make_node("Cast", ["round"], ["stylized"], to=TensorProto.UINT8),
    ]
    axes3 = helper.make_tensor("axes3", TensorProto.INT64, [3], [1, 2, 3])
    save(
        path, nodes,
        {"frame": frame, "style": numbers, "strength": (TensorProto.FLOAT, ("N",))},
        {"stylized": frame}, weights=[axes, axes3], metadata={"rtstyle": spec.metadata()},
    )  # fmt: skip
    encoder = StyleEncoder(encoder_path(path), stride=8, image_size=60, style_size=3)
    encoder.path.parent.mkdir(exist_ok=True)
    nodes = [
        helper.make_node("Cast", ["painting"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["x", "axes"], ["style"], keepdims=0),
    ]
    save(
        encoder.path, nodes, {"painting": frame}, {"style": numbers},
        weights=[axes], metadata={"rtstyle": encoder.metadata()},
    )  # fmt: skip
    return path
