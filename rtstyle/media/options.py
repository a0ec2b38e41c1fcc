"""What the user says: options of reading and writing, and what a path stands for.

An option that is None leaves the choice to the file. Paths are judged by their names, without
loading a library.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
HEIF_SUFFIXES = (".heic", ".heif")
PHOTO_SUFFIXES = (*HEIF_SUFFIXES, ".avif")  # that can be read, not written
VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".gif"),
    *(".ts", ".m2ts", ".mpg", ".mpeg", ".apng"),
)
BROADCAST_SUFFIXES = (".ts", ".m2ts", ".mpg", ".mpeg")  # of these, those that recordings have
NUMBER = re.compile(r"%0?\d*d")


@dataclass(frozen=True, slots=True, order=True)
class CameraMode:
    """`width`×`height` pixels, `rate` pictures a second, in FFmpeg's name of the `codec`."""

    width: int = 1280
    height: int = 720
    rate: float = 30
    codec: str = "mjpeg"

    def __str__(self) -> str:
        return f"{self.width}×{self.height} at {self.rate:g}/s {self.codec}"


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How a source is read.

    `start` and `duration`, in seconds, cut a video; `rate` is frames a second for pictures.
    `hwaccel` is where a video is decoded: "none" is the CPU, "cuda" an NVIDIA GPU, "auto" a GPU
    where that works. `camera` is what a camera is asked for; the nearest mode that it has is taken.
    With `keep_hdr`, high dynamic range is not only tone-mapped: what is written has it again. With
    `deinterlace`, frames that the file calls interlaced become progressive ones. `raw` is what a
    pipe without a header brings: (width, height, pixel format), at `rate` frames a second.
    With `once`, a video that is played live ends at its end instead of beginning again.
    """

    start: Fraction | None = None
    duration: Fraction | None = None
    rate: Fraction | None = None
    hwaccel: str = "none"
    camera: CameraMode = field(default_factory=CameraMode)
    keep_hdr: bool = False
    deinterlace: bool = True
    raw: tuple[int, int, str] | None = None
    once: bool = False


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """How a video is encoded, what is kept beside it, and what may be replaced.

    `crf` is the quality on the codec's own scale, lower is better; `bitrate`, in bits a second,
    replaces it. `format` is FFmpeg's name of what goes to a pipe. `audio_codec` re-encodes sound
    that would be copied. `options` go to the encoder as
    they are and win over everything else. `suffix`, such as ".png", renames pictures in a folder.
    `hwaccel` "auto" and "cuda" encode on an NVIDIA GPU where that works and no codec is chosen.
    `threads` is how many the encoder uses: what it makes may depend on that, as with libx264. With
    `alpha`, the frames' own is kept.
    """

    codec: str | None = None
    crf: float | None = None
    preset: str | None = None
    pixel_format: str | None = None
    bitrate: int | None = None
    format: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    keep_audio: bool = True
    audio_codec: str | None = None
    suffix: str | None = None
    overwrite: bool = False
    hwaccel: str = "none"
    threads: int | None = None
    alpha: bool = False

    @property
    def encodes(self) -> bool:
        """Whether anything is chosen that only a video has."""
        return bool(
            self.codec
            or self.crf is not None
            or self.preset
            or self.pixel_format
            or self.bitrate
            or self.audio_codec
            or self.options
        )


def is_picture(path: Path) -> bool:
    """Whether the name is one of an image file."""
    return path.suffix.lower() in PICTURE_SUFFIXES


def is_animation(path: Path) -> bool:
    """Whether a file named like a picture holds several: an APNG, WebP or HEIF that moves."""
    try:
        with path.open("rb") as file:
            head = file.read(1 << 16)
    except OSError:
        return False
    if head.startswith(b"\x89PNG"):
        return b"acTL" in head.partition(b"IDAT")[0]
    if head.startswith(b"RIFF") and head[8:16] == b"WEBPVP8X":
        return bool(head[20] & 2)
    return head[4:12] in (b"ftypavis", b"ftypmsf1", b"ftyphevc", b"ftyphevx")


def is_pattern(path: Path) -> bool:
    """Whether the name has a place for a number, printf's %d or %05d, and is itself no file."""
    return NUMBER.search(path.name) is not None and not path.exists()


def is_glob(path: Path) -> bool:
    """Whether the name is a glob and not itself a file."""
    return any(c in path.name for c in "*?[") and not path.exists()
