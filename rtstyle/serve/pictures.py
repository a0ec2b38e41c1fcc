"""Pictures of the page: uploads, measured before they are decoded, and the styles' thumbnails."""

from __future__ import annotations

import struct
from threading import Lock

import cv2
import numpy as np

from rtstyle.demo import sample_photos
from rtstyle.errors import MediaError, OutputError
from rtstyle.frame import Image
from rtstyle.image import Look, finish, geometry, prepare
from rtstyle.live.engine_pool import Canvas, EnginePool
from rtstyle.style.style import Style

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


WIDTH, HEIGHT = 288, 216


class Thumbnails:
    """A thumbnail of each style, made when it is first asked for, by one thread at a time."""

    def __init__(self, pool: EnginePool) -> None:
        self._pool = pool
        self._lock = Lock()
        self._done: dict[str, bytes] = {}
        self._photo: Image | None = None

    def jpeg(self, style: Style) -> bytes:
        """The thumbnail as a JPEG file. Takes a while the first time; raises `EngineError`."""
        with self._lock:
            if style.name not in self._done:
                if self._photo is None:
                    self._photo = _portrait(sample_photos()[0])
                self._done[style.name] = encoded(self._stylized(style, self._photo))
            return self._done[style.name]

    def of(self, style: Style, picture: Image) -> bytes:
        """One of another picture (H, W, 3), not kept."""
        with self._lock:
            return encoded(self._stylized(style, _middle(picture)))

    def _stylized(self, style: Style, photo: Image) -> Image:
        look = Look()
        size = geometry(*photo.shape[:2], model=style.model, look=look).padded
        engine = self._pool.lease(Canvas(style.model, size))
        try:
            batch = prepare(photo, model=engine.model, look=look)
            stylized = engine.submit(batch, style.vector).result()
            return finish(stylized, photo, model=engine.model, look=look)
        finally:
            self._pool.release(engine)


def _portrait(photo: Image) -> Image:
    """The upper part, where the face is, at the size of a thumbnail."""
    height, width = photo.shape[:2]
    rows = min(height, width * HEIGHT // WIDTH)
    scaled = cv2.resize(photo[:rows], (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(scaled, np.uint8)


def _middle(picture: Image) -> Image:
    """The largest part of a thumbnail's shape, at its size."""
    height, width = picture.shape[:2]
    rows, columns = min(height, width * HEIGHT // WIDTH), min(width, height * WIDTH // HEIGHT)
    top, left = (height - rows) // 2, (width - columns) // 2
    part = np.ascontiguousarray(picture[top : top + rows, left : left + columns])
    return np.asarray(cv2.resize(part, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), np.uint8)


def encoded(image: Image, suffix: str = ".jpg") -> bytes:
    """The picture (H, W, 3) as a file of that kind. Raises `OutputError`."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    quality = [cv2.IMWRITE_JPEG_QUALITY, 88] if suffix == ".jpg" else []
    done, data = cv2.imencode(suffix, bgr, quality)
    if not done:
        raise OutputError(f"A picture cannot be encoded as {suffix}.")
    return data.tobytes()
