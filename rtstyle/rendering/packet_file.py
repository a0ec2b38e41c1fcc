"""The packets of one encoded segment in a file, exactly as the encoder gave them.

No container keeps every codec's packets with exact times and durations; this holds them, then what
is known of them as JSON, then a checksum over everything before it. All integers are little-endian.
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
from typing import Any, BinaryIO

from av.packet import Packet
from av.video.stream import VideoStream

from rtstyle.closing import Closing
from rtstyle.media.video.decoder import Losses

_MAGIC = b"rtstyle segment 1\n"
_RECORD = struct.Struct("<qqqBI")  # pts, dts, duration, 1 for a keyframe, bytes that follow
_LENGTH = struct.Struct("<I")
_DIGEST = 16


class BrokenSegmentError(ValueError):
    """A segment's file that is not what was once written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentResult:
    """What is in a segment's file.

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
        """Raises what a wrong JSON text raises: ValueError, KeyError, TypeError."""
        told: dict[str, Any] = json.loads(text)
        losses = told.pop("losses")
        first, remarks = Fraction(losses.pop("first_repaired")), tuple(losses.pop("remarks"))
        told["losses"] = Losses(**losses, first_repaired=first, remarks=remarks)
        told["tick"], told["end"] = Fraction(told["tick"]), Fraction(told["end"])
        told["extradata"] = bytes.fromhex(told["extradata"])
        return cls(**told)


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
        self.path = path
        self._temporary = path.with_suffix(".part")
        self._file = _Hashing(self._temporary.open("wb"))
        self._file.write(_MAGIC)

    def write(self, packet: Packet[VideoStream]) -> None:
        """Take the next packet, in decoding order."""
        assert packet.pts is not None
        dts = packet.pts if packet.dts is None else packet.dts
        flags = int(packet.is_keyframe)
        self._file.write(_RECORD.pack(packet.pts, dts, packet.duration or 0, flags, packet.size))
        self._file.write(packet)

    def finish(self, result: SegmentResult, path: Path | None = None) -> None:
        """Complete the file; it is on the disk, whole, when it has its name, or `path`."""
        told = result.to_json()
        self._file.write(told + _LENGTH.pack(len(told)))
        self._file.end()
        self._file.file.close()
        os.replace(self._temporary, path or self.path)
        sync_folder(self.path.parent)

    def discard(self) -> None:
        """Remove what was written; harmless after `finish`."""
        with suppress(OSError):
            self._file.file.close()
        with suppress(OSError):
            self._temporary.unlink(missing_ok=True)


class PacketFile(Closing):
    """A finished segment's file, open for reading. Raises `BrokenSegmentError` and `OSError`."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        try:
            self.result, self._end = self._read_end()
        except BaseException:
            self._file.close()
            raise

    def times(self) -> list[tuple[int, int]]:
        """PTS and DTS of every packet, in decoding order; what they hold is passed over."""
        return [(record[0], record[1]) for record in self._records(skip=True)]

    def packets(self) -> Iterator[StoredPacket]:
        """Every packet, in decoding order."""
        for pts, dts, duration, flags, data in self._records(skip=False):
            yield StoredPacket(pts, dts, duration, bool(flags), data)

    def check(self) -> None:
        """Compare the checksum with what is there."""
        self._file.seek(0)
        digest, left = hashlib.blake2b(digest_size=_DIGEST), self._size - _DIGEST
        while left > 0 and (chunk := self._file.read(min(1 << 20, left))):
            digest.update(chunk)
            left -= len(chunk)
        if left or self._file.read(_DIGEST) != digest.digest():
            raise BrokenSegmentError("its checksum is wrong")

    def close(self) -> None:
        self._file.close()

    def _read_end(self) -> tuple[SegmentResult, int]:
        self._size = self._file.seek(0, os.SEEK_END)
        tail = _LENGTH.size + _DIGEST
        if self._size < len(_MAGIC) + tail:
            raise BrokenSegmentError("it is too short")
        self._file.seek(-tail, os.SEEK_END)
        (length,) = _LENGTH.unpack(self._file.read(_LENGTH.size))
        end = self._size - tail - length
        if end < len(_MAGIC):
            raise BrokenSegmentError("it has no end")
        self._file.seek(end)
        try:
            return SegmentResult.from_json(self._file.read(length)), end
        except (ValueError, KeyError, TypeError) as error:
            raise BrokenSegmentError("its end cannot be read") from error

    def _records(self, *, skip: bool) -> Iterator[tuple[int, int, int, int, bytes]]:
        self._file.seek(len(_MAGIC))
        while self._file.tell() < self._end:
            head = self._file.read(_RECORD.size)
            if len(head) < _RECORD.size:
                raise BrokenSegmentError("a packet is cut off")
            pts, dts, duration, flags, size = _RECORD.unpack(head)
            if skip:
                self._file.seek(size, os.SEEK_CUR)
                yield pts, dts, duration, flags, b""
                continue
            data = self._file.read(size)
            if len(data) < size:
                raise BrokenSegmentError("a packet is cut off")
            yield pts, dts, duration, flags, data


class _Hashing:
    """A file with the digest of all that was written into it."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self._digest = hashlib.blake2b(digest_size=_DIGEST)

    def write(self, data: Any) -> None:
        self.file.write(data)
        self._digest.update(data)

    def end(self) -> None:
        """Add the digest, and see all of it on the disk."""
        self.file.write(self._digest.digest())
        self.file.flush()
        os.fsync(self.file.fileno())


def sync_folder(folder: Path) -> None:
    """See the names in a folder on the disk, where the system can do that."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _plain(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
