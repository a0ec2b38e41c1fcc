"""Damage to bytes: each takes a file's bytes and a random generator and gives other bytes."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from random import Random

Mutation = Callable[[bytes, Random], bytes]

_EDGES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x1_0000, 16_384, 0x00FF_FFFF,
          0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFE, 0xFFFF_FFFF)  # fmt: skip
_BOXES = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"udta", b"moof", b"traf", b"mvex",
          b"dinf"}  # fmt: skip
_LISTS = {b"LIST", b"RIFF"}
_MASTERS = {0x18538067, 0x1549A966, 0x1654AE6B, 0xAE, 0xE0, 0xE1, 0x1F43B675, 0xA0, 0x1C53BB6B,
            0x114D9B74, 0x1254C367, 0x1A45DFA3}  # fmt: skip
_HEADERS = (
    b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2avc1mp41", b"\x1a\x45\xdf\xa3\x01\x00\x00",
    b"RIFF\x00\x10\x00\x00AVI LIST", b"RIFF\x00\x10\x00\x00WEBPVP8X", b"\x47\x40\x00\x10",
    b"FLV\x01\x05",
    b"GIF89a\xff\xff\xff\xff", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0\x00\x10JFIF",
    b"OggS\x00\x02",
    b"\x00\x00\x00\x01\x67", b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3", b"#EXTM3U\n#EXTINF:1,\n",
    b"ffconcat version 1.0\nfile '/etc/hostname'\n", b"ID3\x04\x00\x00", b"YUV4MPEG2 W0 H0 F0:0\n",
    b"DKIF\x00\x00\x20\x00VP90", b"%PDF-1.7", b"PK\x03\x04", b"\x7fELF", b"<?xml version='1.0'?>",
    b"II*\x00\x08\x00\x00\x00", b"MM\x00*\x00\x00\x00\x08", b"BM\x00\x00\x00\x00", b"\x00" * 32,
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", b"\x06\x0e\x2b\x34\x02\x05\x01\x01", b"\x12\x00\x0a\x0b",
)  # fmt: skip


def flipped(data: bytes, rng: Random) -> bytes:
    """Some bits flipped: in the head, in the tail or anywhere."""
    out = bytearray(data)
    low, high = rng.choice(
        [(0, min(512, len(out))), (0, len(out)), (max(0, len(out) - 2048), len(out))]
    )
    for _ in range(rng.choice([1, 1, 2, 5, 20, 100])):
        out[rng.randrange(low, high)] ^= 1 << rng.randrange(8)
    return bytes(out)


def truncated(data: bytes, rng: Random) -> bytes:
    """The beginning only; sometimes the end only."""
    at = rng.choice([rng.randrange(1, len(data)), rng.randrange(1, min(600, len(data))),
                     len(data) - rng.randrange(1, min(200, len(data)))])  # fmt: skip
    return data[at:] if rng.random() < 0.15 else data[:at]


def swapped(data: bytes, rng: Random) -> bytes:
    """Chunks exchanged, doubled or taken out."""
    unit = 188 if data[:1] == b"\x47" else 1
    size = unit * rng.choice([1, 4, 16]) if unit > 1 else rng.choice([4, 16, 64, 256, 1024])
    size = min(size, len(data) // 3)
    a, b = sorted(rng.randrange(0, len(data) - size) // unit * unit for _ in range(2))
    first, second = data[a : a + size], data[b : b + size]
    match rng.randrange(3):
        case 0 if b >= a + size:
            return data[:a] + second + data[a + size : b] + first + data[b + size :]
        case 1:
            return data[:a] + first + data[a:]
    return data[:a] + data[a + size :]


def holed(data: bytes, rng: Random) -> bytes:
    """A block overwritten with zeros, ones or noise, as by a bad sector."""
    size = min(rng.choice([16, 64, 512, 4096]), len(data) // 2)
    at = rng.randrange(0, len(data) - size)
    filled = rng.choice([bytes(size), b"\xff" * size, rng.randbytes(size)])
    return data[:at] + filled + data[at + size :]


def wrong_header(data: bytes, rng: Random) -> bytes:
    """The beginning of another kind of file before, over or in place of this one's."""
    header = rng.choice(_HEADERS)
    match rng.randrange(3):
        case 0:
            return header + data[len(header) :]
        case 1:
            return header + data
    return header + rng.randbytes(rng.choice([0, 100, 5000]))


