"""Endless sources for the pipeline: frames in memory, or a short clip over and over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import count
from pathlib import Path

from rtstyle.closing import Closing
from rtstyle.frame import Frame, Image
from rtstyle.media import WriteOptions, open_sink, open_source
from rtstyle.media.base import Origin
from rtstyle.media.synthetic import SyntheticSource

PICTURES = 4  # that differ, so that nothing can be remembered
CLIP_FRAMES = 48


def make_pictures(width: int, height: int, number: int = PICTURES) -> list[Image]:
    """Pictures (H, W, 3) of the seeded pattern."""
    return [f.image for f in SyntheticSource(width, height, n_frames=number).frames()]


def make_clip(path: Path, width: int, height: int, *, frames: int = CLIP_FRAMES) -> None:
    """An H.264 clip of the seeded pattern. Raises `OutputError`."""
    pattern = SyntheticSource(width, height, n_frames=frames)
    options = WriteOptions(preset="ultrafast", overwrite=True)
    with pattern, open_sink(path, pattern, options) as sink:
        for frame in pattern.frames():
            sink.write(frame)
        sink.finish()


class _Endless(Closing):
    """Base of both: no end, no notes, nothing to close."""

    notes: list[str]
    origin: Origin | None

    def __init__(self) -> None:
        self.notes = []
        self.origin = None


class EndlessPictures(_Endless):
    """A few pictures over and over, which cost no time of their own."""

    def __init__(self, width: int, height: int) -> None:
        super().__init__()
        self.info = replace(SyntheticSource(width, height, n_frames=1).info, n_frames=None)
        self._pictures = make_pictures(width, height)

    def frames(self) -> Iterator[Frame]:
        """Frames without end; the arrays repeat."""
        step = 1 / self.info.rate
        for index in count():
            yield Frame(self._pictures[index % PICTURES], index * step, index, step)


class EndlessClip(_Endless):
    """A video file, decoded again and again."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        with open_source(path) as source:
            self.info = replace(source.info, n_frames=None)

    def frames(self) -> Iterator[Frame]:
        """Frames without end, with times that go on. Raises `MediaError`."""
        index, shift = 0, Fraction(0)
        while True:
            end = shift
            with open_source(self._path) as source:
                for frame in source.frames():
                    time = shift + frame.time
                    yield Frame(frame.image, time, index, frame.duration)
                    index, end = index + 1, time + 1 / self.info.rate
            shift = end
