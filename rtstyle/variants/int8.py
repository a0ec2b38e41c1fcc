"""The INT8 variant of a model file: convolutions in 8 bits as far as the parity limit allows.

Post-training quantisation by ONNX Runtime as QDQ nodes, which OpenVINO reads too: activations uint8
per tensor, with ranges from photographs; weights int8 per channel. Norms and everything else stay
float. The convolutions that cost the most accuracy, usually the last ones, stay float until the
stylized frames are as near as asked for.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

from rtstyle.engines.half import fold_casts
from rtstyle.errors import ModelError
from rtstyle.variants.feeds import Feed

_FATAL = 4  # ONNX Runtime's log severity: only what is raised
_PREPARED = {"onnx.quant.pre_process": "onnxruntime.quant"}  # without it there is a warning


def to_int8(
    model: onnx.ModelProto, feeds: Sequence[Feed], *, max_mean: float
) -> tuple[onnx.ModelProto, list[str]]:
    """A copy of `model` with its convolutions in 8 bits, and the names of those left float.

    `feeds` are what the ranges of activations and the cost of each convolution are measured on.
    Convolutions are left float, the costliest first, until no stylized frame differs by more than
    `max_mean` grey levels on average. Raises `ModelError` when there is nothing to quantise.
    """
    model = fold_casts(model)
    names = convolutions(model.graph)
    if not names:
        raise ModelError("No convolution of the model has constant weights to quantise.")
    expected = _stylize(model, feeds)

    def cost(chosen: set[str]) -> float:
        stylized = _stylize(quantise(model, feeds, chosen), feeds)
        return max(
            float(np.abs(s.astype(np.int16) - e).mean())
            for s, e in zip(stylized, expected, strict=True)
        )

    chosen = _drop_costliest(names, cost, max_mean) if cost(names) > max_mean else names
    return quantise(model, feeds, chosen), sorted(names - chosen)


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


def convolutions(graph: onnx.GraphProto) -> set[str]:
    """The output names of all convolutions with constant weights."""
    weights = {tensor.name for tensor in graph.initializer}
    return {n.output[0] for n in graph.node if n.op_type == "Conv" and n.input[1] in weights}


class _Feeds(CalibrationDataReader):  # type: ignore[misc]
    """Hands the feeds to ONNX Runtime one by one."""

    def __init__(self, feeds: Sequence[Feed]) -> None:
        self._feeds = iter(feeds)

    def get_next(self) -> Feed | None:
        return next(self._feeds, None)


def quantise(model: onnx.ModelProto, feeds: Sequence[Feed], chosen: set[str]) -> onnx.ModelProto:
    """A copy of `model` with the chosen convolutions in 8 bits; their results stay float."""
    named = onnx.ModelProto()
    named.CopyFrom(model)
    if not chosen:
        return named
    onnx.helper.set_model_props(named, _PREPARED)
    for node in named.graph.node:
        node.name = node.output[0]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        quantize_static(
            named,
            path,
            _Feeds(feeds),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            nodes_to_quantize=sorted(chosen),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options={
                "QuantizeBias": False,
                "OpTypesToExcludeOutputQuantization": ["Conv"],
            },
        )
        quantised = onnx.load_model(path)
    del quantised.graph.value_info[:], quantised.metadata_props[:]
    quantised.metadata_props.extend(model.metadata_props)
    onnx.checker.check_model(quantised, full_check=True)
    return quantised


def _stylize(model: onnx.ModelProto, feeds: Sequence[Feed]) -> list[NDArray[np.uint8]]:
    session = _session(model)
    return [np.asarray(session.run(None, feed)[0], np.uint8) for feed in feeds]


def _session(model: onnx.ModelProto) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = _FATAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
