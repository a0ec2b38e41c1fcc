"""Video between a browser's WebRTC connection, in asyncio, and the session's threads."""

from __future__ import annotations

import asyncio
import ipaddress
import re
from collections.abc import Iterator
from fractions import Fraction
from threading import Event, Lock
from time import perf_counter
from typing import Any

import cv2
import numpy as np
from aioice import Candidate, ice
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
        self.push(first)

    def push(self, frame: VideoFrame) -> None:
        """Take the next frame; never waits."""
        self.last_push = perf_counter()
        self._newest = frame
        self._pictures.put((self.last_push, frame))

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
    """The newest stylized frame, whenever the connection asks for one. Lives in asyncio."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._newest: VideoFrame | None = None
        self._unsent = asyncio.Event()

    def show(self, frame: VideoFrame) -> None:
        """Replace the frame that waits to be sent."""
        self._newest = frame
        self._unsent.set()

    def stop(self) -> None:
        """End the track, and `recv` with it."""
        super().stop()
        self._unsent.set()

    async def recv(self) -> Any:
        """The next frame that was not sent yet. Raises `MediaStreamError` at the end."""
        await self._unsent.wait()
        self._unsent.clear()
        if self.readyState != "live" or self._newest is None:
            raise MediaStreamError
        return self._newest


# What follows reaches into aiortc and aioice where they have no setting; pyproject.toml pins both.

# Bits a second at first and at most. Brush strokes are all texture: at aiortc's own 0.5 and 1.5
# million they turn to blocks.
_FIRST_BITRATE, _LARGEST_BITRATE = 1_500_000, 6_000_000
_MOST_CANDIDATES, _LONGEST_OFFER = 32, 32 * 1024
_MDNS_NAME = re.compile(r"[0-9a-f-]{36}\.local", re.IGNORECASE)

_addresses = ice.get_host_addresses
_validate = ice.validate_remote_candidate


def prepare_webrtc() -> None:
    """Raise the bit rates, let a machine without any network talk to itself, and send nothing to
    names that resolve to addresses that no other browser has.

    aioice never offers 127.0.0.1, so that a browser on this very machine could not reach us in a
    train. Applies to every connection made later; more than once does no harm.
    """
    ice.get_host_addresses = _addresses_or_loopback
    ice.validate_remote_candidate = _validate_resolved
    vpx.DEFAULT_BITRATE = h264.DEFAULT_BITRATE = _FIRST_BITRATE
    vpx.MAX_BITRATE = h264.MAX_BITRATE = _LARGEST_BITRATE


def filter_offer(sdp: str, *, from_loopback: bool) -> str:
    """The offer with only those ICE candidates that are answered.

    Those are the addresses that a browser may have: UDP on a port above 1023, of a private or
    public unicast address or a name that mDNS resolves; loopback only for a client on loopback.
    Raises `ValueError` for an offer too long or of anything but one video: aiortc keeps what
    comes for a track that nobody reads.
    """
    lines = sdp.splitlines()
    media = [line.partition(" ")[0] for line in lines if line.startswith("m=")]
    if len(sdp) > _LONGEST_OFFER or media != ["m=video"]:
        raise ValueError("One video was expected in the offer.")
    kept, n_candidates = [], 0
    for line in lines:
        if line[2:].startswith("candidate"):
            n_candidates += 1
            allowed = n_candidates <= _MOST_CANDIDATES
            if not allowed or not _is_answered(line, from_loopback=from_loopback):
                continue
        kept.append(line)
    return "\r\n".join(kept) + "\r\n"


def _is_answered(line: str, *, from_loopback: bool) -> bool:
    """RFC 8839, 5.1: a=candidate:foundation component transport priority address port …"""
    parts = line.split()
    if len(parts) < 8 or parts[2].lower() != "udp" or not parts[5].isdecimal():
        return False
    address = parts[4]
    if not 1024 <= int(parts[5][:6]) <= 65_535:
        return False
    return bool(_MDNS_NAME.fullmatch(address)) or is_browser_address(
        address, from_loopback=from_loopback
    )


def is_browser_address(address: str, *, from_loopback: bool) -> bool:
    """Whether a browser elsewhere may have this IP address, or one here if `from_loopback`."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    ip = getattr(ip, "ipv4_mapped", None) or ip
    if ip.is_loopback:
        return from_loopback
    odd = ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip.is_reserved
    return not odd and not (ip.version == 4 and int(ip) >> 24 == 0)


def _addresses_or_loopback(use_ipv4: bool, use_ipv6: bool) -> list[str]:
    return _addresses(use_ipv4=use_ipv4, use_ipv6=use_ipv6) or ["127.0.0.1"]


def _validate_resolved(candidate: Candidate, host: str) -> str:
    """Offers have been filtered; this looks at what mDNS names in them resolved to."""
    if host != candidate.host and not is_browser_address(host, from_loopback=False):
        raise ValueError(f"{candidate.host} resolves to {host}")
    return _validate(candidate, host)
