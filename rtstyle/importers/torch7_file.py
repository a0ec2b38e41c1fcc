"""A reader of Torch7's binary serialisation (.t7), as Lua Torch's `torch.save` writes it.

Values are tagged with their type; tables and objects with an index too, under which they are
referred to again. Functions are refused: nothing of the file is ever executed.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from rtstyle.errors import ModelError

_NIL, _NUMBER, _STRING, _TABLE, _OBJECT, _BOOLEAN = range(6)
_ELEMENTS = {
    "Double": np.float64, "Float": np.float32, "Half": np.float16, "Long": np.int64,
    "Int": np.int32, "Short": np.int16, "Char": np.int8, "Byte": np.uint8,
    "Cuda": np.float32, "CudaDouble": np.float64, "CudaHalf": np.float16, "CudaLong": np.int64,
}  # fmt: skip
_MAX_DEPTH = 200


@dataclass(frozen=True, slots=True)
class Torch7Object:
    """An object of a Lua class: its class, such as "nn.Sequential", and its fields."""

    type_name: str
    fields: dict[Any, Any]

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]

    def get(self, name: str, default: Any = None) -> Any:
        return self.fields.get(name, default)


def read_torch7(path: Path) -> Any:
    """The value in the file: a number, text, dict, array or `Torch7Object`.

    Lua's tables become dicts. Raises `ModelError` when the file is damaged or of another format.
    """
    try:
        with path.open("rb") as file:
            return _Reader(file).value()
    except (OSError, struct.error, ValueError, KeyError, MemoryError, OverflowError) as error:
        raise ModelError(
            f"{path} is no binary Torch7 file that can be read ({type(error).__name__}: {error})."
        ) from None


class _Reader:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._seen: dict[int, Any] = {}
        self._depth = 0

    def value(self) -> Any:
        kind = self._int()
        if kind == _NIL:
            return None
        if kind == _NUMBER:
            return self._unpack("<d")
        if kind == _BOOLEAN:
            return bool(self._int())
        if kind == _STRING:
            return self._text()
        if kind not in (_TABLE, _OBJECT):
            raise ValueError(f"a value of type {kind}, which is code or damage")
        index = self._int()
        if index not in self._seen:
            self._depth += 1
            if self._depth > _MAX_DEPTH:
                raise ValueError("it is nested too deeply")
            if kind == _TABLE:
                self._table(self._seen.setdefault(index, {}))
            else:
                self._object(index)
            self._depth -= 1
        return self._seen[index]

    def _table(self, table: dict[Any, Any]) -> None:
        for _ in range(self._int()):
            key = self.value()
            value = self.value()
            table[key if not isinstance(key, float) or key % 1 else int(key)] = value

    def _object(self, index: int) -> None:
        name = self._text()
        if name.startswith("V "):
            name = self._text()
        room, _, kind = name.partition(".")
        if room == "torch" and kind.endswith("Tensor"):
            self._seen[index] = self._tensor(kind.removesuffix("Tensor"))
        elif room == "torch" and kind.endswith("Storage"):
            self._seen[index] = self._storage(kind.removesuffix("Storage"))
        else:
            made = self._seen[index] = Torch7Object(name, {})
            fields = self.value()
            if isinstance(fields, dict):
                made.fields.update(fields)

    def _tensor(self, kind: str) -> NDArray[Any]:
        rank = self._int()
        if not 0 <= rank <= 8:
            raise ValueError(f"a tensor of {rank} dimensions")
        size = [self._long() for _ in range(rank)]
        stride = [self._long() for _ in range(rank)]
        offset = self._long() - 1
        storage = self.value()
        if storage is None or not rank:
            return np.zeros(size if rank else 0, _ELEMENTS[kind])
        last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
        if min(size) < 0 or min(stride) < 0 or offset < 0 or last >= len(storage):
            raise ValueError(f"a tensor {size} beyond its storage of {len(storage)}")
        steps = [s * storage.itemsize for s in stride]
        return np.lib.stride_tricks.as_strided(storage[offset:], size, steps).copy()

    def _storage(self, kind: str) -> NDArray[Any]:
        element = np.dtype(_ELEMENTS[kind])
        return np.frombuffer(self._bytes(self._long() * element.itemsize), element)

    def _text(self) -> str:
        return self._bytes(self._int()).decode("utf-8", "replace")

    def _int(self) -> int:
        return int(self._unpack("<i"))

    def _long(self) -> int:
        return int(self._unpack("<q"))

    def _unpack(self, code: str) -> Any:
        return struct.unpack(code, self._bytes(struct.calcsize(code)))[0]

    def _bytes(self, count: int) -> bytes:
        if count < 0:
            raise ValueError("a negative length")
        data = self._file.read(count)
        if len(data) != count:
            raise ValueError("it ends too early")
        return data
