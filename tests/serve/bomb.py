"""A picture that is small as a file and enormous as a picture."""

from __future__ import annotations

import struct
import zlib


def png_bomb(width: int = 60_000, height: int = 60_000) -> bytes:
    """A small PNG file that says it has 3.6 gigapixels, and begins to deliver them."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(20_000_000), 9)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )
