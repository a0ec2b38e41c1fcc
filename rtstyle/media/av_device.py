"""Whatever FFmpeg opens as a live input, as a device: cameras, streams, screens, test patterns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from time import perf_counter, sleep
from types import TracebackType
from typing import Self

import av
from av.error import FFmpegError

from rtstyle.errors import MediaError
from rtstyle.frame import Image, StreamInfo
from rtstyle.media.colour import RgbReader
from rtstyle.media.container import reason
from rtstyle.media.live_source import TIME_BASE
from rtstyle.media.orientation import orientation_of

_READ_SECONDS = 5.0  # FFmpeg gives up a read of the network after this


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """What FFmpeg is to open: `url` by the input `format`, with that format's `options`.

    With `paced`, pictures wait until they are due, as a generator's must; devices and streams come
    when they come. `name` stands for the input in messages.
    """

    name: str
    url: str
    format: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    paced: bool = False


class AvDevice:
    """An opened `Input`. Raises `MediaError`, or FFmpeg's own error where `explain` is to tell."""

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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._container.close()
