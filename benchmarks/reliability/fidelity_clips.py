"""Clips of the codecs, kinds of GOP and containers in which a film is hard to begin midway."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.video.stream import VideoStream

from rtstyle.media.video.opening import start_encoding

SECONDS, RATE = 12, 25


@dataclass(frozen=True, slots=True)
class Kind:
    """An encoder and how it is set up; keyframes are `gop` frames apart where it is asked."""

    codec: str = "libx264"
    pixel_format: str = "yuv420p"
    gop: int = 30
    options: tuple[tuple[str, str], ...] = ()
    size: str = "192x128"


def _x264(parameters: str = "", pixel_format: str = "yuv420p", gop: int = 30) -> Kind:
    return Kind("libx264", pixel_format, gop, (("x264-params", parameters),))


def _x265(parameters: str, pixel_format: str = "yuv420p") -> Kind:
    return Kind("libx265", pixel_format, 30, (("x265-params", f"log-level=none:{parameters}"),))


_OPEN = "open-gop=1:bframes=3:b-pyramid=normal"
_MPEG = (("bf", "2"), ("b", "2M"))
KINDS = {
    "H.264 4:2:0.mp4": _x264(),
    "H.264 4:2:2.mp4": _x264(pixel_format="yuv422p"),
    "H.264 4:4:4.mp4": _x264(pixel_format="yuv444p"),
    "H.264 4:2:0 10 bit.mp4": _x264(pixel_format="yuv420p10le"),
    "H.264 4:2:2 10 bit.mp4": _x264(pixel_format="yuv422p10le"),
    "H.264 4:4:4 10 bit.mp4": _x264(pixel_format="yuv444p10le"),
    "H.264 lossless.mp4": _x264("qp=0", "yuv444p"),
    "H.264 open GOP.mp4": _x264(_OPEN),
    "H.264 open GOP.mkv": _x264(_OPEN),
    "H.264 open GOP.ts": _x264(_OPEN),
    "H.264 open GOP 4:4:4.mp4": _x264(_OPEN, "yuv444p"),
    "H.264 intra refresh.mp4": _x264("intra-refresh=1"),
    "H.264 intra refresh.ts": _x264("intra-refresh=1"),
    "H.264 long GOP.mp4": _x264("scenecut=0", gop=10_000),
    "H.264 16 references.mkv": _x264("ref=16:bframes=8"),
    "H.264 fields.mp4": _x264("interlaced=1"),
    "H.264 fields open GOP.ts": _x264(f"interlaced=1:{_OPEN}"),
    "H.264.flv": _x264("bframes=2"),
    "HEVC RASL.mp4": _x265("open-gop=1:bframes=4"),
    "HEVC RASL.mkv": _x265("open-gop=1:bframes=4"),
    "HEVC RASL.ts": _x265("open-gop=1:bframes=4"),
    "HEVC RADL.mp4": _x265("open-gop=0:radl=2:bframes=4"),
    "HEVC intra refresh.mp4": _x265("intra-refresh=1"),
    "HEVC 4:2:2 10 bit.mp4": _x265("open-gop=1", "yuv422p10le"),
    "AV1.mp4": Kind("libsvtav1", options=(("preset", "8"),)),
    "AV1 10 bit.mkv": Kind("libsvtav1", "yuv420p10le", options=(("preset", "8"),)),
    "VP9 alt-ref.webm": Kind(
        "libvpx-vp9",
        options=(("lag-in-frames", "16"), ("auto-alt-ref", "1"), ("deadline", "realtime")),
    ),
    "VP8 alt-ref.webm": Kind(
        "libvpx", options=(("lag-in-frames", "16"), ("auto-alt-ref", "1"), ("cpu-used", "8"))
    ),
    "MPEG-2.ts": Kind("mpeg2video", gop=12, options=_MPEG),
    "MPEG-2.mpg": Kind("mpeg2video", gop=12, options=_MPEG),
    "MPEG-2 4:2:2.mkv": Kind("mpeg2video", "yuv422p", 12, _MPEG),
    "MPEG-2 fields.ts": Kind("mpeg2video", gop=12, options=(*_MPEG, ("flags", "+ildct+ilme"))),
    "MPEG-4.avi": Kind("mpeg4", gop=12, options=_MPEG),
    "ProRes.mov": Kind("prores_ks", "yuv422p10le"),
    "ProRes 4444.mov": Kind("prores_ks", "yuv444p10le"),
    "FFV1.mkv": Kind("ffv1"),
    "FFV1 10 bit.mkv": Kind("ffv1", "yuv444p10le"),
    "DV.avi": Kind("dvvideo", size="720x576"),
    "DV.mov": Kind("dvvideo", size="720x576"),
    "MJPEG.avi": Kind("mjpeg", "yuvj420p"),
}


def make_kind(path: Path) -> Path:
    """Write the clip of the kind `path.name`: 12 seconds of a moving and noisy test picture."""
    kind = KINDS[path.name]
    graph = (
        f"testsrc2=size={kind.size}:rate={RATE}:duration={SECONDS},noise=alls=9:allf=t:all_seed=1,"
        f"negate=enable='between(t,5.3,7.9)',format={kind.pixel_format}"
    )
    with av.open(graph, format="lavfi") as pictures, av.open(str(path), "w") as output:
        stream = output.add_stream(kind.codec, rate=RATE, options=dict(kind.options))
        assert isinstance(stream, VideoStream)
        context = stream.codec_context
        context.width, context.height = map(int, kind.size.split("x"))
        context.pix_fmt, context.gop_size = kind.pixel_format, kind.gop
        context.time_base = Fraction(1, RATE)
        start_encoding(output)
        for number, frame in enumerate(pictures.decode(video=0)):
            frame.pts, frame.time_base, frame.pict_type = number, Fraction(1, RATE), 0
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path
