"""Decoding and encoding on an NVIDIA GPU, where it can: NVDEC and NVENC through FFmpeg."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from functools import lru_cache

from av import VideoFrame
from av.codec import CodecContext
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext
from av.video.frame import CudaContext
from av.video.reformatter import ColorRange

from rtstyle.errors import UsageError
from rtstyle.frame import DeviceImage, Image, StreamInfo
from rtstyle.media.video.color import is_hdr, matrix_of, range_of

CHOICES = ("auto", "cuda", "none")
_NVENC = {"libx264": "h264_nvenc", "libx265": "hevc_nvenc", "libsvtav1": "av1_nvenc"}


def decoder_hwaccel(choice: str) -> HWAccel | None:
    """What to open a video with; None for software.

    "auto" is a GPU where there is a driver, and lets FFmpeg take software for what the GPU does
    not know; "cuda" does not. Frames stay in the GPU's memory; see `device_image`.
    Raises `UsageError` for another word.
    """
    if choice not in CHOICES:
        raise UsageError(f"There is no hwaccel {choice!r}; use {', '.join(CHOICES)}.")
    if choice == "none" or (choice == "auto" and not _usable()):
        return None
    return HWAccel("cuda", allow_software_fallback=choice == "auto", is_hw_owned=True)


def device_encoder(codec: str, choice: str, info: StreamInfo) -> str | None:
    """The GPU's encoder in place of the software one `codec`; None where none opens, and for high
    dynamic range, of which FFmpeg does not tell it all.

    Many GPUs have none (H100, H200), and all refuse very small pictures: what opens is tried.
    """
    if choice not in CHOICES:
        raise UsageError(f"There is no hwaccel {choice!r}; use {', '.join(CHOICES)}.")
    name = _NVENC.get(codec)
    if name is None or choice == "none" or (choice == "auto" and not _usable()) or info.high_range:
        return None
    return name if _opens(name, info) else None


def encoder_hwaccel(encoder: str, pixel_format: str | None, info: StreamInfo) -> HWAccel | None:
    """What to open the encoder with so that it takes frames where they lie on the GPU, and others
    too. None for one that takes its frames from this computer's memory: in software, of more than
    8 bits, or where the user chose their format."""
    if encoder not in _NVENC.values() or pixel_format is not None or info.bits > 8:
        return None
    return HWAccel("cuda", is_hw_owned=True) if _opens(encoder, info) else None


def software_notes(choice: str, frame: VideoFrame) -> tuple[str, ...]:
    """What to tell a user who wanted the GPU to decode, where software decoded `frame`."""
    if choice == "none" or frame.format.name == "cuda" or not _usable():
        return ()
    return ("it was decoded in software, as the GPU does not take it; --hwaccel cuda says why",)


def encoder_notes(choice: str, codec: str) -> tuple[str, ...]:
    """What to tell a user who wanted the GPU to encode, where `codec` was taken for it."""
    if choice == "none" or codec not in _NVENC or not _usable():
        return ()
    return (f"it was encoded by {codec}, as {_NVENC[codec]} does not open on this GPU",)


def _usable() -> bool:
    """Whether this FFmpeg can use a GPU and there is NVIDIA's driver; asked without using it."""
    if "cuda" not in hwdevices_available():
        return False
    with suppress(OSError):
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        return True
    return False


def _opens(name: str, info: StreamInfo) -> bool:
    return _opens_of_size(name, info.width + info.width % 2, info.height + info.height % 2)


@lru_cache(maxsize=16)
def _opens_of_size(name: str, width: int, height: int) -> bool:
    try:
        context = CodecContext.create(name, "w")
        assert isinstance(context, VideoCodecContext)
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.time_base = Fraction(1, 25)
        context.open()
    except (FFmpegError, ValueError, RuntimeError):
        return False
    return True


# FFmpeg's frames in a GPU's memory as pictures that stay there, and back; no copy either way.


# Of red and blue in luma, by swscale's number of the matrix.
_WEIGHTS = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
_NV12 = "nv12"


def device_image(frame: VideoFrame, download: Callable[[], Image]) -> DeviceImage | None:
    """The frame as a picture that stays on the GPU, or None for one that has to come down: not
    8 bit 4:2:0, interlaced, of high dynamic range, or in this computer's memory."""
    if frame.format.name != "cuda":
        return None
    return nv12_image(frame, download)


def nv12_image(frame: VideoFrame, download: Callable[[], Image]) -> DeviceImage | None:
    """As `device_image`, wherever the frame lies."""
    stored = frame.sw_format or frame.format
    weights = _WEIGHTS.get(matrix_of(frame) or 0)
    odd = frame.width % 2 or frame.height % 2
    if stored.name != _NV12 or odd or weights is None or frame.interlaced_frame or is_hdr(frame):
        return None
    luma, chroma = frame.planes[:2]
    return DeviceImage(
        luma,
        chroma,
        (frame.height, frame.width),
        weights,
        full_range=range_of(frame) == ColorRange.JPEG,
        device=luma.__dlpack_device__()[1],
        download=download,
    )


class DeviceFrames:
    """Makes frames for an encoder out of pictures on a GPU. Used by one thread."""

    def __init__(self) -> None:
        self._contexts: dict[int, CudaContext] = {}

    def frame(self, image: DeviceImage) -> VideoFrame:
        """The picture as a frame, which keeps its memory until the encoder has done with it."""
        height, width = image.size
        context = None
        if image.luma.__dlpack_device__()[0] == _CUDA:
            context = self._contexts.setdefault(image.device, CudaContext(image.device))
        return VideoFrame.from_dlpack(
            (image.luma, image.chroma), _NV12, width, height, cuda_context=context
        )


_CUDA = 2  # DLPack's number of the kind of device
