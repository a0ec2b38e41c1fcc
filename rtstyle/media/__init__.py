"""Where pictures come from and go to, one device a file, loaded when asked for."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from pkgutil import resolve_name

from rtstyle.errors import UsageError
from rtstyle.media.base import Origin, Sink, Source
from rtstyle.media.options import ReadOptions, WriteOptions, sink_kind, source_kind

SOURCES = {
    "file": "rtstyle.media.video.source:FileSource",
    "still": "rtstyle.media.images:StillSource",
    "sequence": "rtstyle.media.sequence:SequenceSource",
    "synthetic": "rtstyle.media.synthetic:SyntheticSource",
    "webcam": "rtstyle.media.devices.webcam:WebcamSource",
    "stream": "rtstyle.media.devices.capture:StreamSource",
    "lavfi": "rtstyle.media.devices.capture:LavfiSource",
    "screen": "rtstyle.media.devices.capture:ScreenSource",
    "looped": "rtstyle.media.devices.capture:LoopedFileSource",
}
SINKS = {
    "file": "rtstyle.media.video.sink:FileSink",
    "still": "rtstyle.media.images:StillSink",
    "sequence": "rtstyle.media.sequence:SequenceSink",
    "null": "rtstyle.media.synthetic:NullSink",
    "tee": "rtstyle.media.synthetic:TeeSink",
    "window": "rtstyle.media.devices.window:WindowSink",
    "virtualcam": "rtstyle.media.devices.virtualcam:VirtualCameraSink",
    "network": "rtstyle.media.devices.network:NetworkSink",
}

__all__ = [
    "SINKS",
    "SOURCES",
    "Origin",
    "ReadOptions",
    "Sink",
    "Source",
    "WriteOptions",
    "open_sink",
    "open_source",
]


def open_source(path: str | PathLike[str], reading: ReadOptions | None = None) -> Source:
    """Open a video, a picture, or the pictures of a folder, glob or pattern (frame_%05d.png).

    Raises `InputNotFoundError`, `MediaError`, and `UsageError` for an option that does not apply.
    """
    path, reading = Path(path), reading or ReadOptions()
    kind = source_kind(path)
    make: Callable[..., Source] = resolve_name(SOURCES[kind])
    if kind == "file":
        if reading.rate is not None:
            raise UsageError(f"A rate applies to pictures; {path} has its own times.")
        return make(path, start=reading.start, duration=reading.duration, hwaccel=reading.hwaccel)
    if reading.start is not None or reading.duration is not None:
        raise UsageError(f"Start and duration cut a video; {path} names pictures.")
    return make(path) if reading.rate is None else make(path, rate=reading.rate)


def open_sink(
    path: str | PathLike[str], source: Source, writing: WriteOptions | None = None
) -> Sink:
    """Open the output that `path` names for the frames of `source`.

    A video's suffix makes a video, with the sound and all else that `source` has beside its
    pictures; a picture's suffix makes one picture or, with %d in the name, many; a folder takes
    pictures. Raises `UsageError`, `OutputExistsError` and `OutputError`, before any work.
    """
    path, writing = Path(path), writing or WriteOptions()
    kind = sink_kind(path)
    make: Callable[..., Sink] = resolve_name(SINKS[kind])
    if kind == "file":
        return make(path, source.info, origin=source.origin, options=writing)
    if writing.encodes:
        raise UsageError(f"A codec and its options apply to a video; {path} names pictures.")
    if kind == "sequence":
        return make(path, origin=source.origin, suffix=writing.suffix, overwrite=writing.overwrite)
    if (source.info.n_frames or 1) > 1:
        raise UsageError(
            f"{path} is one picture, but the input has about {source.info.n_frames} frames; "
            "name a video, a folder, or a pattern such as frame_%05d.png."
        )
    return make(path, origin=source.origin, overwrite=writing.overwrite)
