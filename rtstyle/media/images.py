"""Image files: read as RGB, written whole or not at all."""

from __future__ import annotations

import struct
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.sidedata.sidedata import Type
from numpy.typing import NDArray

from rtstyle.errors import InputNotFoundError, MediaError, OutputError, needs_extra
from rtstyle.files import check_output, write_output
from rtstyle.frame import Image
from rtstyle.media.options import HEIF_SUFFIXES, PICTURE_SUFFIXES
from rtstyle.media.video.side_data import EXIF, side_data_of

_HAS_METADATA = (".jpg", ".jpeg", ".png", ".webp")  # that OpenCV reads and writes
_ORIENTATION = 0x0112  # EXIF's tag
_QUALITY = {
    ".jpg": [cv2.IMWRITE_JPEG_QUALITY, 95],
    ".jpeg": [cv2.IMWRITE_JPEG_QUALITY, 95],
    ".webp": [cv2.IMWRITE_WEBP_QUALITY, 95],
}

ALPHA_SUFFIXES = (".png", ".webp", ".tif", ".tiff")


def read_picture(path: Path) -> tuple[Image, bool]:
    """The picture as (H, W, 3) uint8 RGB, upright, and whether transparency was dropped.

    Turned as its EXIF data says; 16-bit is reduced to 8, grey becomes RGB. Raises
    `InputNotFoundError` and `MediaError`.
    """
    data = _read(path)
    if path.suffix.lower() in HEIF_SUFFIXES:
        return _decoded_heif(path, data)
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


def _decoded_heif(path: Path, data: bytes) -> tuple[Image, bool]:
    with needs_extra("heic", f"{path} is a HEIC photograph, which"):
        import pillow_heif
    try:
        photo = pillow_heif.open_heif(data, convert_hdr_to_8bit=True, reload_size=True)
        found = np.asarray(photo)
    except (ValueError, EOFError, SyntaxError, RuntimeError) as error:
        why = " ".join(str(error).split())
        raise MediaError(
            f"{path} is not a picture that can be read ({why}); expected a whole HEIC file."
        ) from error
    if photo.mode.startswith("L"):
        found = found.reshape(*found.shape[:2], -1)[..., :1].repeat(3, 2)
    return np.ascontiguousarray(found[..., :3], np.uint8), photo.has_alpha


def _read(path: Path) -> bytes:
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
    return data


def read_animation(path: Path) -> tuple[list[Image], list[Fraction]]:
    """Every picture of a WebP animation as `read_picture` gives them, and seconds to show each.

    Raises `MediaError`.
    """
    data = _read(path)
    found, animation = cv2.imdecodeanimation(np.frombuffer(data, np.uint8))
    if not found or _is_cut_off(data):
        raise MediaError(f"the animation {path} is damaged: it cannot be decoded to its end.")
    pictures = [cv2.cvtColor(p[..., :3], cv2.COLOR_BGR2RGB) for p in animation.frames]
    seconds = [Fraction(int(ms) or 100, 1000) for ms in animation.durations]
    return [np.asarray(p, np.uint8) for p in pictures], seconds


def write_picture(path: Path, image: Image, *, overwrite: bool, like: Path | None = None) -> None:
    """Write a picture, (H, W, 3) or with alpha (H, W, 4), under its final name in one step; quality
    95 where the format is lossy.

    EXIF, XMP and the colour profile are those of the picture `like`, where both formats have them.
    Raises `OutputExistsError` and `OutputError`.
    """
    check_output(path, overwrite=overwrite)
    suffix = path.suffix.lower()
    try:
        has_alpha = image.shape[2] == 4
        if has_alpha and suffix not in ALPHA_SUFFIXES:
            raise OutputError(f"{path} cannot hold transparency; use {' '.join(ALPHA_SUFFIXES)}.")
        bgr = cv2.cvtColor(image, cv2.COLOR_RGBA2BGRA if has_alpha else cv2.COLOR_RGB2BGR)
        kinds, texts = _metadata(like) if like and suffix in _HAS_METADATA else ([], [])
        encoded, data = cv2.imencodeWithMetadata(
            path.suffix, bgr, kinds, texts, _QUALITY.get(suffix, [])
        )
    except cv2.error as error:
        raise OutputError(f"{path} cannot be written: {error}.") from error
    if not encoded:
        height, width = image.shape[:2]
        raise OutputError(
            f"{path} cannot be encoded: {width}×{height} is too large for its format."
        )
    write_output(path, data.tobytes(), overwrite=overwrite)


def _metadata(path: Path) -> tuple[list[int], list[Any]]:
    """The kinds of metadata in a picture file, as OpenCV numbers them, and their bytes."""
    found: dict[int, NDArray[np.uint8]] = {}
    suffix = path.suffix.lower()
    with suppress(OSError, ValueError, StopIteration, av.FFmpegError, cv2.error):
        if suffix in HEIF_SUFFIXES:
            found = _metadata_of_heif(path)
        elif suffix == ".avif":
            found = _metadata_of_avif(path)
        elif suffix in _HAS_METADATA:
            data = np.frombuffer(path.read_bytes(), np.uint8)
            _, kinds, texts = cv2.imdecodeWithMetadata(data, flags=cv2.IMREAD_REDUCED_GRAYSCALE_8)
            values = (np.asarray(text, np.uint8).ravel() for text in texts)
            found = dict(zip(map(int, kinds), values, strict=True))
    if (exif := found.get(cv2.IMAGE_METADATA_EXIF)) is not None:
        upright = np.frombuffer(as_painted(exif.tobytes()), np.uint8)
        found[cv2.IMAGE_METADATA_EXIF] = upright
    return list(found), list(found.values())


def _metadata_of_heif(path: Path) -> dict[int, NDArray[np.uint8]]:
    import pillow_heif

    info = pillow_heif.open_heif(path).info
    kinds = {cv2.IMAGE_METADATA_EXIF: "exif", cv2.IMAGE_METADATA_ICCP: "icc_profile"}
    found = {
        number: (info.get(kind) or b"").removeprefix(b"Exif\0\0") for number, kind in kinds.items()
    }
    return {number: np.frombuffer(value, np.uint8) for number, value in found.items() if value}


def _metadata_of_avif(path: Path) -> dict[int, NDArray[np.uint8]]:
    kinds = {cv2.IMAGE_METADATA_EXIF: EXIF, cv2.IMAGE_METADATA_ICCP: Type.ICC_PROFILE}
    with av.open(str(path)) as container:
        data = side_data_of(next(container.decode(video=0)))
        return {
            number: np.frombuffer(bytes(data[kind]), np.uint8)
            for number, kind in kinds.items()
            if kind in data
        }


def as_painted(exif: bytes) -> bytes:
    """EXIF data that fits the painted picture: it stands upright, and has no thumbnail."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    data = bytearray(exif)
    with suppress(struct.error):
        if order is not None:
            (first,) = struct.unpack_from(f"{order}I", data, 4)
            (entries,) = struct.unpack_from(f"{order}H", data, first)
            end = first + 2 + 12 * entries
            struct.pack_into(f"{order}I", data, end, 0)  # where the thumbnail's directory would be
            for entry in range(first + 2, end, 12):
                if struct.unpack_from(f"{order}H", data, entry) == (_ORIENTATION,):
                    struct.pack_into(f"{order}H", data, entry + 8, 1)
    return bytes(data)


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
