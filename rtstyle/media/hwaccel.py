"""Decoding and encoding on an NVIDIA card, where it can: NVDEC and NVENC through FFmpeg."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress
from fractions import Fraction
from functools import lru_cache

from av.codec import CodecContext
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext

from rtstyle.errors import UsageError

CHOICES = ("auto", "cuda", "none")
_ON_CARD = {"libx264": "h264_nvenc", "libx265": "hevc_nvenc", "libsvtav1": "av1_nvenc"}


def decoder_on_card(choice: str) -> HWAccel | None:
    """What to open a video with; None for software.

    "auto" is a card where there is a driver, and lets FFmpeg take software for what the card does
    not know; "cuda" does not. Frames stay in the card's memory; see `rtstyle.media.card_frames`.
    Raises `UsageError` for another word.
    """
    if choice not in CHOICES:
        raise UsageError(f"There is no hwaccel {choice!r}; use {', '.join(CHOICES)}.")
    if choice == "none" or (choice == "auto" and not _usable()):
        return None
    return HWAccel("cuda", allow_software_fallback=choice == "auto", is_hw_owned=True)


def encoder_on_card(codec: str, choice: str, width: int, height: int) -> str | None:
    """The card's encoder in place of the software one `codec`; None where none opens.

    Many cards have none (H100, H200), and all refuse very small pictures: what opens is tried.
    """
    if choice not in CHOICES:
        raise UsageError(f"There is no hwaccel {choice!r}; use {', '.join(CHOICES)}.")
    name = _ON_CARD.get(codec)
    if name is None or choice == "none" or (choice == "auto" and not _usable()):
        return None
    return name if _opens(name, width + width % 2, height + height % 2) else None


def frames_on_card(
    encoder: str, pixel_format: str | None, width: int, height: int
) -> HWAccel | None:
    """What to open the encoder with so that it takes frames where they lie on the card, and others
    too. None for one that takes its frames from this computer's memory: in software, or where the
    user chose their format."""
    if encoder not in _ON_CARD.values() or pixel_format is not None:
        return None
    opens = _opens(encoder, width + width % 2, height + height % 2)
    return HWAccel("cuda", is_hw_owned=True) if opens else None


def _usable() -> bool:
    """Whether this FFmpeg can use a card and there is NVIDIA's driver; asked without using it."""
    if "cuda" not in hwdevices_available():
        return False
    with suppress(OSError):
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        return True
    return False


@lru_cache(maxsize=16)
def _opens(name: str, width: int, height: int) -> bool:
    try:
        context = CodecContext.create(name, "w")
        assert isinstance(context, VideoCodecContext)
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.time_base = Fraction(1, 25)
        context.open()
    except (FFmpegError, ValueError, RuntimeError):
        return False
    return True
