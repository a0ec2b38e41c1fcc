"""Writes a trained net as a model file: one ONNX with all processing inside."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
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
from rtstyle.train.reference import Samples, reference_samples, require_same_statistics

OPSET = 18  # the oldest with every operation needed, so that old runtimes read the file too

_log = logging.getLogger("rtstyle")

# Raises `ModelError` when a model file does not stylize the samples as they are expected. Passed
# in, as training knows no engine; `rtstyle.bench.parity.require_parity` is the one that is used.
Check = Callable[[ModelSpec, Samples], None]


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a model file says to people: the names of its styles, a sentence on the model and, if
    there are several styles, one on each, the licence and the provenance.

    `provenance` is written as JSON: style images, training settings, losses reached.
    """

    styles: tuple[str, ...]
    description: str = ""
    licence: str = ""
    provenance: dict[str, Any] = field(default_factory=dict)
    style_descriptions: tuple[str, ...] = ()


def write_model(
    net: nn.Module,
    path: Path,
    card: ModelCard,
    *,
    architecture: str,
    check: Check,
    earlier: Path | None = None,
) -> ModelSpec:
    """Export `net` to `path`, whole or not at all, if it passes `check`.

    Weights are stored in half precision where that holds, which halves the file, but those of
    another project's net as they are; the arithmetic is float32. A net for any style image gets
    its style encoder written beside. A net that extends the model file `earlier` by one style keeps
    every other number of that file. Returns the spec of the file. Raises `ModelError` when `check`
    does or the model card is invalid, `OutputError` when the file cannot be written.
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
    _log.info("Writing the %s as ONNX …", architecture)
    model = to_onnx(net, spec)
    _log.info("Painting samples by torch …")
    samples = reference_samples(net, spec)
    if earlier is not None:
        keep_folded(model, earlier)
    with _part_of(path) as part:
        for stored in (half_weights(model), model) if spec.grain else (model,):
            part.write_bytes(stored.SerializeToString())
            _log.info("Comparing the file with the net, in each runtime …")
            try:
                check(read_model(part), samples)
                break
            except ModelError:
                if stored is model:
                    raise
    return read_model(path)


def _write_style_encoder(net: nn.Module, spec: ModelSpec) -> None:
    _log.info("Writing the style encoder …")
    path = encoder_path(spec.path)
    encoder = StyleEncoderFile(
        path, spec.stride, int(net.image_size), spec.style_size  # type: ignore[arg-type]
    )  # fmt: skip
    model = _export(
        StyleEncoder(net.cpu()).eval(),
        {"painting": _examples(spec)[spec.frame_input]},
        output="style",
        metadata=encoder.metadata(),
    )
    with _part_of(path) as part:
        stored = half_weights(model) if spec.grain else model
        part.write_bytes(stored.SerializeToString())
        require_same_statistics(net, replace(encoder, path=part))


def to_onnx(net: nn.Module, spec: ModelSpec) -> onnx.ModelProto:
    """The ONNX model of `net` with N, H and W left open and the metadata of `spec` inside."""
    return _export(
        Contract(net.cpu()).eval(), _examples(spec), output="stylized", metadata=spec.metadata()
    )


def _examples(spec: ModelSpec) -> dict[str, torch.Tensor]:
    side = 8 * spec.stride  # any size does, as long as it differs from the batch
    frame, *others = spec.input_shapes(2, side, 2 * side).items()
    return {frame[0]: torch.zeros(frame[1], dtype=torch.uint8)} | {
        name: torch.full(shape, 1 / shape[-1]) for name, shape in others
    }


def _export(
    module: nn.Module, inputs: dict[str, torch.Tensor], *, output: str, metadata: str
) -> onnx.ModelProto:
    open_ = torch.export.Dim.DYNAMIC
    # pictures are open in N, H and W, everything else in N
    shapes = tuple(dict.fromkeys(range(3 if x.dim() == 4 else 1), open_) for x in inputs.values())
    with quiet_export():
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
    """Name the free dimensions N, H, W and drop the exporter's notes."""
    drop_notes(model)
    graph = model.graph
    for value in (*graph.input, *graph.output):
        dims = value.type.tensor_type.shape.dim
        for dim, name in zip(dims, "NHW" if len(dims) == 4 else "N", strict=False):
            dim.dim_param = name


def drop_notes(model: onnx.ModelProto) -> None:
    """Drop what the exporter noted, which is larger than a small net."""
    del model.metadata_props[:]
    graph = model.graph
    graph.name = "rtstyle"
    del graph.metadata_props[:], graph.value_info[:]
    for item in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        del item.metadata_props[:]
        item.doc_string = ""


@contextmanager
def _part_of(path: Path) -> Iterator[Path]:
    """A file to write that takes the name `path` when all went well."""
    try:
        with atomic_write(path, parents=True) as part:
            yield part
    except OSError as error:
        raise OutputError(f"The model {path} cannot be written ({error}).") from error


@contextmanager
def quiet_export() -> Iterator[None]:
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
