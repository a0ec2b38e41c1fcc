"""A net from its model file: to go on training where a shipped or earlier model stands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import nn

from rtstyle.errors import ModelError
from rtstyle.model_file import read_model
from rtstyle.model_spec import ModelSpec
from rtstyle.nets import build_net
from rtstyle.train.fold_upsampling import unfold
from rtstyle.train.half_weights import SUFFIX


def load_onnx_net(path: Path) -> tuple[nn.Module, ModelSpec]:
    """The net that the model file `path` was exported from, in float32, and what the file says.

    Weights stored in half precision come back exactly as stored. Raises `ModelError` when the file
    was not made by `rtstyle train` or `python -m export`.
    """
    spec = read_model(path)
    net = build_net(spec.architecture, **spec.options)
    stored = _stored(path)
    state = {}
    for name, value in net.state_dict().items():
        array = _find(f"net.{name}", stored)
        if array is None or array.shape != tuple(value.shape):
            raise ModelError(
                f"{path} does not hold the weights of a {spec.architecture} as rtstyle writes "
                f"them ({name} is missing); start from a checkpoint (.safetensors) instead."
            )
        state[name] = torch.from_numpy(array.copy())
    net.load_state_dict(state)
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
