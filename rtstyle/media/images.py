"""Image files: read as RGB, written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from rtstyle.errors import InputNotFoundError, MediaError, OutputError
from rtstyle.files import check_output, write_output
from rtstyle.frame import Image
from rtstyle.media.options import PICTURE_SUFFIXES

_QUALITY = {
    ".jpg": [cv2.IMWRITE_JPEG_QUALITY, 95],
    ".jpeg": [cv2.IMWRITE_JPEG_QUALITY, 95],
    ".webp": [cv2.IMWRITE_WEBP_QUALITY, 95],
}


def read_picture(path: Path) -> tuple[Image, bool]:
    """The picture as (H, W, 3) uint8 RGB, upright, and whether transparency was dropped.

    Turned as its EXIF data says; 16-bit is reduced to 8, grey becomes RGB. Raises
    `InputNotFoundError` and `MediaError`.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputNotFoundError(f"There is no file {path}; check its name.") from None
    except IsADirectoryError:
        raise MediaError(f"A picture was expected, but {path} is a folder.") from None
    except OSError as error:
        raise MediaError(f"{path} cannot be read: {error.strerror or error}.") from error
    if not data:
        raise MediaError(f"{path} is empty (0 bytes); a picture was expected.")
    if _is_cut_off(data):
        raise MediaError(f"the picture {path} is damaged: the file ends too early.")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        image = None
    if image is None:
        raise MediaError(
            f"{path} is not a picture that can be read; expected a whole "
            f"{', '.join(s[1:] for s in PICTURE_SUFFIXES)} file."
        )
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8), _has_alpha(data)


def write_picture(path: Path, image: Image, *, overwrite: bool) -> None:
    """Write a picture under its final name in one step; quality 95 where the format is lossy.

    Raises `OutputExistsError` and `OutputError`.
    """
    check_output(path, overwrite=overwrite)
    try:
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        encoded, data = cv2.imencode(path.suffix, bgr, _QUALITY.get(path.suffix.lower(), []))
    except cv2.error as error:
        raise OutputError(f"{path} cannot be written: {error}.") from error
    if not encoded:
        height, width = image.shape[:2]
        raise OutputError(
            f"{path} cannot be encoded: {width}×{height} is too large for its format."
        )
    write_output(path, data.tobytes(), overwrite=overwrite)


def _is_cut_off(data: bytes) -> bool:
    """Whether a JPEG, PNG or WebP file lacks its end, which the decoders would paint grey."""
    if data.startswith(b"\xff\xd8"):  # an end-of-image marker after the last start-of-scan
        return data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data
    if data.startswith(b"RIFF"):
        return int.from_bytes(data[4:8], "little") + 8 > len(data)
    return False


def _has_alpha(data: bytes) -> bool:
    if data.startswith(b"\x89PNG"):
        return data[25] in (4, 6) or b"tRNS" in data[:1024]  # colour types with alpha
    if data.startswith(b"RIFF"):
        return (data[12:16] == b"VP8X" and bool(data[20] & 0x10)) or (
            data[12:16] == b"VP8L" and bool(data[24] & 0x10)
        )
    return False
