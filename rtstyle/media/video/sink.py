"""A video file as a sink: frames encoded at their exact times, everything else copied."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from fractions import Fraction
from math import lcm
from pathlib import Path
from typing import Any, Literal, Self

import av
from av.container import OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.stream import VideoStream

from rtstyle.closing import Closing
from rtstyle.errors import OutputError, UsageError
from rtstyle.files import PartialFile, Workplace
from rtstyle.frame import DeviceFrame, Frame, StreamInfo
from rtstyle.media.base import Origin, SinkRequest
from rtstyle.media.devices.sound import SoundRing, SoundTrack
from rtstyle.media.options import WriteOptions
from rtstyle.media.video.container import reason
from rtstyle.media.video.encoder import VideoTrack
from rtstyle.media.video.formats import Container, container_for, encoder_options
from rtstyle.media.video.opening import start_encoding
from rtstyle.media.video.remux import Passthrough

_INT_MAX = 2**31 - 1


class FileSink(Closing):
    """Encodes a video file; the suffix names its container.

    With `origin`, the file's other streams, chapters and metadata are copied along (the sound only
    with `options.keep_audio`); `sound` is that of live pictures, written in step with them.
    `workplace` is where it is written before it gets its name, `video` the encoded stream. Raises
    `UsageError` for a codec or option that does not exist, `OutputExistsError`, and `OutputError`
    when the file cannot be written.
    """

    takes_device_frames: Literal[True] = True
    notes: list[str]

    @classmethod
    def from_name(cls, name: str, request: SinkRequest) -> Self:
        """Open the video file `name`."""
        path = Path(name) if request.origin else Path(name).expanduser()
        return cls(
            path, request.info, origin=request.origin, options=request.writing, sound=request.sound
        )

    def __init__(
        self,
        path: Path,
        info: StreamInfo,
        *,
        origin: Origin | None = None,
        options: WriteOptions | None = None,
        workplace: Workplace | None = None,
        sound: SoundRing | None = None,
    ) -> None:
        options = options or WriteOptions()
        self.notes = []
        self._info = info
        inputs = origin.paths if origin else ()
        self._format, self._file = self._target(path, options, inputs, workplace)
        self._others: Passthrough | SoundTrack | None = None
        self._output: OutputContainer | None = None
        try:
            if origin is not None and origin.stream is not None:
                self._others = Passthrough(origin, self._format, options)
            elif sound is not None and self._format.audio_codec and not self._format.is_bare:
                self._others = SoundTrack(sound, self._format.audio_codec)
            self._output = self._create()
            self.video = self._add_streams(self._output, options)
            self._start(self._output, options)
        except BaseException:
            self._discard()
            raise

    def write(self, frame: Frame | DeviceFrame) -> None:
        """Encode the next frame, (height, width) as in `info`. Raises `OutputError`."""
        assert self._output is not None
        self.video.check_size(frame)
        try:
            packets = self.video.encode(frame)
            if self._others is not None:
                self._others.write(self._output, frame.time)
            self._output.mux(packets)
        except (FFmpegError, OSError) as error:
            raise self._cannot_write(error) from error

    def start_sound(self, time: Fraction) -> None:
        """The file's time 0 is `time` on the clock of the live sound, in seconds."""
        if isinstance(self._others, SoundTrack):
            self._others.zero = time

    def adopt(self, packet: Packet[VideoStream], end: Fraction) -> None:
        """Take the next packet, in decoding order, from another encoder with the same settings.

        `end` is where the frames adopted so far end, in seconds. Raises `OutputError`.
        """
        assert self._output is not None
        assert packet.pts is not None
        try:
            self.video.adopt(packet, end)
            if self._others is not None:
                self._others.write(self._output, packet.pts * packet.time_base)
            self._output.mux_one(packet)
        except (FFmpegError, OSError) as error:
            raise self._cannot_write(error) from error

    def finish(self, *, complete: bool = True) -> None:
        """Complete the file and name it; if not `complete`, sound ends with the last picture."""
        if self.video.is_empty:
            raise OutputError(f"No frame was written, so there is no {self._file.path} to finish.")
        assert self._output is not None
        try:
            self._output.mux(self.video.flush())
            if self._others is not None:
                if not complete:
                    self._others.end_at(self.video.end)
                self._others.write(self._output, None)
            self._output.close()
        except (FFmpegError, OSError) as error:
            raise self._cannot_write(error) from error
        self._file.commit()
        self.notes += self.video.notes
        if self._others is not None:
            self.notes += self._others.notes

    def close(self) -> None:
        self._discard()

    def _target(
        self,
        path: Path,
        options: WriteOptions,
        inputs: Iterable[Path],
        workplace: Workplace | None,
    ) -> tuple[Container, Any]:
        """What is written, and where: a `PartialFile`, or what acts as one."""
        overwrite = options.overwrite
        file = PartialFile(path, overwrite=overwrite, inputs=inputs, workplace=workplace)
        return container_for(path), file

    def _create(self) -> OutputContainer:
        container_options = dict(self._format.options)
        if "movflags" in container_options:
            container_options["movie_timescale"] = str(self._movie_timescale())
            if self._others is not None and self._others.needs_free_keys():
                container_options["movflags"] += "+use_metadata_tags"
        path = str(self._file.temporary)
        muxer = self._format.muxer
        return av.open(path, "w", format=muxer, container_options=container_options)

    def _add_streams(self, output: OutputContainer, options: WriteOptions) -> VideoTrack:
        """Add every stream, in the order of the input."""
        if self._others is None:
            return VideoTrack(output, self._format, self._info, options)
        self._others.add_streams(output, before_video=True)
        video = VideoTrack(output, self._format, self._info, options)
        self._others.add_streams(output, before_video=False)
        self._others.describe(output, video.stream)
        return video

    def _start(self, output: OutputContainer, options: WriteOptions) -> None:
        """Open the encoder and write the header, so that a mistake shows before any work."""
        codec = self.video.codec
        try:
            start_encoding(output)
        except OSError as error:
            raise self._cannot_write(error) from error
        except (FFmpegError, ValueError) as error:
            wanted = ", ".join(
                f"{k}={v}" for k, v in encoder_options(codec, options, self._info).items()
            )
            raise UsageError(
                f"The codec {codec} cannot encode {self._info.width}×{self._info.height} into "
                f"{self._format.muxer} with the options {wanted}; check them."
            ) from error
        self.video.check_options()

    def _movie_timescale(self) -> int:
        """The clock of an mp4's edit lists, fine enough for the exact start of each stream."""
        tick = self._format.tick(self._info)
        starts = [tick] if self._others is None else self._others.starts()
        timescale = lcm(1000, *(s.denominator for s in starts))
        return timescale if timescale <= _INT_MAX else min(tick.denominator, _INT_MAX)

    def _cannot_write(self, error: Exception) -> Exception:
        return OutputError(
            f"{self._file.path} cannot be written: {reason(error)}; the unfinished file is removed."
        )

    def _discard(self) -> None:
        """Close everything and remove what has no name yet; harmless after `finish`."""
        if self._others is not None:
            self._others.close()
        if self._output is not None:
            with suppress(FFmpegError, OSError, ValueError):
                self._output.close()
        self._file.discard()
