"""A job cut into segments at exact frame times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import cast

from rtstyle.media import open_source
from rtstyle.media.sequence import SequenceSource
from rtstyle.media.video.formats import container_for
from rtstyle.media.video.keyframes import keyframes_apart
from rtstyle.media.video.parts import Part, Video
from rtstyle.media.video.source import FileSource
from rtstyle.rendering.job import RenderJob
from rtstyle.steady import lead_seconds


@dataclass(frozen=True, slots=True)
class Segment:
    """The frames of `video` from `start` to before `end`, in seconds on the file's own clock.

    There is a frame at exactly `start` and one at exactly `end`; None is where the video, or the
    requested part of it, begins or ends. All segments of a plan hold every frame once. Steadying
    needs frames from before `start`; `before` is a cut where they can be read from.
    """

    number: int
    start: Fraction | None
    end: Fraction | None
    video: Video
    before: Fraction | None = None

    @property
    def part(self) -> Part:
        return Part(self.start, self.end)

    @property
    def since(self) -> Fraction | None:
        """Where the segment begins, in seconds of the output."""
        return None if self.start is None else self.start - self.video.origin.offset

    @property
    def until(self) -> Fraction | None:
        """Where the segment ends, in seconds of the output."""
        return None if self.end is None else self.end - self.video.origin.offset


@dataclass(frozen=True, slots=True)
class Plan:
    """A job's segments in order, at least one."""

    video: Video
    segments: tuple[Segment, ...]

    @property
    def cuts(self) -> tuple[Fraction, ...]:
        """Where one segment ends and the next begins."""
        return tuple(segment.end for segment in self.segments if segment.end is not None)


def look_at(job: RenderJob) -> Video:
    """What opening the job's source shows. Raises what `open_source` raises."""
    with open_source(job.source, job.reading) as source:
        return Video.of(cast(FileSource | SequenceSource, source))


def plan(job: RenderJob, video: Video | None = None) -> Plan:
    """Cut the job at keyframes of its input, at least `job.segments.seconds` apart.

    An input without known keyframes is one segment. Reads the index of the file, or without one its
    packets, and decodes only the first frame.
    """
    video = video or look_at(job)
    if job.segments is None or not _joins(job):
        return cut(video, ())
    seconds = job.segments.seconds
    if video.origin.stream is not None:
        return cut(video, keyframes_apart(video, seconds))
    step = max(1, round(seconds * video.info.rate))
    n_pictures = len(video.origin.paths)
    return cut(video, [i / video.info.rate for i in range(step, n_pictures - step // 2, step)])


def _joins(job: RenderJob) -> bool:
    """Whether the packets of encoders that follow each other can become one stream."""
    container = container_for(job.output)
    if container.counts_frames:  # it has no place for the times of B-frames
        return job.writing.codec in (None, container.codec)
    return container.muxer != "gif"  # its frames hold only what changed


def cut(video: Video, cuts: Sequence[Fraction]) -> Plan:
    """The plan with these rising `cuts`, in seconds on the file's clock."""
    borders = [None, *cuts, None]
    lead = lead_seconds(video.info.rate)

    def before(start: Fraction | None) -> Fraction | None:
        return max((c for c in cuts if start is not None and c <= start - lead), default=None)

    return Plan(
        video,
        tuple(
            Segment(number, start, end, video, before(start))
            for number, (start, end) in enumerate(pairwise(borders))
        ),
    )
