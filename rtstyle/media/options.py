"""What a user may choose about reading and writing; None leaves the choice to the file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from rtstyle.errors import UsageError


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """`start` and `duration`, in seconds, cut a video; `rate` is frames a second for pictures.

    `hwaccel` is where a video is decoded: "none" is this processor, "cuda" an NVIDIA card, "auto"
    a card where that works.
    """

    start: Fraction | None = None
    duration: Fraction | None = None
    rate: Fraction | None = None
    hwaccel: str = "none"


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """How a video is encoded, what is kept beside it, and what may be replaced.

    `crf` is the quality on the codec's own scale, lower is better. `options` go to the encoder as
    they are and win over everything else. `suffix`, such as ".png", renames pictures in a folder.
    `hwaccel` "auto" and "cuda" encode on an NVIDIA card where that works and no codec is chosen.
    `threads` is how many the encoder uses: what it makes may depend on that, as with libx264.
    """

    codec: str | None = None
    crf: float | None = None
    preset: str | None = None
    pixel_format: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    keep_audio: bool = True
    suffix: str | None = None
    overwrite: bool = False
    hwaccel: str = "none"
    threads: int | None = None

    @property
    def encodes(self) -> bool:
        """Whether anything is chosen that only a video has."""
        return bool(
            self.codec or self.crf is not None or self.preset or self.pixel_format or self.options
        )


# What a path is, told from its name, without opening it or loading any library.


PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".gif")
NUMBER = re.compile(r"%0?\d*d")


def is_picture(path: Path) -> bool:
    """Whether the name is one of an image file."""
    return path.suffix.lower() in PICTURE_SUFFIXES


def is_pattern(path: Path) -> bool:
    """Whether the name has a place for a number, printf's %d or %05d, and is itself no file."""
    return NUMBER.search(path.name) is not None and not path.exists()


def is_glob(path: Path) -> bool:
    """Whether the name is a glob and not itself a file."""
    return any(c in path.name for c in "*?[") and not path.exists()


def source_kind(path: Path) -> str:
    """What delivers the frames of `path`: "file", "still" or "sequence"."""
    if path.is_dir() or is_glob(path) or is_pattern(path):
        return "sequence"
    return "still" if is_picture(path) else "file"


def sink_kind(path: Path) -> str:
    """What takes frames into `path`. Raises `UsageError` for a suffix that says nothing."""
    if is_picture(path):
        return "sequence" if is_pattern(path) else "still"
    if path.is_dir() or not path.suffix:
        return "sequence"
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return "file"
    raise UsageError(
        f"What {path.name!r} should become cannot be told from its suffix; end it in "
        f"{' '.join(VIDEO_SUFFIXES)} for a video, in {' '.join(PICTURE_SUFFIXES)} for a picture, "
        "or name a folder."
    )
