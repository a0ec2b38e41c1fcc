"""Pictures that a filter graph of FFmpeg generates, as a source without real time."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction
from typing import Self

import av
from av.container import InputContainer
from av.error import FFmpegError

from rtstyle.errors import UsageError
from rtstyle.media.base import Origin
from rtstyle.media.options import ReadOptions
from rtstyle.media.video.container import reason
from rtstyle.media.video.source import FileSource, refuse_rate

_GENERATORS = (
    "testsrc", "testsrc2", "smptebars", "smptehdbars", "rgbtestsrc", "mandelbrot", "life",
    "cellauto", "gradients", "color", "sierpinski", "zoneplate", "colorspectrum", "pal75bars",
)  # fmt: skip
_HAS_END = re.compile(r"[:=](d|duration)=|,\s*trim=")


class PatternSource(FileSource):
    """The pictures of FFmpeg's filter `graph`, such as "testsrc2=duration=2:size=640x360:rate=30".

    Raises `UsageError` for an invalid graph, one that does not begin with a generator, and one
    that goes on without an end where no `duration` is given.
    """

    @classmethod
    def from_name(cls, name: str, reading: ReadOptions) -> Self:
        """Open `lavfi:GRAPH`."""
        refuse_rate(name, reading)
        return cls(name.partition(":")[2], reading)

    def __init__(self, graph: str, reading: ReadOptions | None = None) -> None:
        reading = reading or ReadOptions()
        check_pattern(graph)
        if reading.duration is None and not _HAS_END.search(graph):
            raise UsageError(
                f"The pattern lavfi:{graph} has no end; say with --duration how much is painted."
            )
        self._graph = graph
        super().__init__(f"lavfi:{graph}", replace(reading, start=reading.start or None))

    def _open_container(self, hwaccel: str) -> InputContainer:
        try:
            return av.open(self._graph, "r", format="lavfi")
        except (FFmpegError, ValueError) as error:
            raise UsageError(wrong_pattern(self._graph, error)) from error

    def _is_cut_off(self) -> bool:
        return False

    def _made_origin(self, offset: Fraction, start: Fraction | None) -> Origin | None:
        return None


def check_pattern(graph: str) -> None:
    """Raise `UsageError` for a graph that does not begin with a generator: others read files."""
    generator = graph.partition("=")[0].partition(",")[0].strip()
    if generator not in _GENERATORS or "movie" in graph:
        raise UsageError(
            f"A test pattern begins with one of {', '.join(_GENERATORS)}, "
            f"not {generator!r}; try lavfi:testsrc2=size=640x360:rate=30."
        )


def wrong_pattern(graph: str, error: Exception) -> str:
    """What to say where FFmpeg does not take the graph."""
    return (
        f"FFmpeg does not understand the pattern {graph!r} ({reason(error)}); try "
        "lavfi:testsrc2=size=640x360:rate=30."
    )
