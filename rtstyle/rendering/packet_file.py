"""The packets of one encoded segment in a file, exactly as the encoder returned them.

No container keeps every codec's packets with exact times and durations. This one holds the packets,
then a description of the segment as JSON, then a checksum of everything before. All integers are
little-endian.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from av.packet import Packet
from av.video.stream import VideoStream

from rtstyle.closing import Closing
from rtstyle.media.video.decoder import Losses

_MAGIC = b"rtstyle segment 1\n"
_RECORD = struct.Struct("<qqqBI")  # pts, dts, duration, 1 for a keyframe, bytes that follow
_LENGTH = struct.Struct("<I")
_DIGEST = 16


class BrokenSegmentError(ValueError):
    """A segment's file is not as it was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentResult:
    """What a segment's file holds.

    Its `number`; how many `frames`; the `tick` in seconds that packets' times count; `end`, when
    its last frame ends, in seconds of the whole; how many times were `rounded` to what the
    container can hold; the codec's `extradata`; what the input's decoder lost.
    """

    number: int
    frames: int
    tick: Fraction
    end: Fraction
    rounded: int = 0
    extradata: bytes = b""
    losses: Losses = field(default_factory=Losses)

    def to_json(self) -> bytes:
        return json.dumps(asdict(self), default=_plain).encode()

    @classmethod
    def from_json(cls, text: bytes) -> SegmentResult:
        """Raises ValueError, KeyError or TypeError for what is no such text."""
        facts = json.loads(text)
        losses = facts.pop("losses")
        first, remarks = Fraction(losses.pop("first_repaired")), tuple(losses.pop("remarks"))
        facts["losses"] = Losses(**losses, first_repaired=first, remarks=remarks)
        facts["tick"], facts["end"] = Fraction(facts["tick"]), Fraction(facts["end"])
        facts["extradata"] = bytes.fromhex(facts["extradata"])
        return cls(**facts)


@dataclass(frozen=True, slots=True)
class StoredPacket:
    """One packet; `pts`, `dts` and `duration` in ticks."""

    pts: int
    dts: int
    duration: int
    is_keyframe: bool
    data: bytes


class PacketWriter:
    """Writes a segment's file under a temporary name; `finish` gives it its own."""

    def __init__(self, path: Path) -> None:
        self._path, self._temporary = path, path.with_suffix(".part")
        self._file = self._temporary.open("wb")
        self._digest = hashlib.blake2b(digest_size=_DIGEST)
        self._put(_MAGIC)

    def write(self, packet: Packet[VideoStream]) -> None:
        """Append the next packet, in decoding order."""
        assert packet.pts is not None
        dts = packet.pts if packet.dts is None else packet.dts
        flags = int(packet.is_keyframe)
        self._put(_RECORD.pack(packet.pts, dts, packet.duration or 0, flags, packet.size))
        self._put(packet)

    def finish(self, result: SegmentResult, path: Path | None = None) -> None:
        """Complete the file; it is on the disk, whole, once it has its name, or `path`."""
        text = result.to_json()
        self._put(text + _LENGTH.pack(len(text)))
        self._file.write(self._digest.digest())
        self._file.close()
        sync(self._temporary)
        os.replace(self._temporary, path or self._path)
        sync_folder(self._path.parent)

    def discard(self) -> None:
        """Remove what was written; harmless after `finish`."""
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self._temporary.unlink(missing_ok=True)

    def _put(self, data: Any) -> None:
        self._file.write(data)
        self._digest.update(data)


class PacketFile(Closing):
    """A finished segment's file, open for reading. Raises `BrokenSegmentError` and `OSError`."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        try:
            self.result = self._read_end()
        except BaseException:
            self._file.close()
            raise

    def times(self) -> list[tuple[int, int]]:
        """PTS and DTS of every packet, in decoding order, without reading their data."""
        return [(packet.pts, packet.dts) for packet in self._packets(skip=True)]

    def packets(self) -> Iterator[StoredPacket]:
        """Every packet, in decoding order."""
        return self._packets(skip=False)

    def check(self, number: int) -> None:
        """Compare the checksum and the segment's number."""
        self._file.seek(0)
        digest, left = hashlib.blake2b(digest_size=_DIGEST), self._size - _DIGEST
        while left > 0 and (chunk := self._file.read(min(1 << 20, left))):
            digest.update(chunk)
            left -= len(chunk)
        if left or self._file.read(_DIGEST) != digest.digest():
            raise BrokenSegmentError("its checksum is wrong")
        if self.result.number != number:
            raise BrokenSegmentError("it is another one")

    def close(self) -> None:
        self._file.close()

    def _read_end(self) -> SegmentResult:
        self._size = self._file.seek(0, os.SEEK_END)
        tail = _LENGTH.size + _DIGEST
        if self._size < len(_MAGIC) + tail:
            raise BrokenSegmentError("it is too short")
        self._file.seek(-tail, os.SEEK_END)
        (length,) = _LENGTH.unpack(self._file.read(_LENGTH.size))
        self._end = self._size - tail - length
        if self._end < len(_MAGIC):
            raise BrokenSegmentError("it has no end")
        self._file.seek(self._end)
        try:
            return SegmentResult.from_json(self._file.read(length))
        except (ValueError, KeyError, TypeError) as error:
            raise BrokenSegmentError("its end cannot be read") from error

    def _packets(self, *, skip: bool) -> Iterator[StoredPacket]:
        self._file.seek(len(_MAGIC))
        while self._file.tell() < self._end:
            head = self._file.read(_RECORD.size)
            if len(head) < _RECORD.size:
                raise BrokenSegmentError("a packet is cut off")
            pts, dts, duration, flags, size = _RECORD.unpack(head)
            data = b"" if skip else self._file.read(size)
            if skip:
                self._file.seek(size, os.SEEK_CUR)
            elif len(data) < size:
                raise BrokenSegmentError("a packet is cut off")
            yield StoredPacket(pts, dts, duration, bool(flags), data)


def sync(path: Path) -> None:
    """Wait until a written file is on the disk."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where the system can do that."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _plain(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
