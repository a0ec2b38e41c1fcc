"""Pictures from strangers: measured before they are decoded."""

from __future__ import annotations

import struct

import cv2
import numpy as np

from rtstyle.errors import MediaError
from rtstyle.frame import Image

_EXPECTED = "a JPEG, PNG or WebP picture was expected"


def decode_upload(data: bytes, *, max_pixels: int) -> Image:
    """The picture in `data` as (H, W, 3) RGB, turned upright. Raises `MediaError`."""
    size = picture_size(data)
    if size is None:
        raise MediaError(f"This file cannot be used; {_EXPECTED}.")
    width, height = size
    if not 0 < width * height <= max_pixels:
        raise MediaError(
            f"This picture has {width}×{height} pixels; at most {max_pixels // 1_000_000} "
            "megapixels are taken."
        )
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        decoded = None
    if decoded is None:
        raise MediaError(f"This picture is damaged; {_EXPECTED}.")
    if min(decoded.shape[:2]) < 16:
        raise MediaError("This picture is too small for a style; at least 16×16 is needed.")
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


def picture_size(data: bytes) -> tuple[int, int] | None:
    """Width and height as the file's own header says; None for anything but the three formats."""
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n") and data[12:16] == b"IHDR":
            width, height = struct.unpack_from(">II", data, 16)
            return width, height
        if data.startswith(b"\xff\xd8"):
            return _jpeg_size(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp_size(data)
    except (struct.error, IndexError):
        pass  # cut off within its header
    return None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """From the frame header, ITU-T T.81 B.2.2; the segments before it are skipped."""
    at = 2
    while at < len(data):
        if data[at] != 0xFF:
            return None
        kind = data[at + 1]
        if kind == 0xFF or 0xD0 <= kind <= 0xD8 or kind == 0x01:  # fill bytes, no length
            at += 1 if kind == 0xFF else 2
            continue
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        (length,) = struct.unpack_from(">H", data, at + 2)
        at += 2 + length
    return None


def _webp_size(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        sides = int.from_bytes(data[24:27], "little"), int.from_bytes(data[27:30], "little")
        return sides[0] + 1, sides[1] + 1
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None
