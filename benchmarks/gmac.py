"""How many multiplications a model file takes for one picture, counted from its graph.

The convolutions and matrix products are counted, which is where a style net's work is; a
multiplication with its addition is one MAC. The graph's own shapes decide, so that rewrites made at
export count as they run.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

from rtstyle.errors import ModelError

COUNTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")

Shape = tuple[int, ...]


def count_macs(model: Path | onnx.ModelProto, *, height: int, width: int, batch: int = 1) -> int:
    """MACs for a batch of pictures of `height` × `width`, in the model's own rounding to strides.

    Raises `ModelError` when the graph does not determine the size of every product.
    """
    return sum(
        _macs(node, *shapes)
        for node, *shapes in products(model, height=height, width=width, batch=batch)
    )


def products(
    model: Path | onnx.ModelProto, *, height: int, width: int, batch: int = 1
) -> list[tuple[onnx.NodeProto, Shape, Shape, Shape]]:
    """Every convolution and matrix product with the shapes of its input, weight and output.

    Raises `ModelError` when the graph does not determine the size of every one.
    """
    name = "The model" if isinstance(model, onnx.ModelProto) else model.name
    graph = _with_size(model, {"N": batch, "H": height, "W": width})
    shapes = _shapes(graph)
    found = []
    for node in graph.graph.node:
        if node.op_type not in COUNTED:
            continue
        x, weight, out = (shapes.get(tensor) for tensor in (*node.input[:2], node.output[0]))
        if x is None or weight is None or out is None:
            raise ModelError(
                f"{name} cannot be counted: the sizes at {node.op_type} {node.output[0]!r} do not "
                f"follow from pictures of {width}×{height}."
            )
        found.append((node, x, weight, out))
    return found


def _macs(node: onnx.NodeProto, x: Shape, weight: Shape, out: Shape) -> int:
    """Every value of the output (of the input, for ConvTranspose) takes one product a tap."""
    if node.op_type == "Conv":  # weight (C_out, C_in / groups, ...)
        return math.prod(out) * math.prod(weight[1:])
    if node.op_type == "ConvTranspose":  # weight (C_in, C_out / groups, ...)
        return math.prod(x) * math.prod(weight[1:])
    if node.op_type == "Gemm":
        turned = any(a.name == "transA" and a.i for a in node.attribute)
        return math.prod(out) * x[0 if turned else 1]
    return math.prod(out) * x[-1]


def _with_size(model: Path | onnx.ModelProto, sizes: dict[str, int]) -> onnx.ModelProto:
    """A copy of the model with the free dimensions of its inputs set by their names."""
    copy = onnx.ModelProto()
    copy.CopyFrom(onnx.load(model) if isinstance(model, Path) else model)
    for value in copy.graph.input:
        dims = value.type.tensor_type.shape.dim
        names = "NHWC" if len(dims) != 4 or dims[3].dim_value == 3 else "NCHW"
        for dim, name in zip(dims, names, strict=False):
            if not dim.dim_value:
                dim.dim_value = sizes[name]
    for value in copy.graph.output:
        for dim in value.type.tensor_type.shape.dim:
            dim.Clear()
    del copy.graph.value_info[:]
    return copy


def _shapes(model: onnx.ModelProto) -> dict[str, Shape]:
    """The shape of every tensor that has a known one.

    Shape inference does not calculate with sizes, so each round replaces the arithmetic on the
    sizes found so far by its results, until a round finds nothing new.
    """
    found: dict[str, Shape] = {}
    while True:
        inferred = shape_inference.infer_shapes(model, data_prop=True).graph
        values = (*inferred.input, *inferred.value_info, *inferred.output)
        shapes = {
            value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
            for value in values
            if value.type.tensor_type.HasField("shape")
            and all(dim.HasField("dim_value") for dim in value.type.tensor_type.shape.dim)
        }
        shapes |= {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
        if len(shapes) == len(found):
            return shapes
        found = shapes
        _fold_sizes(model, shapes)


def _fold_sizes(model: onnx.ModelProto, shapes: dict[str, Shape]) -> None:
    """Replace what follows from known sizes and constants alone by its values."""
    graph = model.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    kept = []
    for node in graph.node:
        values: dict[str, NDArray[Any]] = {}
        if node.op_type == "Shape" and node.input[0] in shapes:
            values[node.input[0]] = np.empty(shapes[node.input[0]], np.uint8)
        elif node.op_type != "Constant":
            values = {name: constants[name] for name in node.input if name in constants}
        if len(values) < len({name for name in node.input if name}):
            kept.append(node)
            continue
        results = _evaluate(model, node, values)
        constants |= results
        graph.initializer.extend(
            numpy_helper.from_array(np.asarray(value), name) for name, value in results.items()
        )
    del graph.node[:]
    graph.node.extend(kept)


def _evaluate(
    model: onnx.ModelProto, node: onnx.NodeProto, values: dict[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
        for name, v in values.items()
    ]
    outputs = [helper.make_empty_tensor_value_info(name) for name in node.output]
    alone = helper.make_model(
        helper.make_graph([node], "sizes", inputs, outputs), opset_imports=model.opset_import
    )
    return dict(zip(node.output, ReferenceEvaluator(alone).run(None, values), strict=True))
