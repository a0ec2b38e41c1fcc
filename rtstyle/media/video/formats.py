"""How a video is encoded, by the output's suffix and the user's options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType

from av.video.format import VideoFormat

from rtstyle.errors import UsageError
from rtstyle.frame import HighRange, StreamInfo
from rtstyle.media.options import VIDEO_SUFFIXES, WriteOptions


@dataclass(frozen=True, slots=True)
class Container:
    """A file format that can be written.

    `audio_codec` and `text_codec` are for sound and text subtitles that it cannot hold as they are,
    None where it holds none. With `negative_times`, sound may start before time 0, as codecs with a
    delay require. `clock` is the unit of time, in seconds, that it imposes; with `counts_frames`,
    it has no times at all. `rates` are the only ones that its codec takes: times are multiples of
    one of them. Without `joins`, the packets of encoders that follow each other make no whole file.
    One that `is_bare` holds nothing beside the pictures.
    """

    muxer: str
    codec: str = "libx264"
    audio_codec: str | None = "aac"
    text_codec: str | None = "mov_text"
    negative_times: bool = False
    clock: Fraction | None = None
    counts_frames: bool = False
    rates: tuple[Fraction, ...] = ()
    joins: bool = True
    is_bare: bool = False
    options: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def tick(self, info: StreamInfo) -> Fraction:
        """The unit of time, in seconds, in which frames of this stream are encoded."""
        if self.counts_frames:
            return (1 / info.rate).limit_denominator(65_535)  # as much as MPEG-4 can say
        if self.rates:
            return 1 / next((rate for rate in self.rates if rate >= info.rate), self.rates[-1])
        # Matroska's muxer rounds to its clock itself; the encoder does better with exact times.
        return self.clock if self.clock and self.muxer == "gif" else info.time_base


_MPEG_CLOCK = Fraction(1, 90_000)
_MPEG_TS = Container("mpegts", text_codec=None, clock=_MPEG_CLOCK)
_MPEG_RATES = tuple(
    sorted({n * f for n in (1, 2) for f in map(Fraction, (5, 10, 12, 15, 24, 25, 30, 50, 60))}
           | {Fraction(n * 1000, 1001) for n in (12, 15, 24, 30, 60)})
)  # fmt: skip
_MPEG_PS = Container(
    "mpeg", "mpeg2video", "mp2", None, clock=_MPEG_CLOCK, rates=_MPEG_RATES, joins=False
)
_FAST_START = MappingProxyType({"movflags": "+faststart"})
_MILLISECOND = Fraction(1, 1000)
_MP4 = Container("mp4", negative_times=True, options=_FAST_START)
_CONTAINERS = {
    ".mp4": _MP4,
    ".m4v": _MP4,
    ".mov": Container("mov", negative_times=True, options=_FAST_START),
    ".mkv": Container("matroska", "libx264", "libopus", "subrip", clock=_MILLISECOND),
    ".webm": Container("webm", "libvpx-vp9", "libopus", "webvtt", clock=_MILLISECOND),
    ".avi": Container("avi", "mpeg4", "libmp3lame", None, counts_frames=True),
    ".gif": Container("gif", "gif", None, None, clock=Fraction(1, 100)),
    ".apng": Container(
        "apng", "apng", None, None, joins=False, options=MappingProxyType({"plays": "0"})
    ),
    ".ts": _MPEG_TS,
    ".m2ts": replace(_MPEG_TS, options=MappingProxyType({"mpegts_m2ts_mode": "1"})),
    ".mpg": _MPEG_PS,
    ".mpeg": _MPEG_PS,
}

_PIPED = {
    "matroska": _CONTAINERS[".mkv"],
    "mpegts": _MPEG_TS,
    "yuv4mpegpipe": Container("yuv4mpegpipe", "rawvideo", None, None, counts_frames=True),
    "rawvideo": Container("rawvideo", "rawvideo", None, None, counts_frames=True, is_bare=True),
    "nut": Container("nut", "rawvideo", "pcm_s16le", None),
}

# libx264, CRF 18, 640x360, core-ms and KB a frame of a painted clip: superfast 3.3 and 13.7,
# veryfast 4.7 and 11.1, faster 7.3 and 10.7, medium 12.6 and 10.7, all within 1.7 dB.
# Encoding competes with the net for the same cores: hence superfast.
_DEFAULTS: dict[str, dict[str, str]] = {
    "libx264": {"crf": "18", "preset": "superfast"},
    "libx265": {"crf": "20", "preset": "fast", "x265-params": "log-level=none"},
    "libvpx-vp9": {"crf": "24", "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"},
    "libvpx": {"crf": "8", "b": "8M", "deadline": "good", "cpu-used": "4"},
    "libsvtav1": {"crf": "24", "preset": "8"},
    "libaom-av1": {"crf": "24", "cpu-used": "6", "row-mt": "1"},
    "h264_nvenc": {"rc": "vbr", "cq": "19", "preset": "p5"},
    "hevc_nvenc": {"rc": "vbr", "cq": "21", "preset": "p5"},
    "av1_nvenc": {"rc": "vbr", "cq": "24", "preset": "p5"},
    "mpeg4": {"flags": "+qscale", "global_quality": str(3 * 118)},
    "mpeg2video": {"flags": "+qscale", "global_quality": str(3 * 118)},
}
_LARGE = 4_000_000  # pixels, from where on libx264 waits for no B-frames, which hold 220 MB of 4K
_QUALITY = ("crf", "cq", "flags", "global_quality")  # the defaults that a bit rate replaces
_PRESET_NAME = {"libvpx-vp9": "cpu-used", "libvpx": "cpu-used", "libaom-av1": "cpu-used"}
# Other codecs get 4:2:0, which plays everywhere, where they support it.
_PIXEL_FORMATS = {"ffv1": "bgr0", "libx264rgb": "rgb24", "prores_ks": "yuv422p10le", "gif": "pal8",
                  "apng": "rgb24", "h264_nvenc": "nv12", "hevc_nvenc": "nv12",
                  "av1_nvenc": "nv12"}  # fmt: skip
# Where the input has more than 8 bits a channel.
_DEEP = {"ffv1": "gbrp10le", "libx264": "yuv420p10le", "libx265": "yuv420p10le",
         "libsvtav1": "yuv420p10le", "libvpx-vp9": "yuv420p10le", "hevc_nvenc": "p010le",
         "av1_nvenc": "p010le"}  # fmt: skip
_DEEP_CODECS = {"libx264": "libx265", "libvpx-vp9": "libsvtav1"}  # for high dynamic range
_STATES_HDR = ("mp4", "mov", "matroska", "webm", "mpegts")
# Of an encoder, the option that states what a video was mastered on, the names in it, and whether
# it takes the standards' units: 0.00002 for x and y, 0.0001 cd/m2.
_STATES_MASTERING = {
    "libx265": ("x265-params", "master-display", "max-cll", True),
    "libx264": ("x264-params", "mastering-display", "cll", True),
    "libsvtav1": ("svtav1-params", "mastering-display", "content-light", False),
}
_ANY_SIZE = {
    *("libvpx", "libvpx-vp9", "libaom-av1", "ffv1", "rawvideo", "gif", "libx264rgb", "png", "apng"),
    "mpeg4",
}


def container_for(path: Path) -> Container:
    """The container that the output's suffix names. Raises `UsageError` for an unknown one."""
    try:
        return _CONTAINERS[path.suffix.lower()]
    except KeyError:
        raise UsageError(
            f"The video format of {path.name!r} cannot be told from its suffix; "
            f"use one of {' '.join(VIDEO_SUFFIXES)}."
        ) from None


