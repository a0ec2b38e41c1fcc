"""Whether a file ends before its own header says, where its demuxer would end without a word."""

from __future__ import annotations

from pathlib import Path

_EBML = b"\x1a\x45\xdf\xa3"
_SEGMENT = b"\x18\x53\x80\x67"


def is_cut_off(path: Path) -> bool:
    """True for a Matroska, WebM or AVI file shorter than its header states.

    Other formats either tell their demuxer (mp4) or state no size (MPEG-TS).
    """
    with path.open("rb") as file:
        head = file.read(4096)
    size = path.stat().st_size
    if head[:4] == b"RIFF":
        stated = int.from_bytes(head[4:8], "little")
        return 0 < stated < 0xFFFFFFFF and stated + 8 > size
    if head[:4] == _EBML:
        end = _segment_end(head)
        return end is not None and end > size
    return False


def _segment_end(head: bytes) -> int | None:
    """Where the Matroska segment ends; None when the file does not say, as live ones do not."""
    length, at = _variable_int(head, 4)
    at += length or 0
    if head[at : at + 4] != _SEGMENT:
        return None
    length, at = _variable_int(head, at + 4)
    return None if length is None else at + length


def _variable_int(data: bytes, at: int) -> tuple[int | None, int]:
    """An EBML variable-length integer and the position after it; all ones mean unknown."""
    first = data[at]
    width = 9 - first.bit_length()  # leading zeros tell how many bytes follow
    value = int.from_bytes(data[at : at + width], "big") & ((1 << 7 * width) - 1)
    return (None if value == (1 << 7 * width) - 1 else value), at + width
