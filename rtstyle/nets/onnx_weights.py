"""The weights in a model file: read back into a net, or stored in half precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from rtstyle.errors import ModelError
from rtstyle.model.file import read_model
from rtstyle.model.spec import ModelSpec
from rtstyle.nets import build_net
from rtstyle.nets.fold_upsampling import unfold

SUFFIX = ".half"  # of the stored tensor's name; the float32 one that nodes read keeps its own
MIN_VALUES = 256  # smaller tensors are not worth a node


def load_onnx_net(path: Path) -> tuple[nn.Module, ModelSpec]:
    """The net that the model file `path` was exported from, in float32, and what the file says.

    Weights stored in half precision come back exactly as stored. Raises `ModelError` when the file
    was not made by `rtstyle train` or `python -m export`.
    """
    spec = read_model(path)
    net = build_net(spec.architecture, **spec.options)
    stored = _stored(path)
    # The exporter folds a batch norm into the convolution before it; an untrained one does nothing.
    folded = {
        f"{path}.{name}"
        for path, module in net.named_modules()
        if isinstance(module, nn.BatchNorm2d)
        for name in module.state_dict()
    }
    state = {}
    for name, value in net.state_dict().items():
        array = _find(f"net.{name}", stored)
        if array is None and name in folded:
            state[name] = value
            continue
        if array is None or array.shape != tuple(value.shape):
            raise ModelError(
                f"{path} does not hold the weights of a {spec.architecture} as rtstyle writes "
                f"them ({name} is missing); start from a checkpoint (.safetensors) instead."
            )
        state[name] = torch.from_numpy(array.copy())
    net.load_state_dict(state)
    net.grain = spec.grain  # type: ignore[assignment]
    return net.eval(), spec


def keep_folded(model: onnx.ModelProto, earlier: Path) -> None:
    """Give `model` the kernels that were folded with an enlargement from the file `earlier`, whose
    net it is but for its styles: unfolded and folded again, they would be rounded twice."""
    stored = _stored(earlier)
    for tensor in model.graph.initializer:
        kept = stored.get(tensor.name)
        if kept is not None and tensor.name.endswith((".folded.weight", ".folded.bias")):
            tensor.CopyFrom(numpy_helper.from_array(kept, tensor.name))


def _stored(path: Path) -> dict[str, NDArray[np.float32]]:
    return {
        tensor.name.removesuffix(SUFFIX): numpy_helper.to_array(tensor).astype(np.float32)
        for tensor in onnx.load(str(path)).graph.initializer
    }


def _find(name: str, stored: dict[str, NDArray[np.float32]]) -> NDArray[np.float32] | None:
    if name in stored:
        return stored[name]
    layer, _, part = name.rpartition(".")
    folded = f"{layer}.folded"
    if f"{folded}.weight" not in stored:
        return None
    weight, bias = unfold(stored[f"{folded}.weight"], stored[f"{folded}.bias"])
    return weight if part == "weight" else bias


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
        if value.dtype != np.float32 or value.ndim < 2 or value.size < MIN_VALUES:
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
