"""Which live source or sink a text names, and opening it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from pkgutil import resolve_name
from urllib.parse import urlsplit

from rtstyle.errors import UsageError
from rtstyle.frame import StreamInfo
from rtstyle.media import SINKS, SOURCES, Sink
from rtstyle.media.devices.capture import SCHEMES as SOURCE_SCHEMES
from rtstyle.media.devices.network import SCHEMES as SINK_SCHEMES
from rtstyle.media.devices.source import TIME_BASE, LiveSource
from rtstyle.media.devices.webcam import Capture
from rtstyle.media.options import VIDEO_SUFFIXES, WriteOptions


def open_live_source(text: str, capture: Capture | None = None) -> LiveSource:
    """Open `webcam[:N or name]`, `/dev/videoN`, a stream's address, `lavfi:GRAPH`,
    `screen[:WxH+X+Y]`, or a video file, which is looped at its own pace.

    `capture` is what a camera is asked for. Raises `MediaError`, `InputNotFoundError` and
    `UsageError`.
    """
    kind, _, rest = text.partition(":")
    if text.startswith("/dev/video"):
        kind, rest = "webcam", text
    if kind == "webcam":
        return _made("webcam", rest or "0", capture)
    if kind in ("lavfi", "screen"):
        return _made(kind, rest)
    if urlsplit(text).scheme in SOURCE_SCHEMES:
        return _made("stream", text)
    return _made("looped", Path(text).expanduser())


def open_live_sink(
    text: str, info: StreamInfo, *, overwrite: bool = False, hwaccel: str = "none"
) -> Sink:
    """Open `virtualcam[:DEVICE]`, a stream's address, a video file, or `null`.

    `hwaccel` is where a video file is encoded, as in `WriteOptions`.

    Raises `UsageError`, `OutputError`, `OutputExistsError`. Windows and pages need more than a
    name; their classes are called directly.
    """
    kind, _, rest = text.partition(":")
    if kind == "null":
        return _opened("null")
    if kind == "virtualcam":
        return _opened("virtualcam", info, device=rest or None)
    if urlsplit(text).scheme in SINK_SCHEMES:
        return _opened("network", text, info)
    if Path(text).suffix.lower() in VIDEO_SUFFIXES:
        live_info = replace(info, time_base=TIME_BASE, n_frames=None)
        options = WriteOptions(overwrite=overwrite, hwaccel=hwaccel)
        return _opened("file", Path(text).expanduser(), live_info, options=options)
    raise UsageError(
        f"There is no output {text!r}; expected window, virtualcam, web, null, a video file or an "
        f"address beginning with {', '.join(f'{scheme}://' for scheme in SINK_SCHEMES)}."
    )


def _made(kind: str, *arguments: object) -> LiveSource:
    make: Callable[..., LiveSource] = resolve_name(SOURCES[kind])
    return make(*arguments)


def _opened(kind: str, *arguments: object, **options: object) -> Sink:
    make: Callable[..., Sink] = resolve_name(SINKS[kind])
    return make(*arguments, **options)
