"""ONNX graphs for WebGPU, whose backend lacks one full-frame operator of ours: Round."""

from __future__ import annotations

import struct

from rtstyle.model.onnx_reader import fields, to_span, to_text

# Field numbers of onnx.proto3, as in rtstyle/model/onnx_reader.py.
_MODEL_GRAPH, _GRAPH_NODE, _GRAPH_WEIGHT = 7, 1, 5
_NODE_INPUT, _NODE_OUTPUT, _NODE_TYPE = 1, 2, 4
_WEIGHT_TYPE, _WEIGHT_NAME, _WEIGHT_RAW, _FLOAT = 2, 8, 9, 1
_HALF = "rtstyle_half"


def without_round(model: bytes) -> bytes:
    """The model with every Round(x) written as Floor(x + 0.5), which WebGPU runs itself.

    For grey levels that is the same but for exact halves, which go up instead of to the even
    neighbour. Only nodes of the graph itself are looked at, of float32 as in our exports.
    """
    graph = next((to_span(v) for n, v in fields(model, range(len(model))) if n == _MODEL_GRAPH))
    parts, at = [], graph.start
    for number, value in fields(model, graph):
        if number != _GRAPH_NODE:
            continue
        node = to_span(value)
        content = [(n, to_text(model, v)) for n, v in fields(model, node) if n in (1, 2, 4)]
        facts = dict(content)
        if facts.get(_NODE_TYPE) != "Round":
            continue
        begin = node.start - len(_varint(len(node))) - 1
        raised = f"{facts[_NODE_OUTPUT]}_raised"
        parts.append(model[at:begin])
        parts.append(_node("Add", [facts[_NODE_INPUT], _HALF], raised))
        parts.append(_node("Floor", [raised], facts[_NODE_OUTPUT]))
        at = node.stop
    if not parts:
        return model
    half = _number(_WEIGHT_TYPE, _FLOAT) + _bytes(_WEIGHT_NAME, _HALF.encode())
    half += _bytes(_WEIGHT_RAW, struct.pack("<f", 0.5))
    parts += [model[at : graph.stop], _bytes(_GRAPH_WEIGHT, half)]
    begin = graph.start - len(_varint(len(graph))) - 1
    return model[:begin] + _bytes(_MODEL_GRAPH, b"".join(parts)) + model[graph.stop :]


def _node(kind: str, inputs: list[str], output: str) -> bytes:
    node = b"".join(_bytes(_NODE_INPUT, name.encode()) for name in inputs)
    node += _bytes(_NODE_OUTPUT, output.encode()) + _bytes(_NODE_TYPE, kind.encode())
    return _bytes(_GRAPH_NODE, node)


def _bytes(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    result = bytearray()
    while value > 0x7F:
        result.append(value & 0x7F | 0x80)
        value >>= 7
    result.append(value)
    return bytes(result)
