"""Every source and sink: one row each, and the two functions that open them by name.

Packages add rows of their own by entry points of the groups `rtstyle.sources` and `rtstyle.sinks`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload
from urllib.parse import urlsplit

from rtstyle.errors import UsageError, optional
from rtstyle.frame import StreamInfo
from rtstyle.media.base import Origin, Panel, Sink, SinkRequest, Source
from rtstyle.media.options import (
    HEIF_SUFFIXES,
    PICTURE_SUFFIXES,
    VIDEO_SUFFIXES,
    ReadOptions,
    WriteOptions,
    is_animation,
    is_glob,
    is_pattern,
    is_picture,
)
from rtstyle.plugins import add_rows

if TYPE_CHECKING:
    from rtstyle.media.devices.sound import SoundRing
    from rtstyle.media.devices.source import LiveSource

__all__ = [
    "SINKS",
    "SOURCES",
    "Origin",
    "ReadOptions",
    "Row",
    "Sink",
    "Source",
    "WriteOptions",
    "open_sink",
    "open_source",
    "place_of",
    "sink_kind",
    "source_kind",
]


@dataclass(frozen=True, slots=True)
class Row:
    """A kind of source or sink, and the names by which a user asks for it.

    `place` is "module:Class", imported on request; its `from_name` opens one. `recognises` looks at
    a name; the first row that recognises it opens it. `live` rows run in real time and are for
    `rtstyle live`, the others are for files; None is for both.
    """

    place: str
    recognises: Callable[[str], bool]
    live: bool | None = False


def _word(*words: str) -> Callable[[str], bool]:
    """Recognises "word" and "word:anything"."""
    return lambda name: name.partition(":")[0] in words


def _address(*schemes: str) -> Callable[[str], bool]:
    return lambda name: urlsplit(name).scheme in schemes


def _is_camera(name: str) -> bool:
    return _word("webcam")(name) or name.startswith("/dev/video")


def _is_sequence(name: str) -> bool:
    path = Path(name)
    return path.is_dir() or is_glob(path) or is_pattern(path)


def _is_still(name: str) -> bool:
    return is_picture(Path(name)) and not is_pattern(Path(name))


def _is_moving_webp(name: str) -> bool:
    return name.lower().endswith(".webp") and is_animation(Path(name))


def _is_one_picture(name: str) -> bool:
    return _is_still(name) and not is_animation(Path(name))


def _is_photo(name: str) -> bool:
    # By libheif: phones store a photograph in tiles, of which FFmpeg's decoders give the first.
    return Path(name).suffix.lower() in HEIF_SUFFIXES and not is_animation(Path(name))


def _becomes_sequence(name: str) -> bool:
    path = Path(name)
    return is_picture(path) or path.is_dir() or not path.suffix


def _becomes_video(name: str) -> bool:
    return Path(name).suffix.lower() in VIDEO_SUFFIXES


_DEVICES, _VIDEO = "rtstyle.media.devices", "rtstyle.media.video"
_STREAMS = ("http", "https", "rtsp", "rtsps", "rtmp", "srt", "udp")
_SERVERS = ("rtmp", "rtmps", "rtsp", "srt", "udp")

SOURCES = {
    "pipe": Row(f"{_VIDEO}.pipe:PipeSource", lambda name: name == "-"),
    "address": Row(f"{_VIDEO}.address:AddressSource", _address("http", "https")),
    "pattern": Row(f"{_VIDEO}.pattern:PatternSource", _word("lavfi")),
    "webcam": Row(f"{_DEVICES}.webcam:WebcamSource", _is_camera, live=True),
    "lavfi": Row(f"{_DEVICES}.capture:LavfiSource", _word("lavfi"), live=True),
    "screen": Row(f"{_DEVICES}.capture:ScreenSource", _word("screen"), live=True),
    "stream": Row(f"{_DEVICES}.capture:StreamSource", _address(*_STREAMS), live=True),
    "looped": Row(f"{_DEVICES}.capture:LoopedFileSource", lambda name: True, live=True),
    "sequence": Row("rtstyle.media.sequence:SequenceSource", _is_sequence),
    "animation": Row("rtstyle.media.sequence:AnimationSource", _is_moving_webp),
    "still": Row("rtstyle.media.sequence:StillSource", _is_one_picture),
    "photo": Row("rtstyle.media.sequence:StillSource", _is_photo),
    "file": Row(f"{_VIDEO}.source:FileSource", lambda name: True),
}
SINKS = {
    "window": Row(f"{_DEVICES}.window:WindowSink", lambda name: name == "window", live=True),
    "web": Row("rtstyle.serve.web_sink:WebSink", lambda name: name == "web", live=True),
    "virtualcam": Row(f"{_DEVICES}.virtualcam:VirtualCameraSink", _word("virtualcam"), live=True),
    "ndi": Row(f"{_DEVICES}.ndi:NdiSink", _word("ndi"), live=True),
    "null": Row("rtstyle.media.synthetic:NullSink", _word("null"), live=True),
    "network": Row(f"{_DEVICES}.network:NetworkSink", _address(*_SERVERS), live=True),
    "pipe": Row(f"{_VIDEO}.pipe:PipeSink", lambda name: name in ("-", "pipe:", "pipe:1")),
    "still": Row("rtstyle.media.sequence:StillSink", _is_still),
    "sequence": Row("rtstyle.media.sequence:SequenceSink", _becomes_sequence),
    "file": Row(f"{_VIDEO}.sink:FileSink", _becomes_video, live=None),
}


def place_of(name: str | PathLike[str]) -> Path | str:
    """The path that `name` means, without FFmpeg's "file:" before it.

    An address or a pattern stays as it is, and "-" is standard input, as FFmpeg's "pipe:0" is.
    """
    name = os.fspath(name)
    if name in ("-", "pipe:", "pipe:0"):
        return "-"
    if source_kind(name) in ("address", "pattern", "pipe"):
        return name
    return Path(name.removeprefix("file:"))


def source_kind(path: str | PathLike[str], *, live: bool = False) -> str:
    """The row of `SOURCES` that opens `path`."""
    add_rows(SOURCES, "rtstyle.sources", Row)
    return next(k for k, row in SOURCES.items() if _fits(row, os.fspath(path), live))


def sink_kind(path: str | PathLike[str], *, live: bool = False) -> str:
    """The row of `SINKS` that opens `path`. Raises `UsageError` where there is none."""
    name = os.fspath(path)
    add_rows(SINKS, "rtstyle.sinks", Row)
    for kind, row in SINKS.items():
        if _fits(row, name, live):
            return kind
    if live:
        raise UsageError(
            f"There is no output {name!r}; expected window, virtualcam, web, null, a video file or "
            f"an address beginning with {', '.join(f'{scheme}://' for scheme in _SERVERS)}."
        )
    raise UsageError(
        f"What {Path(name).name!r} should become cannot be told from its suffix; end it in "
        f"{' '.join(VIDEO_SUFFIXES)} for a video, in {' '.join(PICTURE_SUFFIXES)} for a picture, "
        "or name a folder."
    )


def _fits(row: Row, name: str, live: bool) -> bool:
    return row.live in (None, live) and row.recognises(name)


@overload
def open_source(
    path: str | PathLike[str], reading: ReadOptions | None = None, *, live: Literal[False] = False
) -> Source: ...
@overload
def open_source(
    path: str | PathLike[str], reading: ReadOptions | None = None, *, live: Literal[True]
) -> LiveSource: ...
def open_source(
    path: str | PathLike[str], reading: ReadOptions | None = None, *, live: bool = False
) -> Source:
    """Open a video, a picture, or the pictures of a folder, glob or pattern (frame_%05d.png).

    A video may also be at an http or https address, or generated by `lavfi:GRAPH`.

    With `live`, open what delivers frames in real time: `webcam[:N or name]`, `/dev/videoN`, a
    stream's address, `lavfi:GRAPH`, `screen[:WxH+X+Y]`, or a video, played over and over at its own
    pace. Raises `InputNotFoundError`, `MediaError`, and `UsageError` for an option that does not
    apply.
    """
    name = os.fspath(path)
    kind = source_kind(name, live=live)
    source: Source = _load(f"The source {kind}", SOURCES[kind]).from_name(
        name, reading or ReadOptions()
    )
    return source


def open_sink(
    path: str | PathLike[str],
    source: Source | StreamInfo,
    writing: WriteOptions | None = None,
    *,
    live: bool = False,
    panel: Panel | None = None,
    sound: SoundRing | None = None,
) -> Sink:
    """Open the output that `path` names for the frames of `source`.

    A video's suffix makes a video, with the sound and all else that `source` has beside its
    pictures; a picture's suffix makes one picture or, with %d in the name, many; a folder takes
    pictures. With `live`, it is `window`, `web`, `virtualcam[:DEVICE]`, a server's address, a video
    or `null`; `panel` is the live run that a window or a page shows, `sound` what files and servers
    get beside the pictures. Raises `UsageError`, `OutputExistsError` and `OutputError`, before any
    work.
    """
    name = os.fspath(path)
    if isinstance(source, StreamInfo):
        info, origin = source, None
    else:
        info, origin = source.info, source.origin
    request = SinkRequest(info, origin, writing or WriteOptions(), panel, sound)
    kind = sink_kind(name, live=live)
    sink: Sink = _load(f"The output {kind}", SINKS[kind]).from_name(name, request)
    return sink


def _load(what: str, row: Row) -> Any:
    """The row's class. Raises `MissingExtraError` where its libraries are not installed."""
    module, _, name = row.place.partition(":")
    return getattr(optional(module, what), name)
