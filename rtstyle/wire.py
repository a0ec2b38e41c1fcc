"""Protobuf's wire format, read in place: fields are numbers, or ranges of bytes in the file."""

from __future__ import annotations

import mmap
from collections.abc import Iterator


class DamagedError(Exception):
    """The bytes are not the message they should be."""


def fields(data: mmap.mmap, span: range) -> Iterator[tuple[int, int | range]]:
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


def varints(data: mmap.mmap, span: range) -> Iterator[int]:
    """Integers that are packed one after the other."""
    at = span.start
    while at < span.stop:
        value, at = _varint(data, at, span.stop)
        yield value


def _varint(data: mmap.mmap, at: int, end: int) -> tuple[int, int]:
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


def to_text(data: mmap.mmap, value: int | range) -> str:
    """A text. Raises `DamagedError` when it is none."""
    span = to_span(value)
    return data[span.start : span.stop].decode()
