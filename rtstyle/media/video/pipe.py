"""Standard input as a video, and a video to standard output."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from threading import Lock
from typing import BinaryIO, Self

import av
from av.container import InputContainer
from av.error import FFmpegError

from rtstyle.errors import MediaError, UsageError
from rtstyle.files import Workplace
from rtstyle.media.base import Origin, SinkRequest
from rtstyle.media.options import ReadOptions, WriteOptions
from rtstyle.media.video.container import FORMATS, reason
from rtstyle.media.video.deinterlace import TimedFrame
from rtstyle.media.video.formats import Container, piped_container
from rtstyle.media.video.sink import FileSink
from rtstyle.media.video.source import FileSource, refuse_rate

_CHUNK = 1 << 16  # bytes


class PipeSource(FileSource):
    """A video from `stream`, standard input by default; otherwise as `FileSource`.

    Its sound is kept; what else accompanies it is not. Raises `UsageError` for a terminal.
    """

    @classmethod
    def from_name(cls, name: str, reading: ReadOptions) -> Self:
        """Open standard input."""
        if reading.raw is None:
            refuse_rate(name, reading)
        if sys.stdin.isatty():
            raise UsageError("The input - is what is piped in, but nothing is; name a file.")
        return cls(sys.stdin.buffer, reading)

    def __init__(self, stream: BinaryIO, reading: ReadOptions) -> None:
        self._tee = _Tee(stream)
        self._format = _raw_format(reading)
        super().__init__("standard input", replace(reading, start=reading.start or None))

    def times(self) -> Iterator[TimedFrame]:
        """As `FileSource.times`."""
        if not self._is_read_twice:
            self._tee.drop(1)  # no sink has asked for the sound
        yield from super().times()

    def close(self) -> None:
        super().close()
        self._tee.drop(0)

    def _open_container(self, hwaccel: str) -> InputContainer:
        self._is_read_twice = False
        return self._container_of(0)

    def _container_of(self, reader: int) -> InputContainer:
        try:
            return av.open(
                _Reader(self._tee, reader),
                "r",
                format="rawvideo" if self._format else None,
                container_options=self._format
                or {"protocol_whitelist": "none", "format_whitelist": FORMATS},
                metadata_errors="replace",
            )
        except FFmpegError as error:
            raise MediaError(
                f"What came on standard input is no video that can be read ({reason(error)}); pipe "
                "in a whole one that needs no seeking, such as -f matroska, mpegts or yuv4mpegpipe."
            ) from error

    def _is_cut_off(self) -> bool:
        return False

    def _made_origin(self, offset: Fraction, start: Fraction | None) -> Origin | None:
        begin = None if start is None else offset
        return Origin(
            (),
            self._stream.index,
            offset,
            begin,
            self._end,
            self._reopen,
            lambda: self._tee.drop(1),
        )

    def _reopen(self) -> InputContainer:
        self._is_read_twice = True
        return self._container_of(1)


def _raw_format(reading: ReadOptions) -> dict[str, str]:
    if reading.raw is None:
        return {}
    width, height, pixel_format = reading.raw
    return {
        "video_size": f"{width}x{height}",
        "pixel_format": pixel_format,
        "framerate": str(reading.rate or 25),
    }


class PipeSink(FileSink):
    """A video to standard output, in the format of the options. Raises `BrokenPipeError` when
    nobody reads it any more, and otherwise as `FileSink`."""

    @classmethod
    def from_name(cls, name: str, request: SinkRequest) -> Self:
        """Open standard output."""
        if sys.stdout.isatty():
            raise UsageError("The output - is a pipe, but this is a terminal; add | and a command.")
        return cls(Path(name), request.info, origin=request.origin, options=request.writing)

    def _target(
        self,
        path: Path,
        options: WriteOptions,
        inputs: Iterable[Path],
        workplace: Workplace | None,
    ) -> tuple[Container, _Stdout]:
        return piped_container(options.format), _Stdout()

    def _cannot_write(self, error: Exception) -> Exception:
        return error if isinstance(error, BrokenPipeError) else super()._cannot_write(error)


class _Stdout:
    """In place of a `PartialFile`: nothing gets a name, and nothing is taken back."""

    path = Path("standard output")
    temporary = Path("pipe:1")

    def commit(self) -> None: ...

    def discard(self) -> None: ...


class _Tee:
    """One stream for two readers: what one has read is kept for the other until it has, too."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._reading = Lock()
        self._waiting: list[deque[bytes] | None] = [deque(), deque()]

    def read(self, reader: int) -> bytes:
        """The next bytes for this reader, b"" at the end."""
        if kept := self._kept(reader):
            return kept
        with self._reading:
            if kept := self._kept(reader):  # the other one has read meanwhile
                return kept
            chunk: bytes = self._stream.read1(_CHUNK)  # type: ignore[attr-defined]
            other = self._waiting[1 - reader]
            if other is not None and chunk:
                other.append(chunk)
            return chunk

    def drop(self, reader: int) -> None:
        """Keep nothing for a reader that reads no more."""
        self._waiting[reader] = None

    def _kept(self, reader: int) -> bytes:
        waiting = self._waiting[reader]
        return waiting.popleft() if waiting else b""


class _Reader:
    """What FFmpeg reads from: a file that cannot seek."""

    def __init__(self, tee: _Tee, number: int) -> None:
        self._tee, self._number = tee, number
        self._rest = b""

    def read(self, size: int) -> bytes:
        """At most `size` bytes."""
        data = self._rest or self._tee.read(self._number)
        self._rest = data[size:]
        return data[:size]
