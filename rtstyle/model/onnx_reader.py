"""Reads what an ONNX file says of itself, and refuses unsafe ones, without any library.

An ONNX file is a protobuf message (onnx.proto3). Its names, shapes and metadata take well under a
millisecond to find when weights are stepped over, so that listing models stays quick, and a file
that is no model is distinguished from a damaged one before any runtime sees it.

A runtime trusts what it loads: it opens the files that weights name, allocates what sizes ask for,
and loops as often as the graph says. `check_safe` allows one plain graph of standard operators with
all its weights inside, and nothing that could run without end.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rtstyle.errors import InputNotFoundError, ModelError

FLOAT, UINT8 = 1, 2  # TensorProto.DataType

# What a style net never exceeds.
MAX_BYTES = 2**30
MAX_NODES = MAX_WEIGHTS = 10_000
_MAX_DEPTH = 4  # graphs within graphs, as branches are
_MAX_RANK = 12
_MAX_OPSET = 1000
_MAX_FIELDS = 1_000_000
_STANDARD = ("", "ai.onnx")
_ENDLESS = ("Loop", "Scan")

# Field numbers of onnx.proto3, by message.
_MODEL_IR_VERSION, _MODEL_GRAPH, _MODEL_OPSET, _MODEL_METADATA = 1, 7, 8, 14
_MODEL_TRAINING, _MODEL_FUNCTIONS = 20, 25
_OPSET_VERSION = 2
_GRAPH_NODE, _GRAPH_WEIGHT, _GRAPH_INPUT, _GRAPH_OUTPUT, _GRAPH_SPARSE = 1, 5, 11, 12, 15
_NODE_TYPE, _NODE_ATTRIBUTE, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS, _ATTRIBUTE_SPARSE = (5, 10), (6, 11), (22, 23)
_WEIGHT_DIMS, _WEIGHT_NAME, _WEIGHT_EXTERNAL, _WEIGHT_LOCATION = 1, 8, 13, 14
_VALUE_NAME, _VALUE_TYPE = 1, 2
_TYPE_TENSOR, _TENSOR_ELEMENT, _TENSOR_SHAPE = 1, 1, 2
_SHAPE_DIM, _DIM_VALUE = 1, 1
_ENTRY_KEY, _ENTRY_VALUE = 1, 2

Data = mmap.mmap | bytes


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Name, element type (a TensorProto.DataType, 0 when it is no tensor) and shape of an input or
    output. A dimension that may vary is None; so is the shape when the file does not say."""

    name: str
    element: int
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True, slots=True)
class OnnxHeader:
    """Inputs (without weights), outputs and metadata of an ONNX file."""

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    metadata: dict[str, str]


class DamagedError(Exception):
    """The bytes are not the message they should be."""


class _ExternalError(Exception):
    """A weight lies in another file; the argument is the weight's name."""


class _UnsafeError(Exception):
    """What the file has that it must not have, as the end of a sentence."""


def read_header(path: Path) -> OnnxHeader:
    """Read the header of the ONNX file at `path`.

    Raises `InputNotFoundError` when there is none, `ModelError` when it is no ONNX file, is cut
    short, or keeps its weights in other files.
    """
    with _mapped(path) as data:
        try:
            return _header(data)
        except _ExternalError as error:
            raise ModelError(
                f"{path} keeps weights in another file ({error}); export it with all weights "
                "inside."
            ) from None


def check_safe(path: Path) -> None:
    """Raise `ModelError` when a runtime should not open the ONNX file at `path`."""
    with _mapped(path) as data:
        try:
            if len(data) > MAX_BYTES:
                raise _UnsafeError(f"is larger than {MAX_BYTES >> 20} MiB")
            _Check(data).model()
        except _UnsafeError as error:
            raise ModelError(
                f"{path} {error}, which no style net needs; it is not loaded, for safety."
            ) from None


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    """The bytes of a file; what goes wrong with them becomes a sentence."""
    try:
        with path.open("rb") as file:
            if not file.seek(0, 2):
                raise ModelError(f"{path} is empty; an ONNX model was expected.")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                yield data
    except FileNotFoundError:
        raise InputNotFoundError(f"There is no model file {path}.") from None
    except IsADirectoryError:
        raise ModelError(f"{path} is a folder; a model is one .onnx file.") from None
    except OSError as error:
        raise ModelError(f"The model {path} cannot be read ({error.strerror or error}).") from error
    except (DamagedError, UnicodeDecodeError) as error:
        raise ModelError(
            f"{path} is no ONNX model, or a damaged one ({error}); copy or download it afresh."
        ) from None


def _header(data: mmap.mmap) -> OnnxHeader:
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
        if number == _GRAPH_WEIGHT:
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
        if number == _WEIGHT_NAME:
            name = to_text(data, value)
        external |= number == _WEIGHT_EXTERNAL
    if external:
        raise _ExternalError(name)
    return name


