"""Video between a browser's WebRTC connection, in asyncio, and the session's threads."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from threading import Event, Lock
from time import perf_counter
from typing import Any

import cv2
import numpy as np
from aioice import ice
from aiortc import MediaStreamTrack
from aiortc.codecs import h264, vpx
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from rtstyle.channel import Channel
from rtstyle.closing import Closing
from rtstyle.frame import Frame, Image, StreamInfo
from rtstyle.media.base import Origin
from rtstyle.media.devices.source import TIME_BASE

_MAX_PIXELS = 1920 * 1080  # of a picture from a browser; larger ones are scaled down


class TrackSource(Closing):
    """What a browser's camera sends. `push` comes from asyncio, `frames` runs in a thread.

    `info` is that of the first picture; browsers change the size as the network does.
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
        self.push(first)

    def push(self, frame: VideoFrame) -> None:
        """Take the next picture; never waits."""
        self.last_push = perf_counter()
        self._pictures.put((self.last_push, frame))

    def clock(self) -> float:
        """The time now in seconds, on the clock of the frames' times."""
        return perf_counter() - self._started

    def frames(self) -> Iterator[Frame]:
        """Frames until the source is closed."""
        index, last = 0, -1
        while not self._closed.is_set():
            came = self._pictures.take(1.0)
            if came is None:
                self.notice = "No pictures come from the browser."
                continue
            self.notice = ""
            last = max(round((came[0] - self._started) / TIME_BASE), last + 1)
            yield Frame(self._rgb(came[1]), last * TIME_BASE, index)
            index += 1

    def close(self) -> None:
        """End `frames`. Safe from any thread."""
        self._closed.set()
        self._pictures.cancel()

    def _rgb(self, frame: VideoFrame) -> Image:
        # WebRTC's video is BT.601 of limited range unless it says otherwise, which it never does.
        converted = self._reformatter.reformat(
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
    """Gives painted frames to every `StylizedTrack` that watches; a slow browser misses some.

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
        """A new track of what is written from now on."""
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
        """Show the frame to all who watch."""
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


@dataclass(slots=True)
class _Slot:
    frame: VideoFrame | None = None
    filled: asyncio.Event = field(default_factory=asyncio.Event)


class StylizedTrack(MediaStreamTrack):
    """The newest painted picture, whenever the connection asks for one. Lives in asyncio."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._slot = _Slot()

    def show(self, frame: VideoFrame) -> None:
        """Replace the picture that waits to be sent."""
        self._slot.frame = frame
        self._slot.filled.set()

    def stop(self) -> None:
        """End the track; whoever waits in `recv` is told."""
        super().stop()
        self._slot.filled.set()

    async def recv(self) -> Any:
        """The next picture that was not sent yet."""
        await self._slot.filled.wait()
        self._slot.filled.clear()
        if self.readyState != "live" or self._slot.frame is None:
            raise MediaStreamError
        return self._slot.frame


# Bits a second to begin with and at most. Brush strokes are all texture: at aiortc's own
# 0.5 and 1.5 million they turn to blocks.
_FIRST_BITRATE, _LARGEST_BITRATE = 1_500_000, 6_000_000

_addresses = ice.get_host_addresses


def prepare_webrtc() -> None:
    """Raise the bit rates, and let a machine without any network talk to itself.

    aioice never offers 127.0.0.1, so that a browser on this very machine could not reach us in a
    train. Applies to every connection made later; more than once does no harm.
    """
    ice.get_host_addresses = _addresses_or_loopback
    vpx.DEFAULT_BITRATE = h264.DEFAULT_BITRATE = _FIRST_BITRATE
    vpx.MAX_BITRATE = h264.MAX_BITRATE = _LARGEST_BITRATE


def _addresses_or_loopback(use_ipv4: bool, use_ipv6: bool) -> list[str]:
    return _addresses(use_ipv4=use_ipv4, use_ipv6=use_ipv6) or ["127.0.0.1"]
