"""A reader of TensorFlow checkpoints, old (one file) and new (.index, .data), by itself.

Both are sorted string tables, LevelDB's format: blocks of prefix-compressed keys with values, an
index block and a footer. Values are protocol buffers, of which a few fields matter.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtstyle.errors import ModelError

_MAGIC = 0xDB4775248B80FB57
_FOOTER = 48
_FLOAT32, _FLOAT64, _HALF = 1, 2, 19
_ELEMENTS = {_FLOAT32: np.float32, _FLOAT64: np.float64, _HALF: np.float16}

Fields = list[tuple[int, Any]]  # (number, value): int, or bytes for everything with a length


def read_tensorflow(path: Path) -> dict[str, NDArray[Any]]:
    """Every float tensor of the checkpoint by its variable's name.

    `path` is the one file of an old checkpoint, or the prefix or any file of a new one. Raises
    `ModelError` when it is damaged or no checkpoint.
    """
    index = _index_of(path)
    try:
        if index is not None:
            return _read_bundle(index)
        return _read_slices(path)
    except (OSError, struct.error, ValueError, IndexError, UnicodeDecodeError) as error:
        raise ModelError(
            f"{path} is no TensorFlow checkpoint that can be read ({error})."
        ) from None


def is_tensorflow(path: Path) -> bool:
    """Whether the file, or the one that `path` is the prefix of, ends as a checkpoint's table."""
    place = _index_of(path) or path
    try:
        with place.open("rb") as file:
            file.seek(-8, 2)
            return bool(struct.unpack("<Q", file.read(8))[0] == _MAGIC)
    except OSError:
        return False


def _index_of(path: Path) -> Path | None:
    name = path.name.partition(".data-")[0].removesuffix(".index").removesuffix(".meta")
    index = path.with_name(name + ".index")
    return index if index.is_file() else None


def _read_bundle(index: Path) -> dict[str, NDArray[Any]]:
    """A checkpoint of TensorFlow 1.0 and later: the table says where in .data each tensor is."""
    prefix = index.name.removesuffix(".index")
    table = dict(_table(index.read_bytes()))
    header = dict(_fields(table.pop(b"", b"")))
    count = header.get(1, 1)
    shards = [
        index.with_name(f"{prefix}.data-{i:05d}-of-{count:05d}").read_bytes() for i in range(count)
    ]
    tensors = {}
    for key, value in table.items():
        entry = dict(_fields(value))
        kind = entry.get(1, 0)
        if kind not in _ELEMENTS:
            continue
        start, size = entry.get(4, 0), entry.get(5, 0)
        data = shards[entry.get(3, 0)][start : start + size]
        tensors[key.decode()] = _array(data, kind, _shape(entry.get(2, b"")))
    return tensors


def _read_slices(path: Path) -> dict[str, NDArray[Any]]:
    """A checkpoint of TensorFlow before 1.0: the tensors lie in the table itself."""
    tensors = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for key, value in _table(path.read_bytes()):
        for number, content in _fields(value):
            if not key and number == 1:  # what the tensors are, before they come
                for field, value in _fields(content):
                    if field == 1:
                        meta = dict(_fields(value))
                        shapes[meta[1].decode()] = _shape(meta.get(2, b""))
            elif number == 2:
                saved = dict(_fields(content))
                name = saved[1].decode()
                array = _tensor(saved.get(3, b""))
                if array is not None and array.size == np.prod(shapes.get(name, array.shape)):
                    tensors[name] = array.reshape(shapes.get(name, array.shape))
    return tensors


def _tensor(proto: bytes) -> NDArray[Any] | None:
    parts: dict[int, list[Any]] = {}
    for number, value in _fields(proto):
        parts.setdefault(number, []).append(value)
    kind = parts.get(1, [0])[0]
    if kind not in _ELEMENTS:
        return None
    shape = _shape(parts.get(2, [b""])[0])
    if 4 in parts:
        return _array(parts[4][0], kind, shape)
    values = b"".join(parts.get(5, []))  # float_val, packed
    array = np.frombuffer(values, np.float32)
    return array.reshape(shape) if array.size == np.prod(shape) else array


def _array(data: bytes, kind: int, shape: tuple[int, ...]) -> NDArray[Any]:
    return np.frombuffer(data, _ELEMENTS[kind]).reshape(shape).astype(np.float32)


def _shape(proto: bytes) -> tuple[int, ...]:
    return tuple(dict(_fields(dim)).get(1, 0) for number, dim in _fields(proto) if number == 2)


def _table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a sorted string table, in order."""
    footer = data[-_FOOTER:]
    if len(footer) < _FOOTER or struct.unpack("<Q", footer[-8:])[0] != _MAGIC:
        raise ValueError("its last bytes are not those of a table")
    _, at = _varint(footer, 0)
    _, at = _varint(footer, at)
    offset, at = _varint(footer, at)
    size, _ = _varint(footer, at)
    for _, handle in _block(data, offset, size):
        start, at = _varint(handle, 0)
        length, _ = _varint(handle, at)
        yield from _block(data, start, length)


def _block(data: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    content = data[offset : offset + size]
    if len(content) != size or offset + size >= len(data):
        raise ValueError("it ends too early")
    if data[offset + size]:
        raise ValueError("it is compressed, which no TensorFlow that is known writes")
    restarts = struct.unpack("<I", content[-4:])[0]
    end = size - 4 - 4 * restarts
    at, key = 0, b""
    while at < end:
        shared, at = _varint(content, at)
        fresh, at = _varint(content, at)
        length, at = _varint(content, at)
        key = key[:shared] + content[at : at + fresh]
        at += fresh
        yield key, content[at : at + length]
        at += length


def _fields(proto: bytes) -> Fields:
    """The fields of a protocol buffer message, undecoded."""
    fields: Fields = []
    at = 0
    while at < len(proto):
        tag, at = _varint(proto, at)
        kind = tag & 7
        if kind == 0:
            value: Any
            value, at = _varint(proto, at)
        elif kind == 2:
            length, at = _varint(proto, at)
            value = proto[at : at + length]
            at += length
        elif kind in (1, 5):
            width = 8 if kind == 1 else 4
            value = proto[at : at + width]
            at += width
        else:
            raise ValueError("it holds a message of an unknown kind")
        fields.append((tag >> 3, value))
    return fields


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
