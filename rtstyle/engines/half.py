"""The half-precision variant of a model file: convolutions in float16, statistics in float32.

TensorRT 11 takes the precision of every operation from the graph, so the graph has to say it. Half
are convolutions and what only moves or clips their results; float stay means, everything that comes
of the style vector, and the first and last steps, which turn uint8 into float and back.

Instance norms take three forms. "fused": one operation that takes and gives half and computes in
float, for ONNX Runtime. "split": their single steps, of which TensorRT makes two passes over
memory, one for the statistics and one that also does what comes before and after; of the fused one
it makes three or four. "float": float ones between casts, which cost it most.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
_ALWAYS_HALF = {
    "Conv", "ConvTranspose", "Relu", "LeakyRelu", "PRelu", "Pad", "Resize", "Upsample",
    "DepthToSpace", "SpaceToDepth", "Slice", "MaxPool", "AveragePool",
}  # fmt: skip
# Half where every picture they read is half: what moves numbers without computing new ones.
_LIKE_INPUTS = {
    "Reshape", "Transpose", "Concat", "Identity", "Split", "Squeeze", "Unsqueeze", "Expand", "Tile",
}  # fmt: skip
Norms = Literal["fused", "split", "float"]
# Inputs that are no pictures: their type is the operation's own affair.
_OTHER_INPUTS = {"Resize": {1, 2, 3}, "Upsample": {1}}


def to_half(model: onnx.ModelProto, *, norms: Norms = "fused") -> onnx.ModelProto:
    """A copy of `model` with its convolutions in float16, and `norms` of one of the three forms.

    A sum is half where one summand is: that is the residual connection. Inputs and outputs of the
    graph keep their types.
    """
    model = fold_casts(model)
    _centre_picture(model)
    kinds, pictures = element_types(model), _pictures(model)
    graph = model.graph
    finish = set(_finishing(graph))
    half: set[str] = set()
    normed: set[str] = set()  # by an instance norm that gives half
    drawn = _drawn(graph)
    nodes: list[onnx.NodeProto] = []
    casts: dict[tuple[str, int], str] = {}
    weights = {tensor.name: tensor for tensor in graph.initializer}

    def cast(name: str, kind: int) -> str:
        """`name` in the given type, cast once however often it is asked for."""
        if name in weights:
            stored = numpy_helper.to_array(weights[name])
            if kind == FLOAT:
                return name
            key = (name, kind)
            if key not in casts:
                casts[key] = f"{name}.half"
                limit = float(np.finfo(np.float16).max)
                converted = np.clip(stored, -limit, limit).astype(np.float16)
                graph.initializer.append(numpy_helper.from_array(converted, casts[key]))
            return casts[key]
        if (name in half) == (kind == HALF):
            return name
        key = (name, kind)
        if key not in casts:
            casts[key] = f"{name}.{'half' if kind == HALF else 'float'}"
            nodes.append(helper.make_node("Cast", [name], [casts[key]], to=kind))
        return casts[key]

    for node in graph.node:
        floats = [
            name
            for i, name in enumerate(node.input)
            if kinds.get(name) == FLOAT and i not in _OTHER_INPUTS.get(node.op_type, set())
        ]
        moving = [name for name in floats if name in drawn]
        is_half = _is_half(node, moving, half, finish)
        if norms != "float" and moving and moving[0] in half and node.output[0] not in finish:
            is_norm = node.op_type == "InstanceNormalization"
            if is_norm or (node.op_type in {"Reshape", "Mul"} and normed.intersection(moving)):
                is_half = True  # also the scales of a style, which follow the norm
                normed |= set(node.output)
        for i, name in enumerate(node.input):
            if name in floats:
                node.input[i] = cast(name, HALF if is_half else FLOAT)
        if is_half:
            half |= {name for name in node.output if kinds.get(name) == FLOAT}
        nodes.append(node)
    for value in graph.output:  # a net that ends in a convolution still gives what it gave
        if value.name in half:
            for node in nodes:
                node.output[:] = [_inner(n) if n == value.name else n for n in node.output]
                node.input[:] = [_inner(n) if n == value.name else n for n in node.input]
            nodes.append(helper.make_node("Cast", [_inner(value.name)], [value.name], to=FLOAT))
    if norms != "float":
        chosen = pictures if norms == "split" and _opset(model) >= 18 else set()
        nodes = list(_split(nodes, graph, chosen))
    replace_nodes(graph, nodes)
    onnx.checker.check_model(model, full_check=True)
    return model


def _split(
    nodes: list[onnx.NodeProto], graph: onnx.GraphProto, chosen: set[str]
) -> Iterator[onnx.NodeProto]:
    """The nodes, with half norms as single steps: those that give one of the `chosen`, and those of
    pictures that were put together of parts, which TensorRT never fuses.

    Statistics are float, of what is left of a channel without its first value, so that sums of
    squares lose nothing where a picture is flat. Rows are summed up first: in one step TensorRT
    would keep float copies of large pictures.
    """
    makers = {name: node.op_type for node in nodes for name in node.output}
    weights = {tensor.name: tensor for tensor in graph.initializer}

    def constant(value: object, name: str) -> str:
        graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    for norm in nodes:
        is_norm = norm.op_type == "InstanceNormalization" and set(norm.input[1:]) <= set(weights)
        if not is_norm or not (
            norm.output[0] in chosen or makers.get(norm.input[0]) in {"DepthToSpace", "Slice"}
        ):
            yield norm
            continue
        (x, scale, shift), y = norm.input, norm.output[0]
        if weights[scale].data_type != HALF:
            yield norm
            continue
        zero, one, two, three = (constant([i], f"{y}.{i}") for i in range(4))
        both = constant([0, 0], f"{y}.zeros"), constant([1, 1], f"{y}.ones")
        sides = constant([2, 3], f"{y}.sides")
        eps = constant(np.float32(norm.attribute[0].f), f"{y}.eps")
        columns = [
            constant(numpy_helper.to_array(weights[name]).astype(np.float32)[:, None, None], to)
            for name, to in ((scale, f"{y}.scale"), (shift, f"{y}.shift"))
        ]

        def of(*names: str, y: str = y) -> list[str]:
            return [f"{y}.{name}" for name in names]

        for operation, inputs, output in (
            ("Slice", [x, *both, sides], "first"),
            ("Sub", [x, *of("first")], "near"), ("float", of("near"), "distance"),
            ("Mul", of("distance", "distance"), "square"),
            ("ReduceMean", [*of("distance"), three], "row"),
            ("ReduceMean", [*of("square"), three], "square.row"),
            ("Concat", of("row", "square.row"), "rows"),
            ("ReduceMean", [*of("rows"), two], "means"),
            ("Slice", [*of("means"), zero, one, three], "mean"),
            ("Slice", [*of("means"), one, two, three], "mean.square"),
            ("Mul", of("mean", "mean"), "square.mean"),
            ("Sub", of("mean.square", "square.mean"), "var"), ("Add", [*of("var"), eps], "more"),
            ("Sqrt", of("more"), "deviation"), ("Div", [columns[0], *of("deviation")], "factor"),
            ("float", of("first"), "start"), ("Add", of("mean", "start"), "whole"),
            ("Mul", of("whole", "factor"), "moved"), ("Sub", [columns[1], *of("moved")], "offset"),
            ("half", of("factor"), "times"), ("half", of("offset"), "plus"),
            ("Mul", [x, *of("times")], "scaled"), ("Add", of("scaled", "plus"), ""),
        ):  # fmt: skip
            name = f"{y}.{output}" if output else y
            if operation in {"float", "half"}:
                kind = FLOAT if operation == "float" else HALF
                yield helper.make_node("Cast", inputs, [name], to=kind)
            else:
                axis: dict[str, Any] = {"axis": 3} if operation == "Concat" else {}
                yield helper.make_node(operation, inputs, [name], **axis)


def _opset(model: onnx.ModelProto) -> int:
    return next(int(o.version) for o in model.opset_import if o.domain in ("", "ai.onnx"))


def _centre_picture(model: onnx.ModelProto) -> None:
    """Subtract each colour's mean before the first convolution, in float.

    The norm after it takes the mean away in any case, so the painting stays the same; but half
    precision near white has steps of an eighth of a grey level, in which a bright picture of little
    contrast would drown. Done only where the norm does follow.
    """
    graph = model.graph
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    makers = {name: node for node in graph.node for name in node.output}
    conv = next((node for node in graph.node if node.op_type == "Conv"), None)
    if conv is None or _opset(model) < 18:
        return
    norms = users.get(conv.output[0], [])
    if not norms or any(node.op_type != "InstanceNormalization" for node in norms):
        return
    node, moving = conv, {"Pad", "Reshape", "Transpose", "SpaceToDepth"}
    while (before := makers.get(node.input[0])) is not None and before.op_type in moving:
        if any(n.op_type != "Shape" for n in users[before.output[0]] if n is not node):
            return
        if before.op_type == "Pad" and _mode(before) not in (b"reflect", b"edge"):
            return
        node = before
    picture = node.input[0]
    if any(n.op_type != "Shape" for n in users[picture] if n is not node):
        return  # also what is the picture as it was, such as a skip connection
    graph.initializer.append(numpy_helper.from_array(np.array([2, 3]), "centre.axes"))
    mean, centred = "centre.mean", "centre.picture"
    place = list(graph.node).index(node)
    graph.node.insert(place, helper.make_node("Sub", [picture, mean], [centred]))
    graph.node.insert(
        place, helper.make_node("ReduceMean", [picture, "centre.axes"], [mean], keepdims=1)
    )
    node.input[0] = centred


def _mode(pad: onnx.NodeProto) -> bytes:
    return next((a.s for a in pad.attribute if a.name == "mode"), b"constant")


def fold_casts(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model` in which weights that are stored as half and cast to float are float."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        if node.op_type == "Cast" and node.input[0] in weights:
            kind = helper.tensor_dtype_to_np_dtype(node.attribute[0].i)
            value = numpy_helper.to_array(weights[node.input[0]]).astype(kind)
            graph.initializer.append(numpy_helper.from_array(value, node.output[0]))
            weights[node.output[0]] = graph.initializer[-1]
        else:
            nodes.append(node)
    replace_nodes(graph, nodes)
    return copy


def element_types(model: onnx.ModelProto) -> dict[str, int]:
    """The element type of every tensor of `model` by name."""
    inferred = shape_inference.infer_shapes(model, strict_mode=True).graph
    values = (*inferred.value_info, *inferred.input, *inferred.output)
    kinds = {value.name: value.type.tensor_type.elem_type for value in values}
    return kinds | {tensor.name: tensor.data_type for tensor in inferred.initializer}


def _pictures(model: onnx.ModelProto) -> set[str]:
    """The tensors of four dimensions."""
    inferred = shape_inference.infer_shapes(model).graph.value_info
    return {v.name for v in inferred if len(v.type.tensor_type.shape.dim) == 4}


def replace_nodes(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
    """Put `nodes` into the graph, and drop the weights that none of them uses."""
    used = {name for node in nodes for name in node.input} | {value.name for value in graph.output}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)


def _is_half(node: onnx.NodeProto, moving: list[str], half: set[str], finish: set[str]) -> bool:
    """Whether the node calculates in half; `moving` is what it reads that comes of the inputs."""
    if not moving or node.output[0] in finish:
        return False
    if node.op_type in _ALWAYS_HALF:
        return True
    if node.op_type == "Add":
        return any(name in half for name in moving)
    return node.op_type in _LIKE_INPUTS and all(name in half for name in moving)


def _drawn(graph: onnx.GraphProto) -> set[str]:
    """The tensors whose values come of the graph's inputs: neither weights nor what the canvas
    adds, which depends on a size alone."""
    drawn = {value.name for value in graph.input}
    for node in graph.node:
        if node.op_type != "Shape" and drawn.intersection(node.input):
            drawn |= set(node.output)
    return drawn


def _finishing(graph: onnx.GraphProto) -> Iterator[str]:
    """The tensors between the last step of the net and the uint8 picture."""
    makers = {name: node for node in graph.node for name in node.output}
    last = {"Cast", "Transpose", "Round", "Floor", "Clip", "Mul", "Add", "Min", "Max", "Tanh"}
    last |= {"Sigmoid", "Sub", "Div"}
    name = graph.output[0].name
    while (node := makers.get(name)) is not None and node.op_type in last:
        yield name
        inner = [n for n in node.input if n in makers]
        if len(inner) != 1:  # a sum of two pictures belongs to the net
            return
        name = inner[0]


def _inner(name: str) -> str:
    return f"{name}.inner"
