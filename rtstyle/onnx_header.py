"""Reads what an ONNX file says of itself, without loading it and without any library.

An ONNX file is a protobuf message (onnx.proto3). Its names, shapes and metadata take well under a
millisecond to find when weights are stepped over, so that listing models stays quick, and a file
that is no model is told from a damaged one before any runtime sees it.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path

from rtstyle.errors import InputNotFoundError, ModelError
from rtstyle.wire import DamagedError, fields, to_int, to_span, to_text

FLOAT, UINT8 = 1, 2  # TensorProto.DataType

# Field numbers of onnx.proto3, by message.
_MODEL_IR_VERSION, _MODEL_GRAPH, _MODEL_METADATA = 1, 7, 14
_GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT = 5, 11, 12
_INITIALIZER_NAME, _INITIALIZER_EXTERNAL = 8, 13
_VALUE_NAME, _VALUE_TYPE = 1, 2
_TYPE_TENSOR, _TENSOR_ELEMENT, _TENSOR_SHAPE = 1, 1, 2
_SHAPE_DIM, _DIM_VALUE = 1, 1
_ENTRY_KEY, _ENTRY_VALUE = 1, 2


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Name, element type (a TensorProto.DataType, 0 when it is no tensor) and shape of an input or
    output. A dimension that may vary is None; so is the shape when the file does not tell it."""

    name: str
    element: int
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True, slots=True)
class OnnxHeader:
    """Inputs (without weights), outputs and metadata of an ONNX file."""

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    metadata: dict[str, str]


class _ExternalError(Exception):
    """A weight lies in another file; the argument is the weight's name."""


def read_header(path: Path) -> OnnxHeader:
    """Read the header of the ONNX file at `path`.

    Raises `InputNotFoundError` when there is none, `ModelError` when it is no ONNX file, is cut
    short, or keeps its weights in other files.
    """
    try:
        with path.open("rb") as file:
            if not file.seek(0, 2):
                raise ModelError(f"{path} is empty; an ONNX model was expected.")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _model(data)
    except FileNotFoundError:
        raise InputNotFoundError(f"There is no model file {path}.") from None
    except IsADirectoryError:
        raise ModelError(f"{path} is a folder; a model is one .onnx file.") from None
    except OSError as error:
        raise ModelError(f"The model {path} cannot be read ({error.strerror or error}).") from error
    except _ExternalError as error:
        raise ModelError(
            f"{path} keeps weights in another file ({error}); export it with all weights inside."
        ) from None
    except (DamagedError, UnicodeDecodeError) as error:
        raise ModelError(
            f"{path} is no ONNX model, or a damaged one ({error}); copy or download it afresh."
        ) from None


def _model(data: mmap.mmap) -> OnnxHeader:
    whole, graphs, metadata, version = range(len(data)), [], {}, 0
    for number, value in fields(data, whole):
        if number == _MODEL_IR_VERSION:
            version = to_int(value)
        elif number == _MODEL_GRAPH:
            graphs.append(to_span(value))
        elif number == _MODEL_METADATA:
            entry = dict(fields(data, to_span(value)))
            key = to_text(data, entry.get(_ENTRY_KEY, range(0)))
            metadata[key] = to_text(data, entry.get(_ENTRY_VALUE, range(0)))
    if len(graphs) != 1 or not version:
        raise DamagedError("it holds no graph")
    weights: set[str] = set()
    inputs, outputs = [], []
    for number, value in fields(data, graphs[0]):
        if number == _GRAPH_INITIALIZER:
            weights.add(_weight(data, to_span(value)))
        elif number == _GRAPH_INPUT:
            inputs.append(_tensor(data, to_span(value)))
        elif number == _GRAPH_OUTPUT:
            outputs.append(_tensor(data, to_span(value)))
    # Before IR version 4 every weight was listed as an input too.
    given = tuple(tensor for tensor in inputs if tensor.name not in weights)
    return OnnxHeader(inputs=given, outputs=tuple(outputs), metadata=metadata)


def _weight(data: mmap.mmap, span: range) -> str:
    """The name of a weight. Raises `_ExternalError` when its values lie elsewhere."""
    name, external = "", False
    for number, value in fields(data, span):
        if number == _INITIALIZER_NAME:
            name = to_text(data, value)
        external |= number == _INITIALIZER_EXTERNAL
    if external:
        raise _ExternalError(name)
    return name


def _tensor(data: mmap.mmap, span: range) -> TensorInfo:
    told = dict(fields(data, span))
    name = to_text(data, told.get(_VALUE_NAME, range(0)))
    kind = dict(fields(data, to_span(told.get(_VALUE_TYPE, range(0)))))
    tensor = dict(fields(data, to_span(kind.get(_TYPE_TENSOR, range(0)))))
    element = to_int(tensor.get(_TENSOR_ELEMENT, 0))
    if _TENSOR_SHAPE not in tensor:
        return TensorInfo(name, element, None)
    shape = []
    for number, value in fields(data, to_span(tensor[_TENSOR_SHAPE])):
        if number == _SHAPE_DIM:
            size = dict(fields(data, to_span(value))).get(_DIM_VALUE)
            shape.append(None if size is None else to_int(size))
    return TensorInfo(name, element, tuple(shape))
