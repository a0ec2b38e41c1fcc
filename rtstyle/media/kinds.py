"""What a path is, told from its name, without opening it or loading any library."""

from __future__ import annotations

import re
from pathlib import Path

from rtstyle.errors import UsageError

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
