"""Joins nets of any models into one model file that paints each region of a frame by one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.compose
import onnx.version_converter
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from rtstyle.errors import OutputError, UsageError
from rtstyle.files import atomic_write
from rtstyle.model.file import read_model
from rtstyle.model.onnx_reader import check_safe
from rtstyle.model.spec import METADATA_KEY, ModelSpec, parse_metadata
from rtstyle.style.style import Style
from rtstyle.train.to_onnx import OPSET, ModelCard


def write_patchwork(
    parts: Sequence[Style | None], places: NDArray[np.float32], output: Path, card: ModelCard
) -> ModelSpec:
    """Write the model that shows each of `parts` by its share of `places` (R, h, w), which sum to
    1; None is the frame as it is.

    Every other part is a pass of its net; a model with several of the styles is stored once. Raises
    `UsageError` for a net that does not take bytes of any size, and `OutputError` where the file
    cannot be written.
    """
    graph = _Graph()
    pictures = ["frame" if part is None else graph.painted(part) for part in parts]
    graph.blend(pictures, places)
    spec = ModelSpec(
        path=output,
        architecture="patchwork",
        stride=math.lcm(*(part.model.stride for part in parts if part is not None)),
        styles=card.styles,
        description=card.description,
        licence=card.licence,
        provenance=card.provenance,
    )
    parse_metadata(output, spec.metadata())
    model = graph.model(spec.metadata())
    onnx.checker.check_model(model, full_check=True)
    try:
        with atomic_write(output, parents=True) as file:
            file.write_bytes(model.SerializeToString())
    except OSError as error:
        raise OutputError(f"The model {output} cannot be written ({error}).") from error
    return read_model(output)


class _Graph:
    """The graph while it grows. A picture is the name of bytes (N, H, W, 3), as "frame" is."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._prefixes: dict[Path, str] = {}  # before the weights of each model
        self._n_names = 0
        self._count = self._op("Shape", ["frame"], start=0, end=1)

    def painted(self, style: Style) -> str:
        """The frame painted in the style."""
        spec, prefix = style.model, self._name()
        is_any_size = spec.layout == "nhwc" and spec.size is None and spec.batch is None
        if not is_any_size or spec.path.suffix != ".onnx":
            raise UsageError(
                f"{spec.path} is no ONNX file that takes bytes of any size, so it cannot be a "
                "region; bring the net in by `rtstyle import` first."
            )
        graph = onnx.compose.add_prefix(_loaded(spec.path), prefix).graph
        first = self._prefixes.setdefault(spec.path, prefix)
        if first == prefix:
            self._weights.extend(graph.initializer)
        renamed = {w.name: first + w.name.removeprefix(prefix) for w in graph.initializer}
        renamed[prefix + spec.frame_input] = "frame"
        if style.vector is not None:
            renamed[f"{prefix}style"] = self._repeated(style.vector[0])
        if spec.takes_strength:
            renamed[f"{prefix}strength"] = self._repeated(np.float32(1))
        for node in graph.node:
            node.input[:] = [renamed.get(name, name) for name in node.input]
        self._nodes.extend(graph.node)
        return str(graph.output[0].name)

    def blend(self, pictures: Sequence[str], places: NDArray[np.float32]) -> None:
        """Give the pictures by their shares, which are spread over the frame."""
        channels = self._constant([1, len(places)])
        size = self._op("Concat", [channels, self._op("Shape", ["frame"], start=1, end=3)], axis=0)
        spread = self._op("Resize", [self._constant(places[None]), "", "", size], mode="linear")
        spread = self._op("Transpose", [spread], perm=[0, 2, 3, 1])  # (1, H, W, R)
        shown = []
        for index, picture in enumerate(pictures):
            share = self._op("Gather", [spread, self._constant([index])], axis=3)
            shown.append(
                self._op("Mul", [self._op("Cast", [picture], to=TensorProto.FLOAT), share])
            )
        rounded = self._op("Round", [self._op("Sum", shown)])
        self._nodes.append(helper.make_node("Cast", [rounded], ["stylized"], to=TensorProto.UINT8))

    def model(self, metadata: str) -> onnx.ModelProto:
        """All of it, as a model file."""
        frame, stylized = (
            helper.make_tensor_value_info(name, TensorProto.UINT8, ["N", "H", "W", 3])
            for name in ("frame", "stylized")
        )
        graph = helper.make_graph(self._nodes, "rtstyle", [frame], [stylized], self._weights)
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        helper.set_model_props(model, {METADATA_KEY: metadata})
        return model

    def _repeated(self, value: Any) -> str:
        """The value once for each frame of the batch."""
        shape = self._count
        if np.ndim(value):
            shape = self._op("Concat", [shape, self._constant(np.shape(value))], axis=0)
        return self._op("Expand", [self._constant(value), shape])

    def _constant(self, value: Any) -> str:
        self._weights.append(numpy_helper.from_array(np.asarray(value), name := self._name()))
        return name

    def _op(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        self._nodes.append(helper.make_node(kind, inputs, [name := self._name()], **attributes))
        return name

    def _name(self) -> str:
        self._n_names += 1
        return f"region{self._n_names}."


def _loaded(path: Path) -> onnx.ModelProto:
    check_safe(path)
    model = onnx.load(path)
    if {(opset.domain, opset.version) for opset in model.opset_import} != {("", OPSET)}:
        try:
            model = onnx.version_converter.convert_version(model, OPSET)
        except Exception as error:  # the converter raises what it stumbles over
            raise UsageError(
                f"{path} has operations of another version than ONNX opset {OPSET} ({error}); it "
                "cannot be a region."
            ) from error
    return model
