"""Video between a browser's WebRTC connection, in asyncio, and the session's threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from fractions import Fraction
from threading import Event, Lock
from time import perf_counter
from typing import Any

import cv2
import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from rtstyle.channel import Channel
from rtstyle.closing import Closing
from rtstyle.frame import Frame, Image, StreamInfo
from rtstyle.media.base import Origin
from rtstyle.media.devices.source import TIME_BASE

_REMEMBERED = 256  # frames that may be on their way
_MAX_PIXELS = 1920 * 1080  # of a picture from a browser; larger ones are scaled down


class TrackSource(Closing):
    """A browser's camera. `push` is called in asyncio, `frames` in a thread.

    `info` is that of the first frame; browsers change the size with the network's bandwidth.
    """

    notes: list[str]
    origin: Origin | None

    def __init__(self, first: VideoFrame) -> None:
        self.notes, self.origin, self.notice = [], None, ""
        self.info = StreamInfo(first.width, first.height, Fraction(30), TIME_BASE)
        self.last_push = perf_counter()
        self._started = perf_counter()
        self._pictures: Channel[tuple[float, VideoFrame]] = Channel(1, newest_wins=True)
        self._closed = Event()
        self._reformatter = VideoReformatter()
        self._newest = first
        self._pts: dict[int, int] = {}
        self.push(first)

    def push(self, frame: VideoFrame) -> None:
        """Take the next frame; never waits."""
        self.last_push = perf_counter()
        self._newest = frame
        self._pictures.put((self.last_push, frame))

    def pts(self, ticks: int) -> int | None:
        """The browser's own pts of the frame of that time, for as long as that can be asked."""
        return self._pts.get(ticks)

    def newest(self) -> Image:
        """The newest picture."""
        return self._rgb(self._newest, VideoReformatter())

    def clock(self) -> float:
        """The time now in seconds, on the clock of the frames' times."""
        return perf_counter() - self._started

    def frames(self) -> Iterator[Frame]:
        """Frames until the source is closed."""
        index, last = 0, -1
        while not self._closed.is_set():
            received = self._pictures.take(1.0)
            if received is None:
                self.notice = "No pictures come from the browser."
                continue
            self.notice = ""
            last = max(round((received[0] - self._started) / TIME_BASE), last + 1)
            self._pts[last] = received[1].pts or 0
            if len(self._pts) > _REMEMBERED:
                del self._pts[next(iter(self._pts))]
            yield Frame(self._rgb(received[1], self._reformatter), last * TIME_BASE, index)
            index += 1

    def close(self) -> None:
        """End `frames`. Safe from any thread."""
        self._closed.set()
        self._pictures.cancel()

    @staticmethod
    def _rgb(frame: VideoFrame, reformatter: VideoReformatter) -> Image:
        # WebRTC's video is BT.601 of limited range unless it says otherwise, which it never does.
        converted = reformatter.reformat(
            frame, format="rgb24", src_colorspace=Colorspace.ITU601,
            src_color_range=ColorRange.MPEG, dst_color_range=ColorRange.JPEG,
        )  # fmt: skip
        image = np.ascontiguousarray(converted.to_ndarray(), np.uint8)
        height, width = image.shape[:2]
        if width * height <= _MAX_PIXELS:
            return image
        factor = (_MAX_PIXELS / (width * height)) ** 0.5
        size = (int(width * factor), int(height * factor))
        return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


class TrackSink(Closing):
    """Gives stylized frames to every `StylizedTrack`; a slow browser misses some.

    `write` is called from one thread; `watch` and `leave` from asyncio.
    """

    notes: list[str]

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.notes = []
        self._loop = loop
        self._lock = Lock()
        self._tracks: list[StylizedTrack] = []
        self._reformatter = VideoReformatter()

    def watch(self) -> StylizedTrack:
        """A new track of the frames written from now on."""
        track = StylizedTrack()
        with self._lock:
            self._tracks.append(track)
        return track

    def leave(self, track: StylizedTrack) -> None:
        """Stop feeding a track."""
        with self._lock:
            if track in self._tracks:
                self._tracks.remove(track)

    def write(self, frame: Frame) -> None:
        """Give the frame to every track."""
        with self._lock:
            tracks = list(self._tracks)
        if not tracks or self._loop.is_closed():
            return
        height, width = (side // 2 * 2 for side in frame.image.shape[:2])  # codecs want even sizes
        video = self._reformatter.reformat(
            VideoFrame.from_ndarray(np.ascontiguousarray(frame.image[:height, :width])),
            format="yuv420p", dst_colorspace=Colorspace.ITU601,
            src_color_range=ColorRange.JPEG, dst_color_range=ColorRange.MPEG,
        )  # fmt: skip
        video.pts, video.time_base = round(frame.time / TIME_BASE), TIME_BASE
        for track in tracks:
            self._loop.call_soon_threadsafe(track.show, video)

    def finish(self, *, complete: bool = True) -> None:
        """Nothing to complete."""


class StylizedTrack(MediaStreamTrack):
    """The newest stylized frame, whenever the connection asks for one. `on_sent` is called with
    the pts of every frame that was sent. Lives in asyncio."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._newest: VideoFrame | None = None
        self._sent: int | None = None
        self._unsent = asyncio.Event()
        self.on_sent: Callable[[int], None] = lambda ticks: None

    def show(self, frame: VideoFrame) -> None:
        """Replace the frame that waits to be sent."""
        self._newest = frame
        self._unsent.set()

    def stop(self) -> None:
        """End the track, and `recv` with it."""
        super().stop()
        self._unsent.set()

    async def recv(self) -> Any:
        """The next frame that was not sent yet; the one before has been. Raises `MediaStreamError`
        at the end."""
        if self._sent is not None:
            self.on_sent(self._sent)
        await self._unsent.wait()
        self._unsent.clear()
        if self.readyState != "live" or self._newest is None:
            raise MediaStreamError
        self._sent = self._newest.pts
        return self._newest
