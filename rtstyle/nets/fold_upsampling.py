"""An exact rewrite of exported graphs: convolve before enlarging instead of after.

A 3×3 convolution after an enlargement by two reads the same source pixels again and again. Its taps
that meet the same source pixel can be added up beforehand: each of the four pixels that a source
pixel becomes is then a convolution of the source (the sub-pixel form of Shi et al. 2016, for the
resize-convolution of Dumoulin et al. 2017). No enlarged array is made, processors are fed four
times as many channels, which matters where a picture has only three, and after a nearest-neighbour
enlargement 4 multiplications do what took 9.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Enlargement:
    """A Resize ×2 and the Pad after it, as the nets have them, along one axis.

    `meets[which of the two pixels, source pixel, tap]` is how much of a source pixel each tap sees;
    the source pixels are those of a window of 2 or 3. `resize` and `padding` are what the nodes'
    attributes must be. A window of 2 makes a pixel too many at both ends.
    """

    meets: Floats
    resize: Mapping[str, Any]
    padding: bytes

    @property
    def window(self) -> int:
        return int(self.meets.shape[1])


# From source pixels j - 1 and j come the enlarged 2j - 1, whose taps meet j - 1, j - 1, j, and 2j,
# whose taps meet j - 1, j, j. Reflecting the enlarged picture by one pixel repeats the border of
# the source.
NEAREST = Enlargement(
    meets=np.array([[[1, 1, 0], [0, 0, 1]], [[1, 0, 0], [0, 1, 1]]], np.float32),
    resize={
        "mode": b"nearest",
        "nearest_mode": b"floor",
        "coordinate_transformation_mode": b"asymmetric",
    },
    padding=b"reflect",
)
# From j - 1, j and j + 1 come 2j and 2j + 1; pixels enlarged lie a quarter from their sources.
# Repeating the border of the source repeats that of the enlarged picture.
BILINEAR = Enlargement(
    meets=np.array(
        [
            [[0.75, 0.25, 0], [0.25, 0.75, 0.75], [0, 0, 0.25]],
            [[0.25, 0, 0], [0.75, 0.75, 0.25], [0, 0.25, 0.75]],
        ],
        np.float32,
    ),
    resize={"mode": b"linear", "coordinate_transformation_mode": b"half_pixel"},
    padding=b"edge",
)
_KINDS = (NEAREST, BILINEAR)
_RESIZE_DEFAULTS = {
    "mode": b"nearest", "nearest_mode": b"round_prefer_floor",
    "coordinate_transformation_mode": b"half_pixel",
}  # fmt: skip


def fold_upsampling(model: onnx.ModelProto) -> int:
    """Rewrite every Resize ×2 → Pad → 3×3 Conv of `model`; returns how many there were.

    The painted pictures stay the same but for rounding in the last bits. A chain whose parts are
    used elsewhere too, or that none of `NEAREST` and `BILINEAR` describes, is left as it is.
    """
    graph = model.graph
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    users: dict[str, int] = {}
    for node in graph.node:
        for name in node.input:
            users[name] = users.get(name, 0) + 1

    nodes, gone, count = [], set[str](), 0
    for node in graph.node:
        chain = _chain(node, makers, weights)
        if chain is None or any(users[part.output[0]] != 1 for part in chain[:2]):
            nodes.append(node)
            continue
        resize, pad, kind = chain
        gone |= {resize.output[0], pad.output[0]}
        count += 1
        weight, bias = fold(weights[node.input[1]], weights[node.input[2]], kind)
        made, constants = _folded(node, resize.input[0], pad.input[1], weight, bias)
        nodes += made
        graph.initializer.extend(constants)
    _replace(graph, [node for node in nodes if not gone & set(node.output)])
    return count


def _folded(
    conv: onnx.NodeProto, source: str, pads: str, weight: Floats, bias: Floats
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """The nodes that do what `conv` did on the enlarged `source`, and their constants."""
    prefix, window = conv.input[1].removesuffix(".weight") + ".folded", weight.shape[2]
    constants: dict[str, NDArray[Any]] = {"weight": weight, "bias": bias}
    pixels = f"{prefix}.pixels" if window == 2 else conv.output[0]
    nodes = [
        helper.make_node("Pad", [source, pads], [f"{prefix}.padded"], mode="edge"),
        helper.make_node(
            "Conv",
            [f"{prefix}.padded", f"{prefix}.weight", f"{prefix}.bias"],
            [f"{prefix}.windows"],  # (N, 4C, H, W), a row and a column more with a window of 2
            kernel_shape=[window, window],
        ),
        helper.make_node(
            "DepthToSpace", [f"{prefix}.windows"], [pixels], blocksize=2, mode="CRD"
        ),  # (N, C, 2H, 2W)
    ]
    if window == 2:  # without the pixels too many
        constants["starts"] = np.array([1, 1], np.int64)
        constants["ends"] = np.array([-1, -1], np.int64)
        constants["axes"] = np.array([2, 3], np.int64)
        bounds = (f"{prefix}.{name}" for name in ("starts", "ends", "axes"))
        nodes.append(helper.make_node("Slice", [pixels, *bounds], [conv.output[0]]))
    return nodes, [
        numpy_helper.from_array(value, f"{prefix}.{name}") for name, value in constants.items()
    ]


def fold(weight: Floats, bias: Floats, kind: Enlargement) -> tuple[Floats, Floats]:
    """(C, C_in, 3, 3) weights and (C,) biases → (4C, C_in, window, window) and (4C,).

    Output channel 4c + 2y + x is channel c of the pixel at row y and column x of its window.
    """
    folded = np.einsum("oiyx,apy,bqx->oabipq", weight, kind.meets, kind.meets)
    c_out, c_in = weight.shape[:2]
    shape = (4 * c_out, c_in, kind.window, kind.window)
    return folded.reshape(shape).astype(np.float32), np.repeat(bias, 4)


def unfold(weight: Floats, bias: Floats) -> tuple[Floats, Floats]:
    """What `fold` was given, but for rounding in the last bits."""
    window = weight.shape[2]
    kind = next(kind for kind in _KINDS if kind.window == window)
    # A tap from what both pixels see of every source: more equations than taps, all of them true.
    untap = np.linalg.pinv(kind.meets.reshape(2 * window, 3).astype(np.float64))
    untap = untap.reshape(3, 2, window)
    c_out, c_in = weight.shape[0] // 4, weight.shape[1]
    folded = weight.reshape(c_out, 2, 2, c_in, window, window)
    taps = np.einsum("oabipq,yap,xbq->oiyx", folded, untap, untap)
    return np.ascontiguousarray(taps, np.float32), bias[::4].copy()


def _chain(
    conv: onnx.NodeProto, makers: dict[str, onnx.NodeProto], weights: dict[str, NDArray[Any]]
) -> tuple[onnx.NodeProto, onnx.NodeProto, Enlargement] | None:
    """The Resize and the Pad before `conv` and what they do, if the three can be folded."""
    if conv.op_type != "Conv" or len(conv.input) != 3 or not set(conv.input[1:]) <= set(weights):
        return None
    plain = {"group": 1, "strides": [1, 1], "dilations": [1, 1], "pads": [0, 0, 0, 0]}
    if weights[conv.input[1]].shape[2:] != (3, 3) or not _has(plain | _attributes(conv), plain):
        return None
    pad = makers.get(conv.input[0])
    if pad is None or pad.op_type != "Pad":
        return None
    if not _is(weights.get(pad.input[1]), [0, 0, 1, 1, 0, 0, 1, 1]):
        return None
    resize = makers.get(pad.input[0])
    if resize is None or resize.op_type != "Resize" or len(resize.input) < 3:
        return None
    if not _is(weights.get(resize.input[2]), [1, 1, 2, 2]):
        return None
    attributes, padding = _RESIZE_DEFAULTS | _attributes(resize), _attributes(pad).get("mode")
    for kind in _KINDS:
        if padding == kind.padding and _has(attributes, kind.resize):
            return resize, pad, kind
    return None


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def _has(attributes: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(attributes.get(name) == value for name, value in wanted.items())


def _is(value: NDArray[Any] | None, expected: list[int]) -> bool:
    return value is not None and value.tolist() == expected


def _replace(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
    """Put `nodes` into the graph, and drop the weights that none of them uses."""
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
