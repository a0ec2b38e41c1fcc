"""A video file as a camera: played at its own pace, over and over."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from time import perf_counter, sleep
from types import TracebackType
from typing import Self

from rtstyle.frame import Image, StreamInfo
from rtstyle.media.file_source import FileSource
from rtstyle.media.live_source import TIME_BASE, LiveSource


class LoopedFileSource(LiveSource):
    """Plays the video at `path` without end. Raises what `FileSource` raises."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), lambda: _Player(path))


class _Player:
    info: StreamInfo
    note = ""

    def __init__(self, path: Path) -> None:
        self._path = path
        with FileSource(path) as file:
            told = file.info
        self.info = StreamInfo(told.width, told.height, told.rate, TIME_BASE)

    def pictures(self) -> Iterator[Image]:
        for _ in count():
            started = perf_counter()
            end = 0.0
            with FileSource(self._path) as file:
                for frame in file.frames():
                    sleep(max(0.0, started + float(frame.time) - perf_counter()))
                    yield frame.image
                    end = float(frame.time + (frame.duration or 1 / file.info.rate))
            sleep(max(0.0, started + end - perf_counter()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass
