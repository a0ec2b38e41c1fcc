"""Refuses ONNX files that no painting net needs to be like, before any runtime opens them.

A runtime trusts what it loads: it opens the files that weights name, allocates what sizes tell, and
loops as often as it is told. `check_safe` allows one plain graph of standard operators with all its
weights inside, and nothing that could run without end.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from pathlib import Path

from rtstyle.errors import InputNotFoundError, ModelError
from rtstyle.wire import DamagedError, fields, to_int, to_span, to_text, varints

MAX_BYTES = 2**30
MAX_NODES = MAX_WEIGHTS = 10_000
_MAX_DEPTH = 4  # graphs within graphs, as branches are
_MAX_RANK = 12
_MAX_OPSET = 1000
_MAX_FIELDS = 1_000_000
_STANDARD = ("", "ai.onnx")
_ENDLESS = ("Loop", "Scan")

# Field numbers of onnx.proto3, by message.
_MODEL_GRAPH, _MODEL_OPSET, _MODEL_TRAINING, _MODEL_FUNCTIONS = 7, 8, 20, 25
_OPSET_VERSION = 2
_GRAPH_NODE, _GRAPH_WEIGHT, _GRAPH_SPARSE = 1, 5, 15
_NODE_TYPE, _NODE_ATTRIBUTE, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS, _ATTRIBUTE_SPARSE = (5, 10), (6, 11), (22, 23)
_TENSOR_DIMS, _TENSOR_EXTERNAL, _TENSOR_LOCATION = 1, 13, 14


class _UnsafeError(Exception):
    """What the file has that it must not; the argument says it."""


def check_safe(path: Path) -> None:
    """Raise `ModelError` when a runtime should not open the ONNX file at `path`."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            if not size:
                raise DamagedError("it is empty")
            if size > MAX_BYTES:
                raise _UnsafeError(f"is larger than {MAX_BYTES >> 20} MiB")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                _Check(data).model()
    except FileNotFoundError:
        raise InputNotFoundError(f"There is no model file {path}.") from None
    except OSError as error:
        raise ModelError(f"The model {path} cannot be read ({error.strerror or error}).") from error
    except _UnsafeError as error:
        raise ModelError(
            f"{path} {error}, which no net that paints needs; it is not loaded, for safety."
        ) from None
    except (DamagedError, UnicodeDecodeError) as error:
        raise ModelError(
            f"{path} is no ONNX model, or a damaged one ({error}); copy or download it afresh."
        ) from None


class _Check:
    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._nodes = self._weights = self._told = 0

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
            self._told += 1
            if self._told > _MAX_FIELDS:
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
            if number == _TENSOR_EXTERNAL or (number == _TENSOR_LOCATION and value):
                raise _UnsafeError("keeps weights in another file")
            if number == _TENSOR_DIMS:
                dims += [value] if isinstance(value, int) else varints(self._data, value[:100])
        # The smallest elements take four bits, and all of them must be in the file.
        if len(dims) > _MAX_RANK or math.prod(dims) > 2 * len(self._data):
            raise _UnsafeError(f"tells a weight of {'×'.join(map(str, dims))[:60]} numbers")
