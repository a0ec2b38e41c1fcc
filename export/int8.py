"""The INT8 variant of a model file: convolutions in 8 bits where the painting allows it.

Post-training quantisation as QDQ nodes, which both OpenVINO and ONNX Runtime read: activations
uint8 a tensor, ranges taken from photographs; weights int8 a channel. Norms and all else stay
float. The convolutions that cost the picture most, usually the last ones, stay float until the
pictures are as near as asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from export.feeds import Feed
from export.half import fold_casts, replace_nodes
from rtstyle.errors import ModelError

Range = tuple[float, float]
_FATAL = 4


def to_int8(
    model: onnx.ModelProto, feeds: Sequence[Feed], *, max_mean: float
) -> tuple[onnx.ModelProto, list[str]]:
    """A copy of `model` with its convolutions in 8 bits, and the names of those left float.

    `feeds` are what the ranges of activations and the cost of each convolution are measured on.
    Convolutions are left float, the costliest first, until no painting differs by more than
    `max_mean` grey levels on average. Raises `ModelError` when there is nothing to quantise.
    """
    model = fold_casts(model)
    convs = _convolutions(model.graph)
    if not convs:
        raise ModelError("No convolution of the model has constant weights to quantise.")
    ranges = _ranges(model, convs, feeds)
    expected = _paint(model, feeds)

    def cost(chosen: set[str]) -> float:
        painted = _paint(_quantise(model, ranges, chosen), feeds)
        return max(
            float(np.abs(p.astype(np.int16) - e).mean())
            for p, e in zip(painted, expected, strict=True)
        )

    names = set(convs)
    chosen = _drop_costliest(names, cost, max_mean) if cost(names) > max_mean else names
    return _quantise(model, ranges, chosen), sorted(names - chosen)


def _drop_costliest(
    names: set[str], cost: Callable[[set[str]], float], max_mean: float
) -> set[str]:
    alone = {name: cost({name}) for name in names}
    chosen = set(names)
    for name in sorted(names, key=lambda n: (-alone[n], n)):
        chosen.discard(name)
        if cost(chosen) <= max_mean:
            break
    return chosen


def _convolutions(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    """Convolutions with constant weights, by the name of their output."""
    weights = {tensor.name for tensor in graph.initializer}
    return {
        node.output[0]: node
        for node in graph.node
        if node.op_type == "Conv" and node.input[1] in weights
    }


def _ranges(
    model: onnx.ModelProto, convs: dict[str, onnx.NodeProto], feeds: Sequence[Feed]
) -> dict[str, Range]:
    """Least and greatest value of every convolution's input over all feeds; 0 is within."""
    watched = sorted({node.input[0] for node in convs.values()})
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    probe.graph.output.extend(
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in watched
    )
    session = _session(probe)
    ranges = dict.fromkeys(watched, (0.0, 0.0))
    for feed in feeds:
        for name, value in zip(watched, session.run(watched, feed), strict=True):
            low, high = ranges[name]
            ranges[name] = (min(low, float(value.min())), max(high, float(value.max())))
    return ranges


def _quantise(
    model: onnx.ModelProto, ranges: dict[str, Range], chosen: set[str]
) -> onnx.ModelProto:
    quantised = onnx.ModelProto()
    quantised.CopyFrom(model)
    graph = quantised.graph
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    coded: set[str] = set()

    def constant(name: str, value: NDArray[Any]) -> str:
        graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    for node in graph.node:
        if node.output[0] in chosen:
            source, weight = node.input[0], node.input[1]
            if source not in coded:
                coded.add(source)
                low, high = ranges[source]
                scale = max((high - low) / 255, 1e-12)
                pair = [
                    constant(f"{source}.scale", np.array(scale, np.float32)),
                    constant(f"{source}.zero", np.array(round(-low / scale), np.uint8)),
                ]
                code, value = f"{source}.u8", f"{source}.coded"
                nodes.append(helper.make_node("QuantizeLinear", [source, *pair], [code]))
                nodes.append(helper.make_node("DequantizeLinear", [code, *pair], [value]))
            if weight not in coded:
                coded.add(weight)
                kernel = weights[weight]
                peaks = np.abs(kernel).max(axis=(1, 2, 3))
                steps = np.maximum(peaks / 127, 1e-12).astype(np.float32)
                codes = np.round(kernel / steps[:, None, None, None]).astype(np.int8)
                names = [
                    constant(f"{weight}.s8", codes),
                    constant(f"{weight}.scale", steps),
                    constant(f"{weight}.zero", np.zeros(len(steps), np.int8)),
                ]
                nodes.append(
                    helper.make_node("DequantizeLinear", names, [f"{weight}.coded"], axis=0)
                )
            node.input[0], node.input[1] = f"{source}.coded", f"{weight}.coded"
        nodes.append(node)
    replace_nodes(graph, nodes)
    onnx.checker.check_model(quantised, full_check=True)
    return quantised


def _paint(model: onnx.ModelProto, feeds: Sequence[Feed]) -> list[NDArray[np.uint8]]:
    session = _session(model)
    return [np.asarray(session.run(None, feed)[0], np.uint8) for feed in feeds]


def _session(model: onnx.ModelProto) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = _FATAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
