"""Where a video can be cut: times of keyframes, found without decoding, mostly by seeking."""

from __future__ import annotations

from collections.abc import Iterator
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
        tick = stream.time_base or Fraction(1, 90_000)
        start = (stream.start_time or 0) * tick if origin.start is None else origin.start
        ends = [t for t in (origin.end, _stated_end(container, stream, tick)) if t is not None]
        end = min(ends, default=None)
        if end is not None and end - start < 2 * seconds:
            return []
        if container.format.name in _BISECTED:
            found = _by_seeking(container, stream, tick, start, seconds, end)
        elif (indexed := _index(container, stream, tick, end)) is not None:
            found = _at_entries(container, stream, tick, indexed, start, seconds)
        else:
            if end is not None:
                seconds = max(seconds, (end - start) / _MOST_UNINDEXED)
            found = spread(_scanned(container, stream, tick), start, seconds)
        return [time for time in found if end is None or time <= end - seconds / 2]


def spread(times: Iterator[Fraction], start: Fraction, seconds: Fraction) -> Iterator[Fraction]:
    """Those of the rising `times` that are `seconds` or more after `start` or the previous one."""
    last = start
    for time in times:
        if time >= last + seconds:
            yield time
            last = time


def _stated_end(container: InputContainer, stream: VideoStream, tick: Fraction) -> Fraction | None:
    """When the video ends, on the file's clock, if the file states it."""
    if stream.duration:
        return ((stream.start_time or 0) + stream.duration) * tick
    if container.duration:
        return Fraction(container.duration + (container.start_time or 0), 1_000_000)
    return None


def _index(
    container: InputContainer, stream: VideoStream, tick: Fraction, end: Fraction | None
) -> list[int] | None:
    """The keyframes in the container's index, in ticks; None where there is no complete one.

    They may be decoding times, as in mp4, so they only serve to seek.
    """
    if end is None:
        return None
    with suppress(FFmpegError):
        container.seek(int(end / 2 / tick), stream=stream)  # Matroska reads its index only then
    entries = [entry for entry in stream.index_entries if entry.is_keyframe]
    every = stream.frames and len(stream.index_entries) >= stream.frames
    reaches = bool(entries) and entries[-1].timestamp * tick > end * Fraction(3, 4)
    return [entry.timestamp for entry in entries] if every or reaches else None


def _at_entries(
    container: InputContainer, stream: VideoStream, tick: Fraction, entries: list[int],
    start: Fraction, seconds: Fraction,
) -> Iterator[Fraction]:  # fmt: skip
    last = start
    for entry in entries:
        if entry * tick < last + seconds:
            continue
        time = _first_keyframe(container, stream, tick, entry, not_before=last + seconds)
        if time is not None:
            yield time
            last = time


def _by_seeking(
    container: InputContainer, stream: VideoStream, tick: Fraction,
    start: Fraction, seconds: Fraction, end: Fraction | None,
) -> Iterator[Fraction]:  # fmt: skip
    wanted = start + seconds
    while end is None or wanted < end:
        time = _first_keyframe(container, stream, tick, int(wanted / tick), not_before=wanted)
        if time is None:
            return
        yield time
        wanted = time + seconds


def _first_keyframe(
    container: InputContainer, stream: VideoStream, tick: Fraction, ticks: int,
    *, not_before: Fraction,
) -> Fraction | None:  # fmt: skip
    """The time of the first keyframe that is read after seeking to `ticks`."""
    try:
        container.seek(ticks, stream=stream)
        for packet in container.demux(stream):
            if packet.pts is None:
                return None  # its time follows from its neighbours only
            time = packet.pts * tick
            if packet.is_keyframe and time >= not_before and not packet.is_discard:
                return time
            if not_before + 600 < time:
                return None
    except FFmpegError:
        pass
    return None


def _scanned(container: InputContainer, stream: VideoStream, tick: Fraction) -> Iterator[Fraction]:
    """The times of all keyframes, by reading the whole file."""
    with suppress(FFmpegError):
        container.seek(0)
    last: Fraction | None = None
    with suppress(FFmpegError):
        for packet in container.demux(stream):
            if not packet.size:
                return
            if packet.pts is None:
                return
            if packet.is_keyframe and not packet.is_discard:
                time = packet.pts * tick
                if last is not None and time <= last:
                    return  # the clock jumps: later times are ambiguous
                yield time
                last = time
