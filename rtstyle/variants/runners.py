"""Stylizes frames as a graph or a torch net says: the two sides of every comparison of variants."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import nn

from rtstyle.engines.half import FLOAT, HALF, element_types
from rtstyle.errors import ModelError
from rtstyle.nets.contract import Contract
from rtstyle.variants.feeds import Feed

Stylize = Callable[[Feed], NDArray[np.uint8]]


def runner(model: onnx.ModelProto, *, finite: bool = False) -> Stylize:
    """Stylizes with every intermediate result rounded as the graph says: no optimisation.

    With `finite`, raises `ModelError` where the stylized frame, before it becomes uint8, holds NaN
    or infinity: uint8 would hide it.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    wanted = [model.graph.output[0].name]
    if watched := _before_clipping(probe.graph) if finite else None:
        wanted.append(watched)
        probe.graph.output.append(
            onnx.helper.make_tensor_value_info(watched, onnx.TensorProto.FLOAT, None)
        )
    _keep_rounding(probe)
    session = ort.InferenceSession(
        probe.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

    def stylize(feed: Feed) -> NDArray[np.uint8]:
        stylized, *watch = session.run(wanted, feed)
        if watch and not np.isfinite(watch[0]).all():
            raise ModelError("The variant computes values that are no numbers.")
        return np.asarray(stylized, np.uint8)

    return stylize


def _keep_rounding(model: onnx.ModelProto) -> None:
    """Make ONNX Runtime round where the graph does: on a CPU it computes half as float and drops
    the casts between two operations, unless a copy and a cast of the graph's own are in between."""
    kinds = element_types(model)
    nodes = []
    for node in model.graph.node:
        nodes.append(node)
        for i, name in enumerate(node.output):
            if kinds.get(name) == HALF and node.op_type != "Cast":
                exact, copied, single = (f"{name}.{step}" for step in ("exact", "copied", "single"))
                node.output[i] = exact
                nodes += [
                    onnx.helper.make_node("Identity", [exact], [copied]),
                    onnx.helper.make_node("Cast", [copied], [single], to=FLOAT),
                    onnx.helper.make_node("Cast", [single], [name], to=HALF),
                ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _before_clipping(graph: onnx.GraphProto) -> str | None:
    for node in reversed(graph.node):
        if node.op_type in ("Clip", "Max"):
            return str(node.input[0])
    return None


def torch_runner(net: nn.Module) -> Stylize:
    """Stylizes by torch, in float32."""
    reference = Contract(net.cpu()).eval()

    def stylize(feed: Feed) -> NDArray[np.uint8]:
        with torch.inference_mode():
            stylized = reference(*map(torch.from_numpy, feed.values()))
        return np.asarray(stylized.numpy(), np.uint8)

    return stylize
