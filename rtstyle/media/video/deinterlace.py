"""Interlaced frames made progressive, by FFmpeg's `bwdif`."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction

from av import VideoFrame
from av.error import BlockingIOError, EOFError, FFmpegError
from av.filter import Graph
from av.video.format import VideoFormat

TimedFrame = tuple[VideoFrame, Fraction]  # with its time in seconds


def deinterlaced(frames: Iterator[TimedFrame]) -> Iterator[TimedFrame]:
    """As many frames with the same times; those marked as progressive, or on a GPU, as they are.

    Each is made from itself and the frames before and after it, and so delivered one later.
    """
    graph: Graph | None = None
    kind: tuple[int, int, str] | None = None
    sent: deque[tuple[int, Fraction]] = deque()  # durations, which the filter changes, and times
    damage: FFmpegError | None = None
    try:
        for frame, time in frames:
            if frame.format.name == "cuda":
                yield frame, time
                continue
            if kind != (found := (frame.width, frame.height, frame.format.name)):
                if graph is not None:
                    yield from _pulled(graph, sent, at_end=True)
                graph, kind = _graph(*found), found
            assert graph is not None
            sent.append((frame.duration, time))
            frame.pts = None
            graph.push(frame)
            yield from _pulled(graph, sent, at_end=False)
    except FFmpegError as error:
        damage = error
    if graph is not None:
        yield from _pulled(graph, sent, at_end=True)
    if damage is not None:
        raise damage


def _pulled(
    graph: Graph, sent: deque[tuple[int, Fraction]], *, at_end: bool
) -> Iterator[TimedFrame]:
    if at_end:
        graph.push(None)
    while sent:
        try:
            frame = graph.vpull()
        except (BlockingIOError, EOFError):
            return
        frame.duration, time = sent.popleft()
        yield frame, time


def _graph(width: int, height: int, pixel_format: str) -> Graph:
    graph = Graph()
    graph.link_nodes(
        graph.add_buffer(
            width=width, height=height, format=VideoFormat(pixel_format), time_base=Fraction(1)
        ),
        graph.add("bwdif", "mode=send_frame:deint=interlaced"),
        graph.add("buffersink"),
    ).configure()
    return graph
