"""A camera as a live source, opened by FFmpeg's input of the system."""

from __future__ import annotations

import errno
import math
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from av.error import FFmpegError

from rtstyle.errors import MediaError
from rtstyle.media.devices.cameras import Camera, find_cameras, input_format
from rtstyle.media.devices.capture import AvDevice, Input
from rtstyle.media.devices.source import LiveSource, Patience
from rtstyle.media.options import CameraMode, ReadOptions
from rtstyle.media.video.container import reason

_TRY_WITHOUT = "or try without a camera: --from lavfi:testsrc2=size=640x360:rate=30"


class WebcamSource(LiveSource):
    """The camera that `which` names: a number, a part of its name, or "/dev/video0".

    Raises `MediaError` that says what is wrong: no camera, busy, permission denied.
    """

    @classmethod
    def from_name(cls, name: str, reading: ReadOptions) -> Self:
        """Open `webcam`, `webcam:WHICH` or `/dev/videoN`."""
        which = name if name.startswith("/dev/video") else name.partition(":")[2] or "0"
        return cls(which, reading.camera)

    def __init__(
        self,
        which: str = "0",
        wanted: CameraMode = CameraMode(),  # noqa: B008
        *,
        patience: Patience | None = None,
    ) -> None:
        camera = chosen(which, find_cameras())
        super().__init__(camera.name, lambda: _opened(camera, wanted), patience=patience)


def chosen(which: str, cameras: list[Camera]) -> Camera:
    """The camera that `which` names. Raises `MediaError` with those that there are."""
    if not cameras:
        raise MediaError(f"No camera was found; plug one in, {_TRY_WITHOUT}.")
    for camera in cameras:
        if which in (camera.address, camera.name) or (
            which.isdecimal() and camera.address == f"/dev/video{which}"
        ):
            return camera
    if which.isdecimal() and int(which) < len(cameras):
        return cameras[int(which)]
    alike = [c for c in cameras if not which.isdecimal() and which.casefold() in c.name.casefold()]
    if alike and not Path(which).is_absolute():
        return alike[0]
    there = ", ".join(f"{c.name} ({c.address})" for c in cameras)
    raise MediaError(f"There is no camera {which!r}; there are: {there}.")


def nearest(wanted: CameraMode, modes: Iterable[CameraMode]) -> CameraMode | None:
    """The mode nearest to `wanted`: by size, then shape, then rate, then codec; None without any.

    A camera too slow is worse than one too fast, and another codec only costs some decoding.
    """

    def distance(mode: CameraMode) -> tuple[float, float, float, bool]:
        area = abs(math.log(mode.width * mode.height / (wanted.width * wanted.height)))
        shape = abs(math.log(mode.width / mode.height * wanted.height / wanted.width))
        rate = math.log(wanted.rate / mode.rate) if mode.rate > 0 else math.inf
        return (round(area + 2 * shape, 3), max(rate, 0.0), -min(rate, 0.0),
                mode.codec != wanted.codec)  # fmt: skip

    return min(modes, key=distance, default=None)


def _opened(camera: Camera, wanted: CameraMode) -> AvDevice:
    """Open the camera in the nearest mode, or in its own when it takes none."""
    mode = nearest(wanted, camera.modes) or wanted
    try:
        device = AvDevice(_input(camera, mode))
    except FFmpegError as error:
        if error.errno not in (errno.EINVAL, errno.EIO):
            raise _explained(camera, error) from error
        try:
            device = AvDevice(_input(camera, None))
        except FFmpegError as second:
            raise _explained(camera, second) from second
    got = (device.info.width, device.info.height)
    if got != (wanted.width, wanted.height) or mode.rate < wanted.rate:
        device.note = (
            f"{camera.name} has no {wanted}; the nearest it has was taken: "
            f"{got[0]}×{got[1]} at {float(device.info.rate):g}/s"
        )
    return device


def _input(camera: Camera, mode: CameraMode | None, platform: str = sys.platform) -> Input:
    format_ = input_format(platform)
    options = {}
    if mode is not None:
        options = {"video_size": f"{mode.width}x{mode.height}", "framerate": f"{mode.rate:g}"}
        if format_ == "v4l2":
            options["input_format"] = mode.codec
        elif format_ == "dshow" and mode.codec != "raw":
            key = "vcodec" if mode.codec in ("mjpeg", "h264") else "pixel_format"
            options[key] = mode.codec
    if format_ == "dshow":
        options["rtbufsize"] = "64M"
    return Input(name=camera.name, url=camera.address, format=format_, options=options)


def _explained(camera: Camera, error: FFmpegError) -> MediaError:
    """One sentence for what a driver answers."""
    name = f"The camera {camera.name} ({camera.address})"
    match error.errno:
        case errno.EBUSY:
            return MediaError(f"{name} is busy: close the other program that uses it.")
        case errno.EACCES | errno.EPERM:
            return MediaError(
                f"{name} may not be opened: permission denied; on Linux add yourself to the group "
                "video, elsewhere allow the terminal to use the camera."
            )
        case errno.ENOENT | errno.ENODEV | errno.ENXIO:
            return MediaError(f"{name} is gone; plug it in, {_TRY_WITHOUT}.")
        case _:
            return MediaError(f"{name} cannot be opened: {reason(error)}.")
