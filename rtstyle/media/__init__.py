"""Where pictures come from and go to, one device a file, loaded when asked for."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from pkgutil import resolve_name

from rtstyle.errors import UsageError
from rtstyle.media.base import Origin, Sink, Source
from rtstyle.media.kinds import sink_kind, source_kind
from rtstyle.media.options import ReadOptions, WriteOptions

SOURCES = {
    "file": "rtstyle.media.file_source:FileSource",
    "still": "rtstyle.media.still:StillSource",
    "sequence": "rtstyle.media.sequence:SequenceSource",
    "synthetic": "rtstyle.media.synthetic:SyntheticSource",
    "webcam": "rtstyle.media.webcam:WebcamSource",
    "stream": "rtstyle.media.stream:StreamSource",
    "lavfi": "rtstyle.media.lavfi:LavfiSource",
    "screen": "rtstyle.media.screen:ScreenSource",
    "looped": "rtstyle.media.looped_file:LoopedFileSource",
}
SINKS = {
    "file": "rtstyle.media.file_sink:FileSink",
    "still": "rtstyle.media.still:StillSink",
    "sequence": "rtstyle.media.sequence:SequenceSink",
    "null": "rtstyle.media.null:NullSink",
    "tee": "rtstyle.media.tee:TeeSink",
    "window": "rtstyle.media.window:WindowSink",
    "virtualcam": "rtstyle.media.virtualcam:VirtualCameraSink",
    "network": "rtstyle.media.network_sink:NetworkSink",
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
