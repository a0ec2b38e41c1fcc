"""The cameras that are plugged in and the modes they offer.

Linux is asked by ioctl, as linux/videodev2.h defines it; Windows and macOS through the list that
FFmpeg's dshow or avfoundation input logs.
"""

from __future__ import annotations

import os
import re
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import av
import av.device
from av import logging as av_logging
from av.error import FFmpegError

from rtstyle.media.options import CameraMode

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

_DSHOW = re.compile(
    r"(?:pixel_format|vcodec)=(\w+)\s+min s=\d+x\d+ fps=[\d.]+ max s=(\d+)x(\d+) fps=([\d.]+)"
)
_AVFOUNDATION = re.compile(r"(\d+)x(\d+)@\[[\d.]+ ([\d.]+)\]fps")

Ioctl = Callable[[int, bytearray], object]  # fills the structure; OSError at the end of a list


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera that is plugged in: its address for FFmpeg, its name, its modes where known."""

    address: str
    name: str
    modes: tuple[CameraMode, ...] = ()


def find_cameras(platform: str = sys.platform) -> list[Camera]:
    """The cameras that are plugged in, with their modes where the system lists them."""
    if platform.startswith("linux"):
        return _v4l2_cameras()
    format_ = input_format(platform)
    found = []
    for index, device in enumerate(_listed_devices(format_)):
        address = str(index) if platform == "darwin" else f"video={device.description}"
        found.append(Camera(address, device.description, _listed_modes(address, format_)))
    return found


def input_format(platform: str) -> str:
    """The name of FFmpeg's camera input on this system."""
    return {"win32": "dshow", "darwin": "avfoundation"}.get(platform, "v4l2")


def parse_modes(log: str) -> tuple[CameraMode, ...]:
    """The modes that FFmpeg's dshow or avfoundation input lists in its `log`."""
    found = {
        CameraMode(int(width), int(height), float(rate), codec)
        for codec, width, height, rate in _DSHOW.findall(log)
    }
    found |= {
        CameraMode(int(width), int(height), float(rate), "raw")
        for width, height, rate in _AVFOUNDATION.findall(log)
    }
    return tuple(sorted(found))


def camera_of(path: Path, ioctl: Ioctl) -> Camera | None:
    """The camera behind an open V4L2 device; None when it delivers no pictures."""
    answer = bytearray(104)
    ioctl(_QUERYCAP, answer)
    name = bytes(answer[16:48]).partition(b"\0")[0].decode(errors="replace")
    capabilities, of_device = struct.unpack_from("II", answer, 84)
    if not (of_device if capabilities & _HAS_DEVICE_CAPS else capabilities) & _CAPTURE:
        return None
    modes = (
        CameraMode(width, height, rate, codec)
        for pixels, codec in _formats(ioctl)
        for width, height in _sizes(ioctl, pixels)
        for rate in _rates(ioctl, pixels, width, height)
    )
    return Camera(str(path), name, tuple(sorted(set(modes))))


def _v4l2_cameras() -> list[Camera]:
    """Every device that delivers pictures, in the order of its number."""
    if sys.platform == "win32":
        return []
    import fcntl

    found = []
    for path in sorted(Path("/dev").glob("video*"), key=lambda path: (len(path.name), path.name)):
        with suppress(OSError):
            handle = os.open(path, os.O_RDWR | os.O_NONBLOCK)
            try:
                camera = camera_of(path, lambda request, data: fcntl.ioctl(handle, request, data))  # noqa: B023
            finally:
                os.close(handle)
            if camera:
                found.append(camera)
    return found


def _formats(ioctl: Ioctl) -> Iterator[tuple[int, str]]:
    for answer in _entries(ioctl, _ENUM_FMT, _ENUM_FMT_SIZE, (1,)):
        (pixels,) = struct.unpack_from("I", answer, 44)
        name = pixels.to_bytes(4, "little").decode("ascii", errors="replace")
        if name in _CODECS:
            yield pixels, _CODECS[name]


def _sizes(ioctl: Ioctl, pixels: int) -> Iterator[tuple[int, int]]:
    for answer in _entries(ioctl, _ENUM_SIZES, _ENUM_SIZES_SIZE, (pixels,)):
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
    for answer in _entries(ioctl, _ENUM_INTERVALS, _ENUM_INTERVALS_SIZE, (pixels, width, height)):
        kind, numerator, denominator = struct.unpack_from("3I", answer, 16)
        any_rate = True
        yield round(denominator / max(numerator, 1), 3)  # of a range: its shortest interval
        if kind != _DISCRETE:
            return
    if not any_rate:
        yield 30.0  # a driver without rates


def _entries(ioctl: Ioctl, request: int, size: int, about: tuple[int, ...]) -> Iterator[bytearray]:
    for index in range(256):
        answer = bytearray(size)
        struct.pack_into(f"{1 + len(about)}I", answer, 0, index, *about)
        try:
            ioctl(request, answer)
        except OSError:
            return
        yield answer


def _listed_devices(format_: str) -> list[av.device.DeviceInfo]:
    try:
        devices = av.device.enumerate_input_devices(format_)
    except (FFmpegError, ValueError):
        return []
    return [
        device
        for device in devices
        if "video" in device.media_types and "Capture screen" not in device.description
    ]


def _listed_modes(address: str, format_: str) -> tuple[CameraMode, ...]:
    """dshow lists modes when asked to, avfoundation when asked for one that cannot be."""
    options = {"list_options": "true"} if format_ == "dshow" else {"video_size": "1x1"}
    level = av_logging.get_level()
    av_logging.set_level(av_logging.INFO)
    try:
        with av_logging.Capture(local=False) as lines, suppress(FFmpegError):
            av.open(address, "r", format=format_, container_options=options).close()
    finally:
        av_logging.set_level(level)
    return parse_modes("".join(text for _, _, text in lines))
