"""Weights of a model file in half precision: half the size, the same arithmetic."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SUFFIX = ".half"  # of the stored tensor's name; the float32 one that nodes read keeps its own
_MIN_VALUES = 256  # smaller tensors are not worth a node


def half_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model` whose float32 weights are stored as float16 and cast when it is loaded.

    Runtimes fold the casts away, so speed and precision of the arithmetic stay. Vectors (biases,
    norms) and weights beyond float16's range stay as they are.
    """
    stored = onnx.ModelProto()
    stored.CopyFrom(model)
    casts = []
    for tensor in stored.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if value.dtype != np.float32 or value.ndim < 2 or value.size < _MIN_VALUES:
            continue
        if np.abs(value).max() > np.finfo(np.float16).max:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(value.astype(np.float16), name + SUFFIX))
        casts.append(helper.make_node("Cast", [name + SUFFIX], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *stored.graph.node]
    del stored.graph.node[:]
    stored.graph.node.extend(nodes)
    return stored
