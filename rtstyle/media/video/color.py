"""Decoded frames to full-range RGB, and RGB back to what an encoder takes.

The matrix and range are those the file states. Where it states none, pictures wider than 1279 or
higher than 576 are BT.709 and smaller ones BT.601, and YUV is of limited range: the guess that
players make. Primaries and transfer of standard-range video are left alone, as players do, and
tagged as they were; high dynamic range is tone-mapped, and put back where it is kept. Encoded is
YUV of the matrix that goes with the primaries, limited range, and tagged so.

More than 8 bits a channel are dithered to the 8 of a net, and back to what the encoder takes: a
fixed pattern of 2×2 pixels decides what is rounded up, and is subtracted again afterwards
(subtractive dither, Roberts 1962). Averaged over a pattern nothing is lost, a stylized picture has
no more steps than the original, and unlike noise the pattern does not flicker.
"""

from __future__ import annotations

from fractions import Fraction
from struct import unpack

import numpy as np
from av import VideoFrame
from av.filter import Graph
from av.sidedata.sidedata import Type
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
from numpy.typing import NDArray

from rtstyle.frame import Gain, HighRange, Image, StreamInfo
from rtstyle.media.video.side_data import side_data_of
from rtstyle.media.video.tonemap import LightKeeper, ToneMapper

# The default, fast path repeats chroma samples and truncates: up to 3 levels off on flat colours,
# with steps along edges. These flags interpolate and round (at most 1 level off).
_PRECISE = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
_DEEP = "gbrp10le"  # swscale makes garbage of some colours on the way to rgb48le
_RGB, _BT709, _UNSPECIFIED, _BT2020 = 0, 1, 2, 9  # matrices, as FFmpeg numbers them
_HDR = {ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67}
_SWSCALE_MATRIX = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}  # AVCOL_SPC_* to SWS_CS_*
_THREADED_FROM = 1 << 20  # pixels; below, starting threads costs more than it saves
_LEVELS = np.arange(256)
_DITHER = {  # by row and column, modulo 2: what is added before rounding down, in levels of 8 bits
    (row, column): (step + 0.5) / 4
    for (row, column), step in {(0, 0): 0, (0, 1): 2, (1, 0): 3, (1, 1): 1}.items()
}
_TO_8_BITS = {
    place: (np.arange(1024) * 255 / 1023 + added).astype(np.uint8)
    for place, added in _DITHER.items()
}
_FROM_8_BITS = {  # black and white stay what they are
    place: np.round(np.where(_LEVELS % 255, _LEVELS + 0.5 - added, _LEVELS) * 1023 / 255).astype(
        np.uint16
    )
    for place, added in _DITHER.items()
}


def dithered(image: NDArray[np.uint16]) -> Image:
    """An (H, W, 3) picture of 10 bits a channel in 8."""
    out = np.empty(image.shape, np.uint8)
    for (row, column), table in _TO_8_BITS.items():
        out[row::2, column::2] = table[image[row::2, column::2]]
    return out


def undithered(image: Image) -> NDArray[np.uint16]:
    """The inverse of `dithered`, but for noise of half a level of 8 bits."""
    out = np.empty(image.shape, np.uint16)
    for (row, column), table in _FROM_8_BITS.items():
        out[row::2, column::2] = table[image[row::2, column::2]]
    return out


