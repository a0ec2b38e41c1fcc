"""A camera as a live source, opened by FFmpeg's input of the system."""

from __future__ import annotations

import errno
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import av
import av.device
from av import logging as av_logging
from av.error import FFmpegError

from rtstyle.errors import MediaError
from rtstyle.media.devices import v4l2
from rtstyle.media.devices.camera_mode import Camera, Mode, nearest, parse_modes
from rtstyle.media.devices.capture import AvDevice, Input
from rtstyle.media.devices.source import LiveSource, Patience
from rtstyle.media.video.container import reason

_TRY_WITHOUT = "or try without a camera: --from lavfi:testsrc2=size=640x360:rate=30"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """What a camera is asked for; the nearest that it has is taken. `codec` is FFmpeg's name."""

    width: int = 1280
    height: int = 720
    rate: float = 30
    codec: str = "mjpeg"

    def mode(self) -> Mode:
        return Mode(self.width, self.height, self.rate, self.codec)


class WebcamSource(LiveSource):
    """The camera that `which` names: a number, a part of its name, or "/dev/video0".

    Raises `MediaError` that says what is wrong: no camera, busy, permission denied.
    """

    def __init__(
        self, which: str = "0", capture: Capture | None = None, *, patience: Patience | None = None
    ) -> None:
        wanted = (capture or Capture()).mode()
        camera = chosen(which, find_cameras())
        super().__init__(camera.name, lambda: _opened(camera, wanted), patience=patience)


def find_cameras(platform: str = sys.platform) -> list[Camera]:
    """The cameras that are plugged in, with their modes where the system tells them."""
    if platform.startswith("linux"):
        return v4l2.find_cameras()
    format_ = _format(platform)
    found = []
    for index, device in enumerate(_video_devices(format_)):
        address = str(index) if platform == "darwin" else f"video={device.description}"
        found.append(Camera(address, device.description, _told_modes(address, format_)))
    return found


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


def _opened(camera: Camera, wanted: Mode) -> AvDevice:
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


def _input(camera: Camera, mode: Mode | None, platform: str = sys.platform) -> Input:
    format_ = _format(platform)
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


def _format(platform: str) -> str:
    return {"win32": "dshow", "darwin": "avfoundation"}.get(platform, "v4l2")


def _video_devices(format_: str) -> list[av.device.DeviceInfo]:
    try:
        devices = av.device.enumerate_input_devices(format_)
    except (FFmpegError, ValueError):
        return []
    return [
        device
        for device in devices
        if "video" in device.media_types and "Capture screen" not in device.description
    ]


def _told_modes(address: str, format_: str) -> tuple[Mode, ...]:
    """dshow lists modes when asked, avfoundation when asked for one that cannot be."""
    options = {"list_options": "true"} if format_ == "dshow" else {"video_size": "1x1"}
    level = av_logging.get_level()
    av_logging.set_level(av_logging.INFO)
    try:
        with av_logging.Capture(local=False) as lines, suppress(FFmpegError):
            av.open(address, "r", format=format_, container_options=options).close()
    finally:
        av_logging.set_level(level)
    return parse_modes("".join(text for _, _, text in lines))
