"""A region of the screen as a live source."""

from __future__ import annotations

import os
import re
import sys

from av.error import FFmpegError

from rtstyle.errors import MediaError, UsageError
from rtstyle.media.av_device import AvDevice, Input
from rtstyle.media.container import reason
from rtstyle.media.live_source import LiveSource

_REGION = re.compile(r"(?:(\d+)x(\d+))?(?:\+(\d+)\+(\d+))?")


class ScreenSource(LiveSource):
    """Films the screen, or the `region` "WIDTHxHEIGHT+X+Y" of it, `rate` times a second.

    Raises `UsageError` for another kind of region and `MediaError` where no screen can be filmed.
    """

    def __init__(self, region: str = "", *, rate: int = 30) -> None:
        source = screen_input(region, rate=rate)

        def film() -> AvDevice:
            try:
                return AvDevice(source)
            except (FFmpegError, ValueError) as error:
                why = reason(error) if isinstance(error, FFmpegError) else str(error)
                raise MediaError(
                    f"The {source.name} cannot be filmed: {why}; check that the region lies on it."
                ) from error

        super().__init__(source.name, film)


def screen_input(region: str, *, rate: int, platform: str = sys.platform) -> Input:
    """What FFmpeg is to open to film `region`."""
    match = _REGION.fullmatch(region)
    if match is None:
        raise UsageError(f"A screen region is written as 640x360+100+50, not {region!r}.")
    width, height, x, y = match.groups()
    options = {"framerate": str(rate)}
    if width:
        options["video_size"] = f"{width}x{height}"
    if platform == "win32":
        options |= {"offset_x": x or "0", "offset_y": y or "0"}
        return Input(name="screen", url="desktop", format="gdigrab", options=options)
    if platform == "darwin":
        if region:
            raise UsageError("On macOS the whole screen is filmed; leave the region out.")
        return Input(name="screen", url="Capture screen 0", format="avfoundation", options=options)
    display = os.environ.get("DISPLAY")
    if not display:
        raise MediaError("There is no X display to film; DISPLAY is not set.")
    url = f"{display}+{x or 0},{y or 0}"
    return Input(name="screen", url=url, format="x11grab", options=options)
