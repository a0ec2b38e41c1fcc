"""NDI: the stream is offered to studio programs of the local network, such as OBS and vMix."""

from __future__ import annotations

from typing import Any, Self

import cv2
import numpy as np

from rtstyle.closing import Closing
from rtstyle.errors import OutputError, needs_extra
from rtstyle.frame import Frame, StreamInfo
from rtstyle.media.base import SinkRequest


class NdiSink(Closing):
    """Offers frames under `name`, "rtstyle" by default, with the alpha of those that have one.

    Raises `OutputError` where NDI does not start, and `MissingExtraError` without cyndilib.
    """

    notes: list[str]

    @classmethod
    def from_name(cls, name: str, request: SinkRequest) -> Self:
        """Open `ndi` or `ndi:NAME`."""
        return cls(request.info, name=name.partition(":")[2] or "rtstyle")

    def __init__(self, info: StreamInfo, *, name: str = "rtstyle") -> None:
        with needs_extra("ndi", "NDI"):
            from cyndilib.sender import Sender
            from cyndilib.video_frame import VideoSendFrame
            from cyndilib.wrapper.ndi_structs import FourCC
        video: Any = VideoSendFrame()
        video.set_resolution(info.width, info.height)
        video.set_frame_rate(info.rate)
        video.set_fourcc(FourCC.RGBA)
        self._sender: Any = Sender(name, clock_video=False)
        self._sender.set_video_frame(video)
        try:
            self._sender.open()
        except Exception as error:  # the library's own share no base class but this
            raise OutputError(f"NDI cannot offer {name} ({error}); is the name taken?") from error
        self._picture = np.full((info.height, info.width, 4), 255, np.uint8)
        self.notes = [f"NDI offers {name} on the local network."]

    def write(self, frame: Frame) -> None:
        """Send the frame to whoever receives."""
        cv2.cvtColor(frame.image, cv2.COLOR_RGB2RGBA, dst=self._picture)
        if frame.alpha is not None:
            self._picture[..., 3] = frame.alpha
        self._sender.write_video(self._picture.reshape(-1))

    def finish(self, *, complete: bool = True) -> None:
        """Nothing to complete."""

    def close(self) -> None:
        self._sender.close()