def piped_container(name: str | None) -> Container:
    """The container for a pipe by FFmpeg's name of it. Raises `UsageError` for another one."""
    try:
        return _PIPED[name or "matroska"]
    except KeyError:
        raise UsageError(
            f"A pipe takes the format {', '.join(_PIPED)}, not {name!r}; the others need a file."
        ) from None


# With alpha: codecs by their containers, and their pixel formats.
_ALPHA_CODECS = {"mov": "prores_ks", "matroska": "ffv1", "webm": "libvpx-vp9", "apng": "apng"}
_ALPHA_FORMATS = {"prores_ks": "yuva444p10le", "ffv1": "yuva444p", "libvpx-vp9": "yuva420p",
                  "apng": "rgba", "png": "rgba"}  # fmt: skip
_ALPHA_OPTIONS = {"libvpx-vp9": {"auto-alt-ref": "0"}, "prores_ks": {"profile": "4444"}}


def usual_codec(container: Container, info: StreamInfo, *, alpha: bool = False) -> str:
    """The codec where none is chosen. Raises `UsageError` where high dynamic range or `alpha` is to
    be kept in a container that cannot state it."""
    if alpha:
        if container.muxer not in _ALPHA_CODECS:
            raise UsageError(
                f"{container.muxer} cannot hold transparency; with --alpha the output is a mov, "
                "webm, mkv, apng or png."
            )
        return _ALPHA_CODECS[container.muxer]
    if info.high_range is None:
        return container.codec
    if container.muxer not in _STATES_HDR:
        raise UsageError(
            f"{container.muxer} cannot state high dynamic range; with --hdr keep the output is an "
            "mp4, mov, mkv, webm or ts."
        )
    return _DEEP_CODECS[container.codec]