def fields(data: bytes, rng: Random) -> bytes:
    """Numbers in the structure of the file (boxes, elements, chunks) set to extreme values."""
    out = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        _set_one(out, rng)
    return bytes(out)


def field_in(data: bytes, names: tuple[bytes, ...], rng: Random, values: tuple[int, ...]) -> bytes:
    """As `fields`, in the boxes or chunks called `names` only, of `values`; unchanged without."""
    out = bytearray(data)
    spans = [(a, b) for name, a, b in _spans(data) if name in names]
    for start, end in spans if rng.random() < 0.5 else spans[:1]:
        at = rng.randrange(start, max(start + 1, min(end, start + 96) - 3)) // 4 * 4
        _put(
            out,
            max(start, at),
            rng.choice(values),
            4,
            rng.choice("<>") if data[:4] == b"RIFF" else ">",
        )
    return bytes(out)


def png_of_size(data: bytes, width: int, height: int) -> bytes:
    """A PNG file whose header, with a right checksum, tells another size."""
    header = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


def _set_one(out: bytearray, rng: Random) -> None:
    spans = [(a, b) for _, a, b in _spans(bytes(out)) if b > a]
    order = "<" if out[:4] == b"RIFF" else rng.choice("><")
    if not spans or rng.random() < 0.1:
        at = rng.randrange(0, min(len(out), 512))
    else:
        start, end = rng.choice(spans)
        at = rng.randrange(start, min(end, start + 128))
        if rng.random() < 0.7:
            at = start + (at - start) // 4 * 4
        if rng.random() < 0.15:
            at, order = start - 8, ">" if out[:4] != b"RIFF" else "<"  # the size of the box itself
    size = rng.choice([1, 2, 4, 4, 4, 8])
    value = rng.choice([*_EDGES, rng.getrandbits(32), rng.getrandbits(16)])
    _put(out, max(0, at), value, size, order)


def _put(out: bytearray, at: int, value: int, size: int, order: str) -> None:
    size = min(size, len(out) - at)
    raw = (value & (1 << 8 * size) - 1).to_bytes(size, "big" if order == ">" else "little")
    out[at : at + size] = raw


def _spans(data: bytes) -> list[tuple[bytes, int, int]]:
    """Name, start and end of the contents of every box, chunk or element."""
    if data[4:8] in (b"ftyp", b"moov", b"mdat", b"wide"):
        return list(_boxes(data, 0, len(data)))
    if data[:4] == b"RIFF":
        return list(_chunks(data, 0, len(data)))
    if data[:4] == b"\x1a\x45\xdf\xa3":
        return list(_elements(data, 0, len(data)))
    if data[:4] == b"\x89PNG":
        return list(_png_chunks(data))
    return []


def _boxes(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    while at + 8 <= end:
        size, name = struct.unpack_from(">I4s", data, at)
        stop = end if size == 0 else at + size
        if size < 8 or stop > end:
            return
        yield name, at + 8, stop
        if name in _BOXES:
            yield from _boxes(data, at + 8, stop)
        at = stop


def _chunks(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    while at + 8 <= end:
        name, size = struct.unpack_from("<4sI", data, at)
        stop = min(end, at + 8 + size)
        yield name, at + 8, stop
        if name in _LISTS:
            yield from _chunks(data, at + 12, stop)
        at = stop + stop % 2


def _elements(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    while at + 2 <= end and data[at]:
        width = 9 - data[at].bit_length()
        name = data[at : at + width]
        at += width
        if at >= end or not data[at]:
            return
        width = 9 - data[at].bit_length()
        size = int.from_bytes(data[at : at + width], "big") & (1 << 7 * width) - 1
        at += width
        stop = end if size == (1 << 7 * width) - 1 else at + size
        if stop > end:
            return
        yield name, at, stop
        if int.from_bytes(name, "big") in _MASTERS:
            yield from _elements(data, at, stop)
        at = stop


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    at = 8
    while at + 12 <= len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        if at + 12 + size > len(data):
            return
        yield name, at + 8, at + 8 + size
        at += 12 + size


BYTES: dict[str, Mutation] = {
    "flips": flipped,
    "truncations": truncated,
    "swaps": swapped,
    "holes": holed,
    "headers": wrong_header,
    "fields": fields,
}
