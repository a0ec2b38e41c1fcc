"""Parts of a video: each decoded on its own, all together exactly the whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import chain

from rtstyle.errors import MediaError
from rtstyle.frame import Frame, StreamInfo
from rtstyle.media.base import Origin
from rtstyle.media.options import ReadOptions
from rtstyle.media.sequence import SequenceSource
from rtstyle.media.video.decoder import Losses
from rtstyle.media.video.deinterlace import TimedFrame
from rtstyle.media.video.orientation import Orientation
from rtstyle.media.video.source import FileSource


class NotCuttableError(MediaError):
    """A video whose parts would not make the whole, as where times jump back."""


@dataclass(frozen=True, slots=True)
class Video:
    """What is known of a whole video, or a sequence of pictures, once it was opened.

    `stored_size` is the (width, height) that its first picture has before it is turned upright.
    """

    info: StreamInfo
    origin: Origin
    stored_size: tuple[int, int] = (0, 0)
    orientation: Orientation = field(default_factory=Orientation)

    @classmethod
    def of(cls, source: FileSource | SequenceSource) -> Video:
        """Of an open source."""
        assert source.origin is not None
        if isinstance(source, SequenceSource):
            return cls(source.info, source.origin)
        return cls(source.info, source.origin, source.stored_size, source.orientation)


@dataclass(frozen=True, slots=True)
class Part:
    """The part of a video from `start` to before `end`, in seconds on the file's own clock.

    There is a frame at exactly `start` and one at exactly `end`; None is where the video begins or
    ends, or where the user cut it.
    """

    start: Fraction | None = None
    end: Fraction | None = None

    @property
    def is_whole(self) -> bool:
        return self.start is None and self.end is None


def open_part(
    video: Video, part: Part, reading: ReadOptions | None = None
) -> VideoPart | PicturesPart:
    """Open one part for reading; its frames have the times that they have in the whole.

    Raises `InputNotFoundError`, `MediaError`, and `NotCuttableError` when the part does not fit.
    """
    if video.origin.stream is None:
        return PicturesPart(video, part)
    return VideoPart(video, part, reading or ReadOptions())


class VideoPart(FileSource):
    """One part of a video file. Its `frames` raise `NotCuttableError` when they do not follow
    exactly on those of the previous part, or the next part would not follow on them."""

    def __init__(self, video: Video, part: Part, reading: ReadOptions) -> None:
        self._video, self._part = video, part
        self._open(video.origin.paths[0], reading)
        try:
            self.info, self.origin, self._offset = video.info, video.origin, video.origin.offset
            self.stored_size, self.orientation = video.stored_size, video.orientation
            self._read_as(video.stored_size)
            self._end = video.origin.end if part.end is None else None
            self._decoded = self._from_start()
            self._first = self._take_first(None)
        except BaseException:
            self._container.close()
            raise

    def times(self) -> Iterator[TimedFrame]:
        """As `FileSource.times`, checked against the borders of the part."""
        if self._part.is_whole:
            yield from super().times()
            return
        offset, end = self._video.origin.offset, self._part.end
        last: Fraction | None = None
        for frame, time in super().times():
            clock = time + offset
            if end is not None and clock >= end:
                if clock != end:
                    raise self._not_cuttable(end)
                return
            if self._decoder.untimed or (last is not None and clock <= last):
                raise self._not_cuttable(clock)
            last = clock
            yield frame, time
        if end is not None:
            raise self._not_cuttable(end)

    def losses(self) -> Losses:
        """Without what was read before the part began."""
        found = super().losses()
        return found if self._part.start is None else replace(found, skipped=0)

    def _from_start(self) -> Iterator[TimedFrame]:
        start = self._part.start
        if start is None:
            return self._decoder.frames(self._video.origin.start, self._end)
        return self._behind(start)

    def _behind(self, start: Fraction) -> Iterator[TimedFrame]:
        frames = self._decoder.frames_from(start)
        for frame, time in frames:
            if time > start:
                raise self._not_cuttable(start)
            if time == start:
                # From here on nothing is dropped, so that times which jump back are noticed.
                for timed in chain([(frame, time)], frames):
                    if self._end is not None and timed[1] >= self._end:
                        return
                    if timed[0].is_corrupt:
                        self._decoder.repaired.append(timed[1])
                    yield timed
                return
        raise self._not_cuttable(start)

    def _damaged(self, index: int, last: Fraction, why: str) -> MediaError:
        if self._part.start is None:
            return super()._damaged(index, last, why)
        after = last if index else self._part.start - self._video.origin.offset
        return MediaError(
            f"{self._path} is damaged: from {float(after):.3f} s on it cannot be decoded ({why})."
        )

    def _not_cuttable(self, time: Fraction) -> NotCuttableError:
        return NotCuttableError(
            f"{self._path} cannot be painted in segments: its times jump at {float(time):.3f} s; "
            "use --no-resume."
        )


class PicturesPart(SequenceSource):
    """A run of pictures of a sequence."""

    def __init__(self, video: Video, part: Part) -> None:
        self.notes = []
        self.info, self.origin = video.info, video.origin
        rate = video.info.rate
        self._span = range(
            0 if part.start is None else int(part.start * rate),
            len(video.origin.paths) if part.end is None else int(part.end * rate),
        )
        self._paths = list(video.origin.paths)

    def frames(self) -> Iterator[Frame]:
        """Every picture of the run in order. Raises `MediaError` at one that cannot be read."""
        yield from self._pictures(self._span)