class RgbReader:
    """Turns decoded frames into RGB pictures of one size. One thread at a time.

    With `keep_hdr`, `read_light` gives what `RgbWriter` puts high dynamic range back with.
    """

    def __init__(self, width: int, height: int, *, keep_hdr: bool = False) -> None:
        self._size = (width, height)
        self._keep_hdr = keep_hdr
        self._reformatter = VideoReformatter()
        self._tone_mapper: ToneMapper | None = None
        self._light: LightKeeper | None = None
        self._is_transparent = False
        self._notes: dict[str, None] = {}

    @property
    def notes(self) -> list[str]:
        """What was lost so far, one sentence each."""
        return list(self._notes)

    def read(self, frame: VideoFrame) -> Image:
        """The frame as (H, W, 3) uint8 RGB, as stored (not turned upright)."""
        return self.read_light(frame)[0]

    def read_light(self, frame: VideoFrame) -> tuple[Image, Gain | None]:
        """As `read`; and where high dynamic range is kept, the light that tone mapping took."""
        width, height = self._size
        if (frame.width, frame.height) != self._size:
            self._note(
                f"the picture size changes within the video (to {frame.width}x{frame.height}); "
                f"every frame was scaled to the first one's {width}x{height}"
            )
        if not self._is_transparent and is_transparent(frame):
            self._is_transparent = True
            self._note("the video has transparency, which was dropped")
        if frame.interlaced_frame:
            self._note("the video is interlaced; both fields of a frame were kept in one picture")
        if is_hdr(frame):
            return self._tone_map(frame)
        if bits_of(frame) > 8:
            deep = self._convert(frame, _DEEP)
            return dithered(np.asarray(deep.to_ndarray(), np.uint16)), None
        return _array(self._convert(frame, "rgb24")), None

    def _tone_map(self, frame: VideoFrame) -> tuple[Image, Gain | None]:
        hlg = is_hlg(frame)
        deep = self._convert(frame, _DEEP)
        if self._tone_mapper is None:
            self._tone_mapper = ToneMapper(*self._size, hlg=hlg)
        mapped = self._tone_mapper.map(deep)
        image = _array(mapped.reformat(format="rgb24", dst_color_range=ColorRange.JPEG))
        if not self._keep_hdr:
            name = "HLG" if hlg else "PQ"
            self._note(
                f"high dynamic range ({name}) was tone-mapped to standard range (BT.709); "
                "--hdr keep keeps it"
            )
            return image, None
        if self._light is None:
            self._light = LightKeeper(hlg=hlg)
        return image, self._light.gain(deep, image)

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
    """Turns RGB pictures of the stream `info` into frames of an encoder's pixel format. One thread
    at a time.

    YUV is of limited range; an RGB format (lossless codecs) stays full range.
    """

    def __init__(self, pixel_format: str, info: StreamInfo | None = None) -> None:
        info = info or StreamInfo(1, 1, Fraction(1), Fraction(1))
        described = VideoFormat(pixel_format)
        self._format = pixel_format
        self._is_rgb = described.is_rgb
        self._deepens = info.bits > 8 and described.components[0].bits > 8
        self._light = LightKeeper(hlg=info.high_range.hlg) if info.high_range else None
        self._primaries, self._transfer = info.primaries, info.transfer
        self._matrix = Matrix.ITU709 if info.primaries != _BT2020 else Matrix(_BT2020)
        self.is_yuv420 = pixel_format in ("yuv420p", "nv12")  # of 8 bits
        self._reformatter = VideoReformatter()

    def write(self, image: Image, gain: Gain | None = None) -> VideoFrame:
        """A uint8 RGB picture, (H, W, 3) or with alpha (H, W, 4), as a frame, tagged; `gain` is the
        one of its original."""
        height, width = image.shape[:2]
        frame = self._reformatter.reformat(
            self._source(image, gain),
            format=self._format,
            dst_colorspace=None if self._is_rgb else self._matrix,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.JPEG if self._is_rgb else ColorRange.MPEG,
            interpolation=_PRECISE,
            threads=0 if width * height >= _THREADED_FROM else 1,
        )
        self.tag(frame)
        return frame

    def _source(self, image: Image, gain: Gain | None) -> VideoFrame:
        if image.shape[2] == 4:
            return VideoFrame.from_ndarray(image, "rgba")
        if self._light is not None:
            known = np.ones(image.shape[:2], np.float32) if gain is None else gain
            return VideoFrame.from_ndarray(self._light.restore(image, known), "gbrp16le")
        if self._deepens:
            return VideoFrame.from_ndarray(undithered(image), _DEEP)
        return VideoFrame.from_numpy_buffer(image)

    def tag(self, target: VideoFrame | VideoCodecContext) -> None:
        """State on a frame or an encoder the colours of what `write` makes."""
        target.colorspace = _RGB if self._is_rgb else int(self._matrix)
        target.color_range = ColorRange.JPEG if self._is_rgb else ColorRange.MPEG
        target.color_primaries = self._primaries
        target.color_trc = self._transfer


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


def is_hlg(frame: VideoFrame) -> bool:
    """Whether the high dynamic range of the frame is HLG, not PQ."""
    return frame.color_trc == ColorTrc.ARIB_STD_B67


def high_range(frame: VideoFrame) -> HighRange | None:
    """What to keep of the high dynamic range of the frame; None for standard range."""
    if not is_hdr(frame):
        return None
    data = side_data_of(frame)
    mastering: tuple[Fraction, ...] = ()
    levels: tuple[int, ...] = ()
    if Type.MASTERING_DISPLAY_METADATA in data:  # FFmpeg's struct: ten rationals, two flags
        numbers = unpack("=22i", bytes(data[Type.MASTERING_DISPLAY_METADATA])[:88])
        if all(numbers[20:]) and all(numbers[1:20:2]):
            pairs = zip(numbers[:20:2], numbers[1:20:2], strict=True)
            mastering = tuple(Fraction(*pair) for pair in pairs)
    if Type.CONTENT_LIGHT_LEVEL in data:
        levels = unpack("=2I", bytes(data[Type.CONTENT_LIGHT_LEVEL])[:8])
    return HighRange(is_hlg(frame), mastering, levels)


def tags_of(frame: VideoFrame, *, keep_hdr: bool) -> tuple[int, int]:
    """FFmpeg's numbers of the primaries and the transfer of the pictures' RGB."""
    if is_hdr(frame) and not keep_hdr:
        return int(ColorPrimaries.BT709), int(ColorTrc.BT709)
    known = int(frame.color_primaries), int(frame.color_trc)
    primaries, transfer = (1 if tag in (0, _UNSPECIFIED, 3) else tag for tag in known)
    return primaries, transfer


def bits_of(frame: VideoFrame) -> int:
    """Bits a channel, as stored."""
    return (frame.sw_format or frame.format).components[0].bits


def is_transparent(frame: VideoFrame) -> bool:
    """Whether something shines through: that there is an alpha channel does not say so."""
    if not any(c.is_alpha for c in frame.format.components):
        return False
    return bool(frame.reformat(format="rgba").to_ndarray()[..., 3].min() < 255)


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
