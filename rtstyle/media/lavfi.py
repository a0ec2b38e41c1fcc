"""A test pattern or any other filter graph of FFmpeg as a camera, for trying without one."""

from __future__ import annotations

from av.error import FFmpegError

from rtstyle.errors import UsageError
from rtstyle.media.av_device import AvDevice, Input
from rtstyle.media.container import reason
from rtstyle.media.live_source import LiveSource

_GENERATORS = (
    "testsrc", "testsrc2", "smptebars", "smptehdbars", "rgbtestsrc", "mandelbrot", "life",
    "cellauto", "gradients", "color", "sierpinski", "zoneplate", "colorspectrum", "pal75bars",
)  # fmt: skip


class LavfiSource(LiveSource):
    """Pictures of `graph`, such as "testsrc2=size=640x360:rate=30", each when it is due.

    Ends when the graph does. Raises `UsageError` for a graph that cannot be, or that begins with
    something else than a generator, since others read files.
    """

    def __init__(self, graph: str) -> None:
        generator = graph.partition("=")[0].partition(",")[0].strip()
        if generator not in _GENERATORS or "movie" in graph:
            raise UsageError(
                f"A test pattern begins with one of {', '.join(_GENERATORS)}, "
                f"not {generator!r}; try lavfi:testsrc2=size=640x360:rate=30."
            )
        source = Input(name=f"lavfi:{graph}", url=graph, format="lavfi", paced=True)

        def generate() -> AvDevice:
            try:
                return AvDevice(source)
            except FFmpegError as error:
                raise UsageError(
                    f"FFmpeg does not understand the pattern {graph!r} ({reason(error)}); try "
                    "lavfi:testsrc2=size=640x360:rate=30."
                ) from error

        super().__init__(source.name, generate, reopen=False)
