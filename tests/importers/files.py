"""Writers of other projects' file formats, byte by byte as their tools lay them out."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]


class Torch7Writer:
    """Lua Torch's binary serialisation. Tables are dicts, objects (class name, dict) pairs."""

    def __init__(self) -> None:
        self.data = b""
        self._count = 0

    def value(self, value: Any) -> None:
        if value is None:
            self._int(0)
        elif isinstance(value, bool):
            self._int(5)
            self._int(int(value))
        elif isinstance(value, (int, float)):
            self._int(1)
            self.data += struct.pack("<d", value)
        elif isinstance(value, str):
            self._int(2)
            self._text(value)
        elif isinstance(value, dict):
            self._index(3)
            self._int(len(value))
            for key, inner in value.items():
                self.value(key)
                self.value(inner)
        elif isinstance(value, tuple):
            name, fields = value
            self._index(4)
            self._text("V 1")
            self._text(name)
            self.value(fields)
        else:
            self._tensor(np.ascontiguousarray(value, np.float32))

    def _tensor(self, array: NDArray[np.float32]) -> None:
        self._index(4)
        self._text("V 1")
        self._text("torch.FloatTensor")
        self._int(array.ndim)
        for number in (*array.shape, *(s // 4 for s in array.strides), 1):
            self.data += struct.pack("<q", number)
        self._index(4)
        self._text("V 1")
        self._text("torch.FloatStorage")
        self.data += struct.pack("<q", array.size) + array.tobytes()

    def _index(self, kind: int) -> None:
        self._int(kind)
        self._count += 1
        self._int(self._count)

    def _text(self, text: str) -> None:
        self._int(len(text))
        self.data += text.encode()

    def _int(self, number: int) -> None:
        self.data += struct.pack("<i", number)


def write_torch7(path: Path, value: Any) -> Path:
    writer = Torch7Writer()
    writer.value(value)
    path.write_bytes(writer.data)
    return path


def write_bundle(prefix: Path, tensors: Arrays) -> Path:
    """A TensorFlow checkpoint as since 1.0: an index and one data file."""
    rows, data = [(b"", _field(1, 1))], b""
    for name, value in sorted(tensors.items()):
        content = np.ascontiguousarray(value, np.float32).tobytes()
        entry = _field(1, 1) + _field(2, _shape(value.shape)) + _field(4, len(data))
        rows.append((name.encode(), entry + _field(5, len(content)) + _fixed32(6, 0)))
        data += content
    rows.append((b"~step", _field(1, 9) + _field(2, b"")))  # an int64: passed over
    prefix.with_name(prefix.name + ".index").write_bytes(_table(rows))
    prefix.with_name(prefix.name + ".data-00000-of-00001").write_bytes(data)
    return prefix


def write_slices(path: Path, tensors: Arrays) -> Path:
    """A TensorFlow checkpoint as before 1.0: everything in one file."""
    metas, rows = b"", []
    for name, value in sorted(tensors.items()):
        meta = _field(1, name.encode()) + _field(2, _shape(value.shape)) + _field(3, 1)
        metas += _field(1, meta)
        floats = np.ascontiguousarray(value, np.float32).tobytes()
        tensor = _field(1, 1) + _field(2, _shape(value.shape)) + _field(5, floats)
        saved = _field(1, name.encode()) + _field(2, b"") + _field(3, tensor)
        rows.append((b"\0" + name.encode(), _field(2, saved)))
    path.write_bytes(_table([(b"", _field(1, metas)), *rows]))
    return path


def write_manifest(folder: Path, tensors: Arrays, *, graph: str = "{}", shards: int = 2) -> Path:
    """A TensorFlow.js model: model.json and its shards."""
    folder.mkdir(parents=True, exist_ok=True)
    data = b"".join(np.ascontiguousarray(v, np.float32).tobytes() for v in tensors.values())
    names = [f"group1-shard{i + 1}of{shards}" for i in range(shards)]
    size = -(-len(data) // shards)
    for i, name in enumerate(names):
        (folder / name).write_bytes(data[i * size : (i + 1) * size])
    weights = [
        {"name": name, "shape": list(value.shape), "dtype": "float32"}
        for name, value in tensors.items()
    ]
    manifest = json.dumps([{"paths": names, "weights": weights}])
    path = folder / "model.json"
    path.write_text(f'{{"modelTopology": {graph}, "weightsManifest": {manifest}}}')
    return path


def _table(rows: list[tuple[bytes, bytes]]) -> bytes:
    """LevelDB's table: data blocks of a few rows, an empty meta block, an index, a footer."""
    data, handles = b"", []
    for start in range(0, len(rows), 5):
        part = rows[start : start + 5]
        block = _block(part)
        handles.append((part[-1][0], _varint(len(data)) + _varint(len(block))))
        data += block + b"\0" + b"\0\0\0\0"
    ends = b""
    for block in (_block([]), _block(handles)):
        ends += _varint(len(data)) + _varint(len(block))
        data += block + b"\0" + b"\0\0\0\0"
    return data + ends.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)


def _block(rows: list[tuple[bytes, bytes]]) -> bytes:
    content, last = b"", b""
    for key, value in rows:
        shared = next(
            (i for i, (a, b) in enumerate(zip(last, key, strict=False)) if a != b),
            min(len(last), len(key)),
        )
        content += _varint(shared) + _varint(len(key) - shared) + _varint(len(value))
        content += key[shared:] + value
        last = key
    return content + struct.pack("<II", 0, 1)


def _shape(shape: tuple[int, ...]) -> bytes:
    return b"".join(_field(2, _field(1, size)) for size in shape)


def _field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _fixed32(number: int, value: int) -> bytes:
    return _varint(number << 3 | 5) + struct.pack("<I", value)


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])
