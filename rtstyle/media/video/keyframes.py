"""Where a video can be cut: times of keyframes, found without decoding, mostly by seeking."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from fractions import Fraction

from av.container import InputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream

from rtstyle.media.video.container import open_container
from rtstyle.media.video.decoder import FREE_CLOCK
from rtstyle.media.video.parts import Video

# Their demuxers find a time by bisection, without any index.
_BISECTED = FREE_CLOCK
_MOST_UNINDEXED = 6  # segments of a file without an index, as seeks in it read from the start
_SEARCH_SECONDS = 600  # behind a seek, for a keyframe


def keyframes_apart(video: Video, seconds: Fraction) -> list[Fraction]:
    """Rising times of keyframes of the video stream, in seconds on the file's clock.

    They are at least `seconds` apart from each other and from the start, and none is close to the
    end. There are none where packets have no times.
    """
    origin = video.origin
    assert origin.stream is not None
    with open_container(origin.paths[0]) as container:
        stream = container.streams[origin.stream]
        assert isinstance(stream, VideoStream)
        file = _Keyframes(container, stream)
        start = (stream.start_time or 0) * file.tick if origin.start is None else origin.start
        ends = [t for t in (origin.end, file.stated_end()) if t is not None]
        end = min(ends, default=None)
        if end is not None and end - start < 2 * seconds:
            return []
        if container.format.name in _BISECTED:
            found = file.by_seeking(start, seconds, end)
        elif (indexed := file.index(end)) is not None:
            found = file.at_entries(indexed, start, seconds)
        else:
            if end is not None:
                seconds = max(seconds, (end - start) / _MOST_UNINDEXED)
            found = spread(file.scanned(), start, seconds)
        return [time for time in found if end is None or time <= end - seconds / 2]


def spread(times: Iterable[Fraction], start: Fraction, seconds: Fraction) -> Iterator[Fraction]:
    """Those of the rising `times` that are `seconds` or more after `start` or the previous one."""
    last = start
    for time in times:
        if time >= last + seconds:
            yield time
            last = time


class _Keyframes:
    """The keyframes of one stream; `tick` is its unit of time in seconds."""

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        self._container, self._stream = container, stream
        self.tick = stream.time_base or Fraction(1, 90_000)

    def stated_end(self) -> Fraction | None:
        """When the video ends, on the file's clock, if the file states it."""
        if self._stream.duration:
            return ((self._stream.start_time or 0) + self._stream.duration) * self.tick
        container = self._container
        if container.duration:
            return Fraction(container.duration + (container.start_time or 0), 1_000_000)
        return None

    def index(self, end: Fraction | None) -> list[int] | None:
        """The keyframes in the container's index, in ticks; None where there is no complete one.

        They may be decoding times, as in mp4, so they only serve to seek.
        """
        if end is None:
            return None
        stream = self._stream
        with suppress(FFmpegError):  # Matroska reads its index only when a seek needs it
            self._container.seek(int(end / 2 / self.tick), stream=stream)
        entries = [entry for entry in stream.index_entries if entry.is_keyframe]
        every = stream.frames and len(stream.index_entries) >= stream.frames
        reaches = bool(entries) and entries[-1].timestamp * self.tick > end * Fraction(3, 4)
        return [entry.timestamp for entry in entries] if every or reaches else None

    def at_entries(
        self, entries: list[int], start: Fraction, seconds: Fraction
    ) -> Iterator[Fraction]:
        """Keyframes `seconds` apart, each by a seek to an entry of the index."""
        last = start
        for entry in entries:
            if entry * self.tick < last + seconds:
                continue
            time = self._first_behind(entry, not_before=last + seconds)
            if time is not None:
                yield time
                last = time

    def by_seeking(
        self, start: Fraction, seconds: Fraction, end: Fraction | None
    ) -> Iterator[Fraction]:
        """Keyframes `seconds` apart, each by a seek to the time where the next one is wanted."""
        wanted = start + seconds
        while end is None or wanted < end:
            time = self._first_behind(int(wanted / self.tick), not_before=wanted)
            if time is None:
                return
            yield time
            wanted = time + seconds

    def scanned(self) -> Iterator[Fraction]:
        """All keyframes, by reading the whole file."""
        last: Fraction | None = None
        with suppress(FFmpegError):
            self._container.seek(0)
        with suppress(FFmpegError):
            for packet in self._container.demux(self._stream):
                if not packet.size or packet.pts is None:
                    return
                if packet.is_keyframe and not packet.is_discard:
                    time = packet.pts * self.tick
                    if last is not None and time <= last:
                        return  # the clock jumps: later times are ambiguous
                    yield time
                    last = time

    def _first_behind(self, ticks: int, *, not_before: Fraction) -> Fraction | None:
        """The time of the first keyframe that is read after seeking to `ticks`."""
        with suppress(FFmpegError):
            self._container.seek(ticks, stream=self._stream)
            for packet in self._container.demux(self._stream):
                if packet.pts is None:
                    return None  # its time follows from its neighbours only
                time = packet.pts * self.tick
                if packet.is_keyframe and time >= not_before and not packet.is_discard:
                    return time
                if not_before + _SEARCH_SECONDS < time:
                    return None
        return None
