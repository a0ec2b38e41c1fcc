"""What Linux's video devices say of themselves, asked by ioctl as linux/videodev2.h defines it."""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from rtstyle.media.devices.camera_mode import Camera, Mode

Ioctl = Callable[[int, bytearray], object]  # fills the structure; OSError at the end of a list

_QUERYCAP = 0x80685600
_ENUM_FMT, _ENUM_FMT_SIZE = 0xC0405602, 64
_ENUM_SIZES, _ENUM_SIZES_SIZE = 0xC02C564A, 44
_ENUM_INTERVALS, _ENUM_INTERVALS_SIZE = 0xC034564B, 52
_CAPTURE, _HAS_DEVICE_CAPS = 0x1, 0x80000000
_DISCRETE = 1
# Cameras of continuous size, such as v4l2loopback, are asked for what programs ask for.
_USUAL_SIZES = ((320, 240), (640, 360), (640, 480), (1280, 720), (1920, 1080))
_CODECS = {"MJPG": "mjpeg", "JPEG": "mjpeg", "YUYV": "yuyv422", "UYVY": "uyvy422", "NV12": "nv12",
           "YU12": "yuv420p", "H264": "h264", "RGB3": "rgb24", "BGR3": "bgr24",
           "GREY": "gray"}  # fmt: skip


def find_cameras() -> list[Camera]:
    """Every device that delivers pictures, in the order of its number."""
    found = []
    paths = sorted(Path("/dev").glob("video*"), key=lambda path: (len(path.name), path.name))
    for path in paths:
        with suppress(OSError):
            if camera := _asked(path):
                found.append(camera)
    return found


def camera_of(path: Path, ioctl: Ioctl) -> Camera | None:
    """The camera behind an open device; None when it delivers no pictures."""
    answer = bytearray(104)
    ioctl(_QUERYCAP, answer)
    card = bytes(answer[16:48]).partition(b"\0")[0].decode(errors="replace")
    capabilities, of_device = struct.unpack_from("II", answer, 84)
    if not (of_device if capabilities & _HAS_DEVICE_CAPS else capabilities) & _CAPTURE:
        return None
    modes = (
        Mode(width, height, rate, codec)
        for pixels, codec in _formats(ioctl)
        for width, height in _sizes(ioctl, pixels)
        for rate in _rates(ioctl, pixels, width, height)
    )
    return Camera(str(path), card, tuple(sorted(set(modes))))


def _asked(path: Path) -> Camera | None:
    if sys.platform == "win32":
        return None
    import fcntl

    handle = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        return camera_of(path, lambda request, data: fcntl.ioctl(handle, request, data))
    finally:
        os.close(handle)


def _formats(ioctl: Ioctl) -> Iterator[tuple[int, str]]:
    for answer in _listed(ioctl, _ENUM_FMT, _ENUM_FMT_SIZE, (1,)):
        (pixels,) = struct.unpack_from("I", answer, 44)
        name = pixels.to_bytes(4, "little").decode("ascii", errors="replace")
        if name in _CODECS:
            yield pixels, _CODECS[name]


def _sizes(ioctl: Ioctl, pixels: int) -> Iterator[tuple[int, int]]:
    for answer in _listed(ioctl, _ENUM_SIZES, _ENUM_SIZES_SIZE, (pixels,)):
        kind, *sides = struct.unpack_from("7I", answer, 8)
        if kind == _DISCRETE:
            yield sides[0], sides[1]
            continue
        for width, height in _USUAL_SIZES:
            if sides[0] <= width <= sides[1] and sides[3] <= height <= sides[4]:
                yield width, height
        return


def _rates(ioctl: Ioctl, pixels: int, width: int, height: int) -> Iterator[float]:
    any_rate = False
    for answer in _listed(ioctl, _ENUM_INTERVALS, _ENUM_INTERVALS_SIZE, (pixels, width, height)):
        kind, numerator, denominator = struct.unpack_from("3I", answer, 16)
        any_rate = True
        yield round(denominator / max(numerator, 1), 3)  # of a range: its shortest interval
        if kind != _DISCRETE:
            return
    if not any_rate:
        yield 30.0  # a driver without rates


def _listed(ioctl: Ioctl, request: int, size: int, about: tuple[int, ...]) -> Iterator[bytearray]:
    for index in range(256):
        answer = bytearray(size)
        struct.pack_into(f"{1 + len(about)}I", answer, 0, index, *about)
        try:
            ioctl(request, answer)
        except OSError:
            return
        yield answer
