"""Damage to the inside of model files: their graphs, and the JSON document in their metadata."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import onnx

_NUMBERS = (0, -1, 1, 3, 4, 1024, 1025, 2**31 - 1, 2**31, 2**63 - 1, -(2**63))
_VALUES: tuple[Any, ...] = (
    None, True, [], {}, "", "x", 0, -1, 1.5, 1e308, 2**70, "\x1b[31mred\x1b[0m", "two\nlines",
    "[/bold]", "[bold]", "x" * 300_000, ["a"] * 3000, [[]], {"a": {"b": None}}, "🎨", "\ud800",
    ["a", "a"],
    ["../../etc/passwd"], ["a=1,b"], [1, 2], "a\u202eb",
)  # fmt: skip


def broken_graph(source: Path, target: Path, rng: Random) -> None:
    """A copy that is protobuf still, and no graph that can be run (mostly)."""
    model = onnx.load(str(source))
    for _ in range(rng.choice([1, 1, 2])):
        _break(model, rng)
    target.write_bytes(model.SerializeToString())


def broken_document(source: Path, target: Path, rng: Random) -> None:
    """A copy whose metadata document has wrong values, or is no document."""
    model = onnx.load(str(source))
    entry = next((e for e in model.metadata_props if e.key == "rtstyle"), None)
    if entry is None:
        entry = model.metadata_props.add()
        entry.key = "rtstyle"
        entry.value = json.dumps({"format": 1})
    document = json.loads(entry.value)
    for _ in range(rng.choice([1, 1, 2, 3])):
        key = rng.choice([*document, "style_descriptions", "style_input", "format", "styles"])
        document[key] = rng.choice(_VALUES)
    text = json.dumps(document, ensure_ascii=rng.random() < 0.5)
    match rng.randrange(8):
        case 0:
            text = text[: rng.randrange(len(text))]
        case 1:
            text = "[" * 200_000
        case 2:
            text = text.replace(":1,", ":" + "9" * 5000 + ",", 1).replace(": 1,", ": NaN,", 1)
        case 3:
            text = rng.choice(["", "null", "[]", "1", '"x"', "\x00", "{}" * 10])
    entry.value = text.encode("utf-8", "replace").decode()
    target.write_bytes(model.SerializeToString())


def _break(model: onnx.ModelProto, rng: Random) -> None:
    graph = model.graph
    node = rng.choice(list(graph.node))
    value = rng.choice([*graph.input, *graph.output])
    shape = value.type.tensor_type.shape
    weight = rng.choice(list(graph.initializer)) if graph.initializer else None
    match rng.randrange(16):
        case 0:
            node.op_type = rng.choice(
                ["Nonsense", "", "Conv", "Loop", "Resize", "PyOp", "x" * 9999]
            )
        case 1:
            node.domain = rng.choice(
                ["custom", "ai.onnx.contrib", "com.microsoft", "\n", "ai.onnx.ml"]
            )
        case 2 if node.input:
            node.input[rng.randrange(len(node.input))] = rng.choice(["", "nothing", node.output[0]])
        case 3:
            node.output[0] = rng.choice(["", "frame", "stylized", "x"])
        case 4 if shape.dim:
            shape.dim[rng.randrange(len(shape.dim))].dim_value = rng.choice(_NUMBERS)
        case 5:
            value.type.tensor_type.elem_type = rng.choice([0, 1, 2, 7, 8, 10, 16, 99, -1])
        case 6:
            value.name = rng.choice(["", "style", "strength", "x\ny", "x" * 70_000])
        case 7 if weight is not None:
            weight.dims[:] = [rng.choice(_NUMBERS) for _ in range(rng.randrange(0, 9))]
        case 8 if weight is not None:
            weight.raw_data = rng.randbytes(rng.choice([0, 1, 3, 5000]))
        case 9 if weight is not None:
            weight.data_type = rng.choice([0, 2, 7, 8, 16, 99])
        case 10 if weight is not None:
            weight.data_location = onnx.TensorProto.EXTERNAL
            entry = weight.external_data.add()
            entry.key, entry.value = (
                "location",
                rng.choice(["../../../etc/passwd", "/dev/zero", ""]),
            )
        case 11:
            model.opset_import[0].version = rng.choice([0, 1, 6, 999, -1, 2**62])
        case 12:
            model.ir_version = rng.choice([0, 1, 3, 999, 2**62])
        case 13:
            attribute = node.attribute.add()
            attribute.name, attribute.type = (
                rng.choice(["pads", "to", "axis", "x"]),
                rng.randrange(1, 13),
            )
            attribute.ints[:] = [rng.choice(_NUMBERS) for _ in range(rng.randrange(5))]
            attribute.i = rng.choice(_NUMBERS)
        case 14:
            del graph.node[rng.randrange(len(graph.node))]
        case 15:
            graph.node.extend([node] * rng.choice([1, 200]))
        case _:
            del graph.output[:]