def _tensor(data: mmap.mmap, span: range) -> TensorInfo:
    value_info = dict(fields(data, span))
    name = to_text(data, value_info.get(_VALUE_NAME, range(0)))
    kind = dict(fields(data, to_span(value_info.get(_VALUE_TYPE, range(0)))))
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


class _Check:
    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._nodes = self._weights = self._pieces = 0

    def model(self) -> None:
        for number, value in self._fields(range(len(self._data))):
            if number == _MODEL_GRAPH:
                self._graph(to_span(value), depth=0)
            elif number == _MODEL_OPSET:
                opset = dict(self._fields(to_span(value)))
                version = to_int(opset.get(_OPSET_VERSION, 0))
                if version > _MAX_OPSET:  # a runtime that counts up to it never ends
                    raise _UnsafeError(f"wants operators of version {version}")
            elif number == _MODEL_FUNCTIONS:
                raise _UnsafeError("defines operators of its own")
            elif number == _MODEL_TRAINING:
                raise _UnsafeError("holds graphs for training")

    def _fields(self, span: range) -> Iterator[tuple[int, int | range]]:
        for field in fields(self._data, span):
            self._pieces += 1
            if self._pieces > _MAX_FIELDS:
                raise _UnsafeError("is made of too many pieces")
            yield field

    def _graph(self, span: range, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise _UnsafeError(f"nests graphs more than {_MAX_DEPTH} deep")
        for number, value in self._fields(span):
            if number == _GRAPH_NODE:
                self._node(to_span(value), depth)
            elif number == _GRAPH_WEIGHT:
                self._tensor(to_span(value))
            elif number == _GRAPH_SPARSE:
                raise _UnsafeError("has sparse weights")

    def _node(self, span: range, depth: int) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise _UnsafeError(f"has more than {MAX_NODES} nodes")
        for number, value in self._fields(span):
            if number == _NODE_TYPE and (kind := to_text(self._data, value)) in _ENDLESS:
                raise _UnsafeError(f"has the operator {kind}, which may run without end")
            if number == _NODE_DOMAIN and (domain := to_text(self._data, value)) not in _STANDARD:
                raise _UnsafeError(f"has operators that are not ONNX's own ({domain!r:.40})")
            if number == _NODE_ATTRIBUTE:
                self._attribute(to_span(value), depth)

    def _attribute(self, span: range, depth: int) -> None:
        for number, value in self._fields(span):
            if number in _ATTRIBUTE_GRAPHS:
                self._graph(to_span(value), depth + 1)
            elif number in _ATTRIBUTE_TENSORS:
                self._tensor(to_span(value))
            elif number in _ATTRIBUTE_SPARSE:
                raise _UnsafeError("has sparse weights")

    def _tensor(self, span: range) -> None:
        self._weights += 1
        if self._weights > MAX_WEIGHTS:
            raise _UnsafeError(f"has more than {MAX_WEIGHTS} weights")
        dims: list[int] = []
        for number, value in self._fields(span):
            if number == _WEIGHT_EXTERNAL or (number == _WEIGHT_LOCATION and value):
                raise _UnsafeError("keeps weights in another file")
            if number == _WEIGHT_DIMS:
                dims += [value] if isinstance(value, int) else varints(self._data, value[:100])
        # The smallest elements take four bits, and all of them must be in the file.
        if len(dims) > _MAX_RANK or math.prod(dims) > 2 * len(self._data):
            raise _UnsafeError(f"declares a weight of {'×'.join(map(str, dims))[:60]} numbers")


# Protobuf's wire format, read in place: fields are numbers, or ranges of bytes in the file.


def fields(data: Data, span: range) -> Iterator[tuple[int, int | range]]:
    """Field numbers of a message with their values: an int, or where the bytes lie."""
    at, end = span.start, span.stop
    while at < end:
        key, at = _varint(data, at, end)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(data, at, end)
            yield number, value
            continue
        if wire == 2:
            size, at = _varint(data, at, end)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise DamagedError(f"wire type {wire} at byte {at}")
        if size > end - at:
            raise DamagedError(f"it ends {size - (end - at)} bytes too early")
        yield number, range(at, at + size)
        at += size


def varints(data: Data, span: range) -> Iterator[int]:
    """Integers that are packed one after the other."""
    at = span.start
    while at < span.stop:
        value, at = _varint(data, at, span.stop)
        yield value


def _varint(data: Data, at: int, end: int) -> tuple[int, int]:
    """A variable-length integer and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            raise DamagedError("it ends too early")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise DamagedError(f"no number at byte {at}")


def to_span(value: int | range) -> range:
    """Where a message lies. Raises `DamagedError` when it is none."""
    if isinstance(value, int):
        raise DamagedError("a number stands where a message was expected")
    return value


def to_int(value: int | range) -> int:
    """A number. Raises `DamagedError` when it is none."""
    if isinstance(value, range):
        raise DamagedError("a message stands where a number was expected")
    return value


def to_text(data: Data, value: int | range) -> str:
    """A text. Raises `DamagedError` when it is none."""
    span = to_span(value)
    return data[span.start : span.stop].decode()
