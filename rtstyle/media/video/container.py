"""Opening a video file, with one sentence for whatever is wrong with it."""

from __future__ import annotations

from pathlib import Path

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.error import ExitError, FFmpegError
from av.stream import Disposition
from av.video.stream import VideoStream

from rtstyle.errors import InputNotFoundError, MediaError
from rtstyle.media.video.nvcodec import decoder_hwaccel

# Formats whose streams lie in the file itself. Playlists (hls, dash, concat), devices and image
# patterns are left out: a file handed to us must not make us open others.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,vvc,av1,obu,"
    "ivf,ogg,flv,asf,gif,apng,yuv4mpegpipe,nut,mxf,rm,dv,wtv,mjpeg,dirac,rawvideo,mp3,wav,flac,aac"
)
_EBML = b"\x1a\x45\xdf\xa3"  # the ids of a Matroska file's header and of its only segment
_SEGMENT = b"\x18\x53\x80\x67"


def open_container(path: Path, hwaccel: str = "none") -> InputContainer:
    """Open a media file for reading, to be decoded as `rtstyle.media.video.nvcodec` says.

    Raises `InputNotFoundError` or `MediaError`.
    """
    if path.is_dir():
        raise MediaError(f"A video was expected, but {path} is a folder.")
    if not path.exists():
        raise InputNotFoundError(f"There is no file {path}; check its name.")
    try:
        if path.stat().st_size == 0:
            raise MediaError(f"{path} is empty (0 bytes); a video was expected.")
        if (accelerated := decoder_hwaccel(hwaccel)) is not None:
            try:
                return _open(path, accelerated)
            except (FFmpegError, RuntimeError, NotImplementedError) as error:
                if hwaccel != "auto":
                    raise MediaError(
                        f"{path} cannot be decoded on a GPU ({error}); use --hwaccel auto."
                    ) from error
        return _open(path, None)
    except PermissionError as error:
        raise MediaError(f"{path} cannot be read: permission denied.") from error
    except FFmpegError as error:
        raise MediaError(
            f"{path} is not a video that can be read (a whole file of a common video format was "
            f"expected; FFmpeg says: {reason(error)}); if it plays elsewhere, convert it to mp4."
        ) from error


def _open(path: Path, accelerated: HWAccel | None) -> InputContainer:
    return av.open(
        f"file:{path.absolute()}",
        "r",
        container_options={"protocol_whitelist": "file", "format_whitelist": FORMATS},
        metadata_errors="replace",
        hwaccel=accelerated,
    )


def best_video(container: InputContainer, path: Path | str) -> VideoStream:
    """The video stream that a player would show, never a cover picture."""
    videos = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not videos:
        kinds = sorted({str(s.type) for s in container.streams}) or ["nothing"]
        cover = " (a cover picture)" if container.streams.video else ""
        raise MediaError(f"{path} holds no video, only {', '.join(kinds)}{cover}.")
    decodable = [s for s in videos if s.codec_context is not None]
    if not decodable:
        raise MediaError(f"There is no decoder for the video in {path}; convert it to mp4 first.")
    best = container.streams.best("video")
    return best if best in decodable else decodable[0]


def reason(error: Exception) -> str:
    """What FFmpeg says, without its numbers and file names; of another error, its own words."""
    if not isinstance(error, FFmpegError):
        return str(error)
    if isinstance(error, ExitError):
        return "nothing came for too long"  # its timeout
    return (error.strerror or type(error).__name__).lower()


def is_cut_off(path: Path) -> bool:
    """True for a Matroska, WebM or AVI file shorter than its header states.

    Their demuxers end such a file without an error. Those of other formats report it (mp4), or the
    format states no size (MPEG-TS).
    """
    with path.open("rb") as file:
        head = file.read(4096)
    size = path.stat().st_size
    if head[:4] == b"RIFF":
        stated = int.from_bytes(head[4:8], "little")
        return 0 < stated < 0xFFFFFFFF and stated + 8 > size
    if head[:4] == _EBML:
        end = _segment_end(head)
        return end is not None and end > size
    return False


def _segment_end(head: bytes) -> int | None:
    """Where the Matroska segment ends; None when the file does not say, as live ones do not."""
    length, at = _variable_int(head, 4)
    at += length or 0
    if head[at : at + 4] != _SEGMENT:
        return None
    length, at = _variable_int(head, at + 4)
    return None if length is None else at + length


def _variable_int(data: bytes, at: int) -> tuple[int | None, int]:
    """An EBML variable-length integer and the position after it; all ones mean unknown."""
    first = data[at]
    width = 9 - first.bit_length()  # the leading zeros count the bytes that follow
    value = int.from_bytes(data[at : at + width], "big") & ((1 << 7 * width) - 1)
    return (None if value == (1 << 7 * width) - 1 else value), at + width
