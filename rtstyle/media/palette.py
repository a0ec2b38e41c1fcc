"""Pictures reduced to the 256 colours that suit them best, for GIF."""

from __future__ import annotations

from av import VideoFrame
from av.filter import Graph

from rtstyle.frame import Image


class PaletteWriter:
    """Gives every picture a palette of its own, by FFmpeg's filters. One thread at a time."""

    def __init__(self, width: int, height: int) -> None:
        self._graph = Graph()
        source = self._graph.add(
            "buffer", f"video_size={width}x{height}:pix_fmt=rgb24:time_base=1/1"
        )
        split = self._graph.add("split")
        generate = self._graph.add("palettegen", "stats_mode=single:reserve_transparent=0")
        use = self._graph.add("paletteuse", "new=1:dither=bayer:bayer_scale=3")
        sink = self._graph.add("buffersink")
        source.link_to(split)
        split.link_to(use, 0, 0)
        split.link_to(generate, 1, 0)
        generate.link_to(use, 0, 1)
        use.link_to(sink)
        self._graph.configure()
        self._n_frames = 0

    def write(self, image: Image) -> VideoFrame:
        """An (H, W, 3) uint8 RGB picture as a `pal8` frame."""
        frame = VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts, self._n_frames = self._n_frames, self._n_frames + 1
        self._graph.push(frame)
        reduced = self._graph.pull()
        assert isinstance(reduced, VideoFrame)
        return reduced
