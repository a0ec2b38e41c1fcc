"""Snapshots and recordings of what is shown, on request."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from fractions import Fraction
from pathlib import Path

from rtstyle.closing import Closing
from rtstyle.errors import OutputError, RtstyleError
from rtstyle.frame import Frame, StreamInfo
from rtstyle.live.controls import Controls
from rtstyle.media.devices.sound import SoundRing
from rtstyle.media.devices.source import TIME_BASE
from rtstyle.media.images import write_picture
from rtstyle.media.options import WriteOptions
from rtstyle.media.video.sink import FileSink


class RecorderSink(Closing):
    """Writes PNG snapshots and MP4 recordings into `folder`, when the controls ask for them; the
    recordings with `sound`, if there is any.

    A file that cannot be written ends the recording, not the run: `on_note` gets the sentence.
    Raises `OutputError` when there is no such folder.
    """

    notes: list[str]

    def __init__(
        self, folder: Path, info: StreamInfo, controls: Controls, *, on_note: Callable[[str], None],
        hwaccel: str = "none", sound: SoundRing | None = None,
    ) -> None:  # fmt: skip
        if not folder.is_dir():
            raise OutputError(f"There is no folder {folder} for recordings; create it first.")
        self.notes = []
        self._folder, self._controls, self._on_note = folder, controls, on_note
        self._options = WriteOptions(hwaccel=hwaccel)
        self._sound = sound
        self._info = replace(info, time_base=TIME_BASE, n_frames=None)
        self._snapshots = controls.settings.snapshots
        self._recording: _Recording | None = None
        self._refused = False

    def write(self, frame: Frame) -> None:
        """Save the frame as a snapshot or in the recording, where asked for."""
        settings = self._controls.settings
        if settings.snapshots != self._snapshots:
            self._snapshots = settings.snapshots
            self._trying(lambda: self._snapshot(frame))
        if not settings.recording:
            self._refused = False
            self._stop()
        elif not self._refused:
            self._refused = not self._trying(lambda: self._record(frame))

    def finish(self, *, complete: bool = True) -> None:
        """Complete the current recording."""
        self._stop()

    def close(self) -> None:
        self._stop()

    def _snapshot(self, frame: Frame) -> None:
        path = self._free_name(".png")
        write_picture(path, frame.image, overwrite=False)
        self._on_note(f"snapshot {path}")

    def _record(self, frame: Frame) -> None:
        if self._recording is None:
            path = self._free_name(".mp4")
            self._recording = _Recording(path, self._info, self._options, self._sound)
            self._on_note(f"recording {self._recording.path}")
        self._recording.write(frame)

    def _stop(self) -> None:
        if self._recording is not None:
            recording, self._recording = self._recording, None
            if self._trying(recording.finish):
                self._on_note(f"recorded {recording.path}")

    def _trying(self, work: Callable[[], None]) -> bool:
        try:
            work()
        except RtstyleError as error:
            self._on_note(str(error))
            if self._recording is not None:
                self._recording.discard()
                self._recording = None
            return False
        return True

    def _free_name(self, suffix: str) -> Path:
        stem = f"rtstyle-{datetime.now():%Y%m%d-%H%M%S}"
        path, number = self._folder / f"{stem}{suffix}", 1
        while path.exists():
            number += 1
            path = self._folder / f"{stem}-{number}{suffix}"
        return path


class FromZero(Closing):
    """Gives the video file `sink` every frame, at times that start at 0 with the first one, and its
    sound with it: a live source's clock has run since before the engine was open. Closing the sink
    is left to who opened it."""

    notes: list[str]

    def __init__(self, sink: FileSink) -> None:
        self.notes, self._sink = sink.notes, sink
        self._zero: Fraction | None = None

    def write(self, frame: Frame) -> None:
        """Pass the frame on."""
        if self._zero is None:
            self._zero = frame.time
            self._sink.start_sound(frame.time)
        self._sink.write(replace(frame, time=frame.time - self._zero))

    def finish(self, *, complete: bool = True) -> None:
        """Finish the sink."""
        self._sink.finish(complete=complete)
        self.notes = self._sink.notes


class _Recording:
    def __init__(
        self, path: Path, info: StreamInfo, options: WriteOptions, sound: SoundRing | None
    ) -> None:
        self.path = path
        self._stack = ExitStack()
        file = self._stack.enter_context(FileSink(path, info, options=options, sound=sound))
        self._sink = FromZero(file)

    def write(self, frame: Frame) -> None:
        self._sink.write(frame)

    def finish(self) -> None:
        with self._stack:
            self._sink.finish()

    def discard(self) -> None:
        self._stack.close()
