"""Decoded frames to full-range RGB, and RGB back to what an encoder takes.

The matrix and range are those the file states. Where it states none, pictures wider than 1279 or
higher than 576 are BT.709 and smaller ones BT.601, and YUV is of limited range: the guess that
players make. Primaries and transfer of standard-range video are left alone, as players do, and
high dynamic range is tone-mapped. Encoded is always BT.709, limited range, and tagged so.
"""

from __future__ import annotations

import numpy as np
from av import VideoFrame
from av.filter import Graph
from av.video.codeccontext import VideoCodecContext
from av.video.format import VideoFormat
from av.video.reformatter import (
    ColorPrimaries,
    ColorRange,
    ColorTrc,
    Interpolation,
    VideoReformatter,
)
from av.video.reformatter import Colorspace as Matrix

from rtstyle.frame import Image
from rtstyle.media.video.tonemap import ToneMapper

# The default, fast path repeats chroma samples and truncates: up to 3 levels off on flat colours,
# with steps along edges. These flags interpolate and round (at most 1 level off).
_PRECISE = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
_RGB, _BT709, _UNSPECIFIED = 0, 1, 2  # matrices, as FFmpeg numbers them
_HDR = {ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67}
_SWSCALE_MATRIX = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}  # AVCOL_SPC_* to SWS_CS_*
_THREADED_FROM = 1 << 20  # pixels; below, starting threads costs more than it saves


class RgbReader:
    """Turns decoded frames into RGB pictures of one size. One thread at a time."""

    def __init__(self, width: int, height: int) -> None:
        self._size = (width, height)
        self._reformatter = VideoReformatter()
        self._tone_mapper: ToneMapper | None = None
        self._notes: dict[str, None] = {}

    @property
    def notes(self) -> list[str]:
        """What was lost so far, one sentence each."""
        return list(self._notes)

    def read(self, frame: VideoFrame) -> Image:
        """The frame as (H, W, 3) uint8 RGB, as stored (not turned upright)."""
        width, height = self._size
        if (frame.width, frame.height) != self._size:
            self._note(
                f"the picture size changes within the video (to {frame.width}x{frame.height}); "
                f"every frame was scaled to the first one's {width}x{height}"
            )
        if any(c.bits for c in frame.format.components[3:]) or frame.format.name == "ya8":
            self._note("the video has transparency, which was dropped")
        if frame.interlaced_frame:
            self._note("the video is interlaced; both fields of a frame were kept in one picture")
        if is_hdr(frame):
            name = "HLG" if frame.color_trc == ColorTrc.ARIB_STD_B67 else "PQ"
            self._note(f"high dynamic range ({name}) was tone-mapped to standard range (BT.709)")
            return self._tone_map(frame)
        return _array(self._convert(frame, "rgb24"))

    def _tone_map(self, frame: VideoFrame) -> Image:
        deep = self._convert(frame, "gbrp10le")
        if self._tone_mapper is None:
            self._tone_mapper = ToneMapper(
                *self._size, hlg=frame.color_trc == ColorTrc.ARIB_STD_B67
            )
        mapped = self._tone_mapper.map(deep)
        return _array(mapped.reformat(format="rgb24", dst_color_range=ColorRange.JPEG))

    def _convert(self, frame: VideoFrame, pixel_format: str) -> VideoFrame:
        width, height = self._size
        return self._reformatter.reformat(
            frame,
            width,
            height,
            pixel_format,
            src_colorspace=matrix_of(frame),
            src_color_range=range_of(frame),
            dst_color_range=ColorRange.JPEG,
            interpolation=_PRECISE,
            threads=0 if width * height >= _THREADED_FROM else 1,
        )

    def _note(self, sentence: str) -> None:
        self._notes.setdefault(sentence)


class RgbWriter:
    """Turns RGB pictures into frames of an encoder's pixel format. One thread at a time.

    YUV is BT.709 of limited range; an RGB format (lossless codecs) stays full range.
    """

    def __init__(self, pixel_format: str) -> None:
        self._format = pixel_format
        self._is_rgb = VideoFormat(pixel_format).is_rgb
        self.is_yuv420 = pixel_format in ("yuv420p", "nv12")  # of 8 bits
        self._reformatter = VideoReformatter()

    def write(self, image: Image) -> VideoFrame:
        """An (H, W, 3) uint8 RGB picture as a frame, tagged."""
        height, width = image.shape[:2]
        frame = self._reformatter.reformat(
            VideoFrame.from_numpy_buffer(image),
            format=self._format,
            dst_colorspace=None if self._is_rgb else Matrix.ITU709,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.JPEG if self._is_rgb else ColorRange.MPEG,
            interpolation=_PRECISE,
            threads=0 if width * height >= _THREADED_FROM else 1,
        )
        self.tag(frame)
        return frame

    def tag(self, target: VideoFrame | VideoCodecContext) -> None:
        """State on a frame or an encoder the colours of what `write` makes."""
        target.colorspace = _RGB if self._is_rgb else _BT709
        target.color_range = ColorRange.JPEG if self._is_rgb else ColorRange.MPEG
        target.color_primaries = ColorPrimaries.BT709
        target.color_trc = ColorTrc.BT709


class PaletteWriter:
    """Reduces each picture to its own 256 colours, for GIF. One thread at a time."""

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


def is_hdr(frame: VideoFrame) -> bool:
    """Whether the frame is of high dynamic range."""
    return frame.color_trc in _HDR


def _array(frame: VideoFrame) -> Image:
    return np.asarray(frame.to_ndarray(), np.uint8)  # a view wherever rows are not padded


def matrix_of(frame: VideoFrame) -> int | None:
    """swscale's number of the matrix that the file states or players guess; None for RGB."""
    if frame.format.is_rgb:
        return None
    if frame.colorspace == _UNSPECIFIED:
        large = frame.width >= 1280 or frame.height > 576
        return Matrix.ITU709 if large else Matrix.ITU601
    return _SWSCALE_MATRIX.get(frame.colorspace)


def range_of(frame: VideoFrame) -> int:
    """Full or limited, as the file states or players guess."""
    if frame.color_range != ColorRange.UNSPECIFIED:
        return frame.color_range
    full = frame.format.is_rgb or frame.format.name.startswith("yuvj")
    return ColorRange.JPEG if full else ColorRange.MPEG
