"""How far one model's pictures are from another's, and how far they may be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import nn

from export.feeds import GRAIN, Feed
from export.half import HALF, element_types
from rtstyle.errors import ModelError
from rtstyle.nets.contract import Contract

Painter = Callable[[Feed], NDArray[np.uint8]]

# Grey levels. In a picture of no contrast instance norm blows up what the precision's own rounding
# left; only its mean colour is compared, so that it is no garbage.
MAX_FLAT_COLOR = 32.0


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a variant's pictures may be off, in grey levels: the worst picture counts."""

    mean: float
    p999: float | None  # 99.9th percentile


LIMITS = {"fp16": Limits(1.0, 4.0), "int8": Limits(3.0, None)}


@dataclass(frozen=True, slots=True)
class Difference:
    """What was measured: grey levels on textured pictures, and the colour of flat ones."""

    mean: float
    p999: float
    flat_color: float
    left_float: tuple[str, ...] = ()  # convolutions that INT8 leaves alone


def compare(
    variant: onnx.ModelProto,
    paint: Painter,
    feeds: Sequence[Feed],
    left_float: tuple[str, ...],
) -> Difference:
    """How far `variant` paints `feeds` from what `paint` does.

    Raises `ModelError` where it computes values that are no numbers.
    """
    run = runner(variant, finite=True)
    means, p999s, flats = [], [], []
    for feed in feeds:
        d = run(feed).astype(np.int16) - paint(feed)
        if np.ptp(feed["frame"]) > GRAIN:
            means.append(float(np.abs(d).mean()))
            p999s.append(float(np.percentile(np.abs(d), 99.9)))
        else:
            flats.append(float(np.abs(d.mean((1, 2))).max()))
    return Difference(max(means), max(p999s), max(flats), left_float)


def require(difference: Difference, limits: Limits, precision: str) -> None:
    """Hold what was measured against the limits. Raises `ModelError`."""
    right = (
        difference.mean <= limits.mean
        and (limits.p999 is None or difference.p999 <= limits.p999)
        and difference.flat_color <= MAX_FLAT_COLOR
    )
    if not right:
        at_most = f"{limits.mean:g}" if limits.p999 is None else f"{limits.mean:g}, {limits.p999:g}"
        raise ModelError(
            f"In {precision} the pictures differ by {difference.mean:.2f} grey levels on average, "
            f"{difference.p999:.0f} at the 99.9th percentile and {difference.flat_color:.1f} in the"
            f" colour of flat ones; at most {at_most} and {MAX_FLAT_COLOR:g} are allowed."
        )


def runner(model: onnx.ModelProto, *, finite: bool = False) -> Painter:
    """Paints with every result rounded as the graph says: no rewriting of the graph.

    With `finite`, raises `ModelError` where the picture, before it becomes uint8, holds a value
    that is no number: uint8 would hide it.
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

    def paint(feed: Feed) -> NDArray[np.uint8]:
        painted, *watch = session.run(wanted, feed)
        if watch and not np.isfinite(watch[0]).all():
            raise ModelError("The variant computes values that are no numbers.")
        return np.asarray(painted, np.uint8)

    return paint


def _keep_rounding(model: onnx.ModelProto) -> None:
    """Make ONNX Runtime round where the graph does: on a CPU it computes half as float, and would
    drop a cast back and forth; a copy in between holds it from that."""
    kinds = element_types(model)
    nodes = []
    for node in model.graph.node:
        if node.op_type == "Cast" and kinds.get(node.input[0]) == HALF:
            name = f"{node.output[0]}.rounded"
            nodes.append(onnx.helper.make_node("Identity", [node.input[0]], [name]))
            node.input[0] = name
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _before_clipping(graph: onnx.GraphProto) -> str | None:
    for node in reversed(graph.node):
        if node.op_type in ("Clip", "Max"):
            return str(node.input[0])
    return None


def torch_runner(net: nn.Module) -> Painter:
    """Paints by torch, in float32."""
    reference = Contract(net.cpu()).eval()

    def paint(feed: Feed) -> NDArray[np.uint8]:
        with torch.inference_mode():
            painted = reference(*map(torch.from_numpy, feed.values()))
        return np.asarray(painted.numpy(), np.uint8)

    return paint
