"""Writes a trained net as a model file: one ONNX with all processing inside."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import nn

from rtstyle.errors import ModelError, OutputError
from rtstyle.model import METADATA_KEY, ModelSpec, parse_metadata, read_model
from rtstyle.nets.contract import Contract
from rtstyle.train.fold_upsampling import fold_upsampling
from rtstyle.train.parity import measure_parity, require_parity

OPSET = 18  # the oldest with every operation needed, so that old runtimes read the file too


@dataclass(frozen=True, slots=True)
class Card:
    """What people should know of a model: names of its styles, one sentence, terms, origin.

    `provenance` is written as JSON: painting, training settings, losses reached.
    """

    styles: tuple[str, ...]
    description: str = ""
    licence: str = ""
    provenance: dict[str, Any] = field(default_factory=dict)


def write_model(net: nn.Module, path: Path, card: Card, *, architecture: str) -> ModelSpec:
    """Export `net` to `path`, whole or not at all, if every runtime paints as torch does.

    `net` tells its `stride`, its `options` and, if it takes a style, its `style_size`. Returns what
    the file says of itself. Raises `ModelError` when it does not paint as torch does or the card
    cannot be right, `OutputError` when it cannot be written.
    """
    spec = ModelSpec(
        path=path,
        architecture=architecture,
        stride=int(net.stride),  # type: ignore[arg-type]
        styles=card.styles,
        style_size=int(getattr(net, "style_size", 0)),
        description=card.description,
        licence=card.licence,
        provenance=card.provenance,
        options=dict(net.options),  # type: ignore[arg-type]
    )
    parse_metadata(path, spec.metadata())  # a bad name shows before the work, not after
    model = to_onnx(net, spec)
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(model.SerializeToString())
        require_parity(measure_parity(net, read_model(part)))
        part.replace(path)
    except OSError as error:
        raise OutputError(f"The model {path} cannot be written ({error}).") from error
    finally:
        with suppress(OSError):
            part.unlink()
    return read_model(path)


def to_onnx(net: nn.Module, spec: ModelSpec) -> onnx.ModelProto:
    """The ONNX model of `net` with N, H and W left open and the metadata of `spec` inside."""
    wrapped = Contract(net.cpu()).eval()
    side = 8 * spec.stride  # any size does, as long as it differs from the batch
    example: tuple[torch.Tensor, ...] = (torch.zeros(2, side, 2 * side, 3, dtype=torch.uint8),)
    open_ = torch.export.Dim.DYNAMIC
    shapes: tuple[dict[int, Any], ...] = ({0: open_, 1: open_, 2: open_},)
    names = ["frame"]
    if spec.style_size:
        example += (torch.full((2, spec.style_size), 1 / spec.style_size),)
        shapes += ({0: open_},)
        names.append("style")
    with _quiet():
        program = torch.onnx.export(
            wrapped, example, dynamo=True, opset_version=OPSET, verbose=False,
            input_names=names, output_names=["stylized"],
            dynamic_shapes=shapes,
        )  # fmt: skip
    assert program is not None
    model = program.model_proto
    _tidy(model)
    fold_upsampling(model)
    onnx.helper.set_model_props(model, {METADATA_KEY: spec.metadata()})
    try:
        onnx.checker.check_model(model, full_check=True)
    except onnx.checker.ValidationError as error:
        raise ModelError(
            f"The exported {spec.architecture} is no valid ONNX model: {error}"
        ) from error
    return model


def _tidy(model: onnx.ModelProto) -> None:
    """Name the free dimensions N, H, W and drop the exporter's notes, larger than a small net."""
    del model.metadata_props[:]
    graph = model.graph
    graph.name = "rtstyle"
    del graph.metadata_props[:], graph.value_info[:]
    for item in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        del item.metadata_props[:]
        item.doc_string = ""
    for value in (graph.input[0], graph.output[0]):
        for dim, name in zip(value.type.tensor_type.shape.dim, "NHW", strict=False):
            dim.dim_param = name
    for value in graph.input[1:]:
        value.type.tensor_type.shape.dim[0].dim_param = "N"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter from talking of libraries that are not needed and of its own internals."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning)
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            yield
    finally:
        log.setLevel(level)