def encoder_options(codec: str, wanted: WriteOptions, info: StreamInfo) -> dict[str, str]:
    """The options for FFmpeg's encoder `codec`."""
    options = dict(_DEFAULTS.get(codec, {}))
    if codec == "libx264" and info.width * info.height > _LARGE and wanted.preset is None:
        options["bf"] = "0"
    if info.high_range is not None and codec in _STATES_MASTERING:
        name, display, levels, unit = _STATES_MASTERING[codec]
        stated = _mastering(info.high_range, display, levels, in_units=unit)
        options[name] = ":".join(filter(None, (options.get(name), *stated)))
    if wanted.alpha:
        options |= _ALPHA_OPTIONS.get(codec, {})
    if wanted.bitrate is not None:
        options = {key: value for key, value in options.items() if key not in _QUALITY}
        options["b"] = str(wanted.bitrate)
    if wanted.crf is not None:
        options["cq" if codec.endswith("_nvenc") else "crf"] = f"{wanted.crf:g}"
    if wanted.preset is not None:
        options[_PRESET_NAME.get(codec, "preset")] = wanted.preset
    return options | dict(wanted.options)


def pixel_format_for(
    codec: str, supported: list[str] | None, wanted: WriteOptions, info: StreamInfo
) -> str:
    """The pixel format to encode; `supported` are those that the encoder takes.

    Raises `UsageError` for another one, and where high dynamic range is to be kept in 8 bits.
    """
    if wanted.alpha and (wanted.pixel_format or codec not in _ALPHA_FORMATS):
        raise UsageError(
            f"With --alpha the codec is {', '.join(_ALPHA_FORMATS)}, in its own pixel format, not "
            f"{codec} {wanted.pixel_format or ''}".rstrip()
            + "."
        )
    if wanted.alpha:
        chosen = _ALPHA_FORMATS[codec]
    elif wanted.pixel_format:
        if wanted.pixel_format not in (supported or [wanted.pixel_format]):
            raise UsageError(
                f"The codec {codec} has no pixel format {wanted.pixel_format!r}; it has "
                f"{', '.join(supported or [])}."
            )
        chosen = wanted.pixel_format
    elif info.bits > 8 and _DEEP.get(codec) in (supported or []):
        chosen = _DEEP[codec]
    else:
        usual = _PIXEL_FORMATS.get(codec, "yuv420p")
        chosen = supported[0] if supported and usual not in supported else usual
    if info.high_range is not None and bits_in(chosen) < 10:
        raise UsageError(
            f"High dynamic range takes 10 bits, but {codec} writes {chosen}, which has 8; use "
            "libx265, libx264 or libsvtav1, or leave --hdr keep out."
        )
    return chosen


def bits_in(pixel_format: str) -> int:
    """Bits a channel."""
    return VideoFormat(pixel_format).components[0].bits


def _mastering(kept: HighRange, display: str, levels: str, *, in_units: bool) -> list[str]:
    """The options that state what the video was mastered on, in the standards' units or in 1."""
    found = []
    if kept.mastering:
        of = [f"{float(n * 50_000 if in_units else n):g}" for n in kept.mastering[:8]]
        light = [f"{float(n * 10_000 if in_units else n):.10g}" for n in kept.mastering[8:]]
        points = dict(zip("RGB", zip(of[0:6:2], of[1:6:2], strict=True), strict=True))
        text = "".join(f"{name}({','.join(points[name])})" for name in "GBR")
        found.append(f"{display}={text}WP({of[6]},{of[7]})L({light[1]},{light[0]})")
    if kept.light_levels:
        found.append(f"{levels}={kept.light_levels[0]},{kept.light_levels[1]}")
    return found


def needs_even_size(codec: str, pixel_format: str) -> bool:
    """Whether the encoder refuses odd sizes, as most do when chroma is halved."""
    return codec not in _ANY_SIZE and ("420" in pixel_format or pixel_format in ("nv12", "p010le"))
