"""An exact rewrite of exported graphs: convolve before enlarging instead of after.

A 3×3 convolution after a nearest-neighbour enlargement reads every pixel up to four times over. Its
taps that meet the same source pixel can be added up beforehand: each of the four pixels that a
source pixel becomes is then a 2×2 convolution of the source (the sub-pixel form of Shi et al. 2016,
for the resize-convolution of Dumoulin et al. 2017). That takes 4 multiplications instead of 9, and
no enlarged array; the last layers of a style net run two to three times as fast on a CPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Floats = NDArray[np.float32]

# [which of the two pixels, source pixel, tap]: the window of two source pixels j - 1 and j makes
# the enlarged pixels 2j - 1, whose taps meet j - 1, j - 1, j, and 2j, whose taps meet j - 1, j, j.
_MEETS = np.array([[[1, 1, 0], [0, 0, 1]], [[1, 0, 0], [0, 1, 1]]], np.float32)


def fold_upsampling(model: onnx.ModelProto) -> int:
    """Rewrite every Resize ×2 → reflecting Pad → 3×3 Conv of `model`; returns how many there were.

    The painted pictures stay the same but for rounding in the last bits. A chain whose parts are
    used elsewhere too is left as it is.
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
        if chain is None or any(users[part.output[0]] != 1 for part in chain):
            nodes.append(node)
            continue
        resize, pad = chain
        prefix, count = node.input[1].removesuffix(".weight") + ".folded", count + 1
        weight, bias = fold(weights[node.input[1]], weights[node.input[2]])
        constants: dict[str, NDArray[Any]] = {
            "weight": weight,
            "bias": bias,
            "starts": np.array([1, 1], np.int64),
            "ends": np.array([-1, -1], np.int64),
            "axes": np.array([2, 3], np.int64),
        }
        graph.initializer.extend(
            numpy_helper.from_array(value, f"{prefix}.{name}") for name, value in constants.items()
        )
        gone |= {resize.output[0], pad.output[0]}
        # Reflecting the enlarged picture by one pixel repeats the border of the source.
        nodes += [
            helper.make_node(
                "Pad", [resize.input[0], pad.input[1]], [f"{prefix}.padded"], mode="edge"
            ),
            helper.make_node(
                "Conv",
                [f"{prefix}.padded", f"{prefix}.weight", f"{prefix}.bias"],
                [f"{prefix}.windows"],  # (N, 4C, H + 1, W + 1)
                kernel_shape=[2, 2],
            ),
            helper.make_node(
                "DepthToSpace",
                [f"{prefix}.windows"],
                [f"{prefix}.pixels"],  # (N, C, 2H + 2, 2W + 2)
                blocksize=2,
                mode="CRD",
            ),
            helper.make_node(
                "Slice",
                [f"{prefix}.pixels", *(f"{prefix}.{name}" for name in ("starts", "ends", "axes"))],
                [node.output[0]],
            ),
        ]
    _replace(graph, [node for node in nodes if not gone & set(node.output)])
    return count


def fold(weight: Floats, bias: Floats) -> tuple[Floats, Floats]:
    """(C, C_in, 3, 3) weights and (C,) biases → (4C, C_in, 2, 2) and (4C,).

    Output channel 4c + 2y + x is channel c of the pixel at row y and column x of its window.
    """
    folded = np.einsum("oiyx,apy,bqx->oabipq", weight, _MEETS, _MEETS)
    c_out, c_in = weight.shape[:2]
    return folded.reshape(4 * c_out, c_in, 2, 2).astype(np.float32), np.repeat(bias, 4)


def unfold(weight: Floats, bias: Floats) -> tuple[Floats, Floats]:
    """What `fold` was given, but for rounding in the last bits."""
    c_out, c_in = weight.shape[0] // 4, weight.shape[1]
    pixels = weight.reshape(c_out, 2, 2, c_in, 2, 2).transpose(0, 3, 1, 4, 2, 5)  # o i a p b q
    rows = _untap(pixels.reshape(c_out, c_in, 4, 2, 2).transpose(0, 1, 3, 4, 2))
    taps = _untap(rows.transpose(0, 1, 4, 2, 3).reshape(c_out, c_in, 3, 4))
    return np.ascontiguousarray(taps), bias[::4].copy()


def _untap(meets: Floats) -> Floats:
    """The three taps from what two pixels meet, [pixel, source] flattened: (…, 4) → (…, 3)."""
    first, last = meets[..., 2], meets[..., 1]  # each stands alone in one of the two
    return np.stack([first, meets[..., 0] - first, last], -1)


def _chain(
    conv: onnx.NodeProto, makers: dict[str, onnx.NodeProto], weights: dict[str, NDArray[Any]]
) -> tuple[onnx.NodeProto, onnx.NodeProto] | None:
    """The Resize and the Pad before `conv`, if the three can be folded."""
    if conv.op_type != "Conv" or len(conv.input) != 3 or not set(conv.input[1:]) <= set(weights):
        return None
    told = _attributes(conv)
    plain = {"group": 1, "strides": [1, 1], "dilations": [1, 1], "pads": [0, 0, 0, 0]}
    if weights[conv.input[1]].shape[2:] != (3, 3) or any(
        told.get(name, value) != value for name, value in plain.items()
    ):
        return None
    pad = makers.get(conv.input[0])
    if pad is None or pad.op_type != "Pad" or _attributes(pad).get("mode") != b"reflect":
        return None
    if not _is(weights.get(pad.input[1]), [0, 0, 1, 1, 0, 0, 1, 1]):
        return None
    resize = makers.get(pad.input[0])
    if resize is None or resize.op_type != "Resize" or len(resize.input) < 3:
        return None
    told = _attributes(resize)
    nearest = told.get("mode", b"nearest") == b"nearest"
    if not nearest or told.get("coordinate_transformation_mode") != b"asymmetric":
        return None
    if told.get("nearest_mode") != b"floor" or not _is(weights.get(resize.input[2]), [1, 1, 2, 2]):
        return None
    return resize, pad


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def _is(value: NDArray[Any] | None, expected: list[int]) -> bool:
    return value is not None and value.tolist() == expected


def _replace(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
    """Put `nodes` into the graph, and drop the weights that none of them uses."""
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
