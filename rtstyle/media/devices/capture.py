"""What FFmpeg opens as a live input: test patterns, the screen, network streams, looped files.

`AvDevice` is the device under all of them, and under the webcam.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from time import perf_counter, sleep
from typing import Self
from urllib.parse import urlsplit, urlunsplit

import av
from av.error import FFmpegError, ProtocolNotFoundError

from rtstyle.closing import Closing
from rtstyle.errors import MediaError, UsageError
from rtstyle.frame import Image, StreamInfo
from rtstyle.media.devices.sound import ClipSound, SoundRing
from rtstyle.media.devices.source import TIME_BASE, LiveSource, Patience
from rtstyle.media.options import ReadOptions
from rtstyle.media.video.color import RgbReader
from rtstyle.media.video.container import reason
from rtstyle.media.video.orientation import orientation_of
from rtstyle.media.video.pattern import check_pattern, wrong_pattern
from rtstyle.media.video.source import FileSource

_READ_SECONDS = 5.0  # FFmpeg gives up a read of the network after this
_REGION = re.compile(r"(?:(\d+)x(\d+))?(?:\+(\d+)\+(\d+))?")
# What an address may lead to, be it by a redirect or a playlist: its own protocol and what carries
# that, so that nothing from the network makes us read files or speak to what was not asked for.
_WEB = "http,https,httpproxy,tcp,tls,crypto"
_PROTOCOLS = {
    "http": _WEB, "https": _WEB, "rtsp": "rtsp,rtp,srtp,udp,tcp", "rtsps": "rtsps,rtp,srtp,tls,tcp",
    "rtmp": "rtmp,tcp", "srt": "srt", "udp": "udp",
}  # fmt: skip
_LOW_DELAY = {"fflags": "nobuffer", "flags": "low_delay"}
_BY_SCHEME = {"rtsp": {"rtsp_transport": "tcp"}, "rtsps": {"rtsp_transport": "tcp"}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """What FFmpeg opens: `url` by the input `format`, with that format's `options`.

    With `paced`, each picture waits until it is due, which a generator needs and a device does not.
    `name` stands for the input in messages.
    """

    name: str
    url: str
    format: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    paced: bool = False


class AvDevice(Closing):
    """An opened `Input`. Raises `MediaError` where no video comes, FFmpeg's error or `ValueError`
    where it cannot be opened."""

    info: StreamInfo
    note: str

    def __init__(self, source: Input, *, note: str = "") -> None:
        self.note = note
        self._source = source
        self._container = av.open(
            source.url, "r", format=source.format, container_options=dict(source.options),
            timeout=(_READ_SECONDS, _READ_SECONDS), metadata_errors="replace",
        )  # fmt: skip
        try:
            if not self._container.streams.video:
                raise MediaError(f"{source.name} sends no video.")
            self._stream = self._container.streams.video[0]
            self._stream.thread_type = "SLICE"  # frame threads would hold pictures back
            self._frames = self._container.decode(self._stream)
            first = next(self._frames, None)
            if first is None:
                raise MediaError(f"{source.name} sends no pictures.")
        except BaseException:
            self._container.close()
            raise
        self._first = first
        self._orientation = orientation_of(first)
        self._reader = RgbReader(first.width, first.height)
        width, height = self._orientation.size(first.width, first.height)
        rate = self._stream.average_rate or self._stream.guessed_rate or Fraction(30)
        self.info = StreamInfo(width, height, rate, TIME_BASE)

    def pictures(self) -> Iterator[Image]:
        """The pictures; `MediaError` when the input breaks."""
        started, step = perf_counter(), 1 / float(self.info.rate)
        index = 0
        frame: av.VideoFrame | None = self._first
        try:
            while frame is not None:
                if self._source.paced:
                    sleep(max(0.0, started + index * step - perf_counter()))
                yield self._orientation.apply(self._reader.read(frame))
                index += 1
                frame = next(self._frames, None)
        except FFmpegError as error:
            raise MediaError(f"{self._source.name} broke off: {reason(error)}.") from error

    def close(self) -> None:
        self._container.close()


class LavfiSource(LiveSource):
    """Pictures of FFmpeg's filter `graph`, such as "testsrc2=size=640x360:rate=30", in real time.

    Ends when the graph does. Raises `UsageError` for an invalid graph, and for one that does not
    begin with a generator, since other filters read files.
    """

    @classmethod
    def from_name(cls, name: str, reading: ReadOptions) -> Self:
        """Open `lavfi:GRAPH`."""
        return cls(name.partition(":")[2])

    def __init__(self, graph: str) -> None:
        check_pattern(graph)
        source = Input(name=f"lavfi:{graph}", url=graph, format="lavfi", paced=True)
        opening = _opening(source, lambda error: UsageError(wrong_pattern(graph, error)))
        super().__init__(source.name, opening, reopen=False)


class ScreenSource(LiveSource):
    """Captures the screen, or the `region` "WIDTHxHEIGHT+X+Y" of it, `rate` times a second.

    Raises `UsageError` for another kind of region and `MediaError` where there is no screen.
    """

    @classmethod
    def from_name(cls, name: str, reading: ReadOptions) -> Self:
        """Open `screen` or `screen:REGION`."""
        return cls(name.partition(":")[2])

    def __init__(self, region: str = "", *, rate: int = 30) -> None:
        source = screen_input(region, rate=rate)
        opening = _opening(source, lambda error: MediaError(
            f"The {source.name} cannot be filmed: {reason(error)}; check that the region lies on "
            "it."
        ))  # fmt: skip
        super().__init__(source.name, opening)


class StreamSource(LiveSource):
    """Plays the stream at `url`: rtsp, http, https and what lies behind them.

    Connects again when it breaks; raises `MediaError` when the first connection fails.
    """

    @classmethod
    def from_name(cls, name: str, reading: ReadOptions) -> Self:
        """Play the stream at the address `name`."""
        return cls(name)

    def __init__(self, url: str, *, patience: Patience | None = None) -> None:
        name = without_password(url)
        scheme = urlsplit(url).scheme
        allowed = {"protocol_whitelist": _PROTOCOLS[scheme]}
        options = _LOW_DELAY | allowed | _BY_SCHEME.get(scheme, {})

        def explain(error: Exception) -> MediaError:
            if isinstance(error, ProtocolNotFoundError):
                return MediaError(unknown_protocol(url))
            return MediaError(f"{name} cannot be played: {reason(error)}; check the address.")

        opening = _opening(Input(name=name, url=url, options=options), explain)
        super().__init__(name, opening, patience=patience)


class LoopedFileSource(LiveSource):
    """Plays the video at `path` at its own pace with its sound, over and over unless `once`.

    Raises what `FileSource` raises.
    """

    @classmethod
    def from_name(cls, name: str, reading: ReadOptions) -> Self:
        """Play the video file `name`."""
        return cls(Path(name).expanduser(), once=reading.once)

    def __init__(self, path: Path, *, once: bool = False) -> None:
        sound, started = SoundRing(), perf_counter()
        super().__init__(
            str(path),
            lambda: _Player(path, sound, lambda: perf_counter() - started, once=once),
            reopen=not once,
        )
        self._started = started
        with av.open(str(path), metadata_errors="replace") as file:
            self.sound = sound if file.streams.audio else None


class _Player(Closing):
    info: StreamInfo
    note = ""

    def __init__(
        self, path: Path, sound: SoundRing, clock: Callable[[], float], *, once: bool
    ) -> None:
        self._path, self._sound, self._clock, self._once = path, sound, clock, once
        with FileSource(path) as file:
            self.info = StreamInfo(file.info.width, file.info.height, file.info.rate, TIME_BASE)

    def pictures(self) -> Iterator[Image]:
        began = self._clock()
        while True:
            end = 0.0
            with FileSource(self._path) as file, ClipSound(self._path, self._sound) as sound:
                for frame in file.frames():
                    sound.advance(float(frame.time), began=began)
                    sleep(max(0.0, began + float(frame.time) - self._clock()))
                    yield frame.image
                    end = float(frame.time + (frame.duration or 1 / file.info.rate))
            sleep(max(0.0, began + end - self._clock()))
            if self._once:
                return
            began += end


def screen_input(region: str, *, rate: int, platform: str = sys.platform) -> Input:
    """What FFmpeg opens to capture `region` on this system."""
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


def unknown_protocol(url: str) -> str:
    """What to say where FFmpeg was built without the address's protocol, as wheels are for srt."""
    return (
        f"The FFmpeg of this PyAV does not speak {urlsplit(url).scheme}://; use rtmp:// or "
        "rtsp://, or install PyAV built against an FFmpeg that does: pip install --no-binary av av."
    )


def without_password(url: str) -> str:
    """The address for messages."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def _opening(source: Input, explain: Callable[[Exception], Exception]) -> Callable[[], AvDevice]:
    """A function that opens the device, and raises what `explain` makes of FFmpeg's error."""

    def open_device() -> AvDevice:
        try:
            return AvDevice(source)
        except (FFmpegError, ValueError) as error:
            raise explain(error) from error

    return open_device
