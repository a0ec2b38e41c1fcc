"""Writes a trained net as a model file: one ONNX with all processing inside."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import nn

from rtstyle.errors import ModelError, OutputError
from rtstyle.files import atomic_write
from rtstyle.model.file import read_model
from rtstyle.model.spec import METADATA_KEY, ModelSpec, parse_metadata
from rtstyle.nets.checkpoint import net_facts
from rtstyle.nets.contract import Contract, StyleEncoder
from rtstyle.nets.fold_upsampling import fold_upsampling
from rtstyle.nets.onnx_weights import half_weights, keep_folded
from rtstyle.style.encoder import StyleEncoder as StyleEncoderFile
from rtstyle.style.encoder import encoder_path
from rtstyle.train.parity import (
    measure_parity,
    require_parity,
    require_same_statistics,
)

OPSET = 18  # the oldest with every operation needed, so that old runtimes read the file too


@dataclass(frozen=True, slots=True)
class Card:
    """What people should know of a model: names of its styles, a sentence on it and, if there are
    several, one on each, terms, origin.

    `provenance` is written as JSON: painting, training settings, losses reached.
    """

    styles: tuple[str, ...]
    description: str = ""
    licence: str = ""
    provenance: dict[str, Any] = field(default_factory=dict)
    style_descriptions: tuple[str, ...] = ()


def write_model(
    net: nn.Module, path: Path, card: Card, *, architecture: str, earlier: Path | None = None
) -> ModelSpec:
    """Export `net` to `path`, whole or not at all, if every runtime paints as torch does.

    Weights are stored in half precision where that holds, which halves the file; the arithmetic
    stays float32. A net for any painting gets its style encoder written beside. A net that is that
    of the model file `earlier` with one style more keeps every other number of it. Returns what the
    file says of itself. Raises `ModelError` when it does not paint as torch does or the card cannot
    be right, `OutputError` when it cannot be written.
    """
    spec = ModelSpec(
        path=path,
        architecture=architecture,
        styles=card.styles,
        description=card.description,
        style_descriptions=card.style_descriptions,
        licence=card.licence,
        provenance=card.provenance,
        **net_facts(net),
    )
    parse_metadata(path, spec.metadata())  # a bad name shows before the work, not after
    if spec.style_input == "statistics":
        _write_style_encoder(net, spec)
    model = to_onnx(net, spec)
    if earlier is not None:
        keep_folded(model, earlier)
    with _part_of(path) as part:
        for stored, last in ((half_weights(model), False), (model, True)):
            part.write_bytes(stored.SerializeToString())
            try:
                results = measure_parity(net, read_model(part))
                require_parity(results)
                break
            except ModelError:
                if last:
                    raise
    return read_model(path)


def _write_style_encoder(net: nn.Module, spec: ModelSpec) -> None:
    path = encoder_path(spec.path)
    encoder = StyleEncoderFile(
        path, spec.stride, int(net.image_size), spec.style_size  # type: ignore[arg-type]
    )  # fmt: skip
    model = _export(
        StyleEncoder(net.cpu()).eval(), {"painting": _example(spec)}, output="style",
        metadata=encoder.metadata(),
    )  # fmt: skip
    with _part_of(path) as part:
        part.write_bytes(half_weights(model).SerializeToString())
        require_same_statistics(net, replace(encoder, path=part))


def to_onnx(net: nn.Module, spec: ModelSpec) -> onnx.ModelProto:
    """The ONNX model of `net` with N, H and W left open and the metadata of `spec` inside."""
    inputs = {"frame": _example(spec)}
    if spec.style_size:
        inputs["style"] = torch.full((2, spec.style_size), 1 / spec.style_size)
    if spec.takes_strength:
        inputs["strength"] = torch.ones(2)
    return _export(
        Contract(net.cpu()).eval(), inputs, output="stylized", metadata=spec.metadata()
    )  # fmt: skip


def _example(spec: ModelSpec) -> torch.Tensor:
    side = 8 * spec.stride  # any size does, as long as it differs from the batch
    return torch.zeros(2, side, 2 * side, 3, dtype=torch.uint8)


def _export(
    module: nn.Module, inputs: dict[str, torch.Tensor], *, output: str, metadata: str
) -> onnx.ModelProto:
    open_ = torch.export.Dim.DYNAMIC
    # pictures are open in N, H and W, everything else in N
    shapes = tuple(dict.fromkeys(range(3 if x.dim() == 4 else 1), open_) for x in inputs.values())
    with _quiet():
        program = torch.onnx.export(
            module, tuple(inputs.values()), dynamo=True, opset_version=OPSET, verbose=False,
            input_names=list(inputs), output_names=[output], dynamic_shapes=shapes,
        )  # fmt: skip
    assert program is not None
    model = program.model_proto
    _tidy(model)
    fold_upsampling(model)
    onnx.helper.set_model_props(model, {METADATA_KEY: metadata})
    try:
        onnx.checker.check_model(model, full_check=True)
    except onnx.checker.ValidationError as error:
        raise ModelError(f"The export gave no valid ONNX model: {error}") from error
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
    for value in (*graph.input, *graph.output):
        dims = value.type.tensor_type.shape.dim
        for dim, name in zip(dims, "NHW" if len(dims) == 4 else "N", strict=False):
            dim.dim_param = name


@contextmanager
def _part_of(path: Path) -> Iterator[Path]:
    """A file to write that takes the name `path` when all went well."""
    try:
        with atomic_write(path, parents=True) as part:
            yield part
    except OSError as error:
        raise OutputError(f"The model {path} cannot be written ({error}).") from error


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
