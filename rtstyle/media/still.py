"""One image file as a source of one frame, and as a sink that takes one."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

from rtstyle.errors import OutputError
from rtstyle.frame import Frame, StreamInfo
from rtstyle.media.base import Origin
from rtstyle.media.partial import check_output
from rtstyle.media.picture import read_picture, write_picture


class StillSource:
    """A picture, as one frame at time 0. Raises `InputNotFoundError` and `MediaError`."""

    info: StreamInfo
    notes: list[str]
    origin: Origin | None

    def __init__(self, path: Path, *, rate: Fraction = Fraction(25)) -> None:
        self._image, alpha = read_picture(path)
        self.notes = [f"the transparency of {path} was dropped"] if alpha else []
        height, width = self._image.shape[:2]
        self.info = StreamInfo(width, height, rate, 1 / rate, n_frames=1)
        self.origin = Origin((path,))

    def frames(self) -> Iterator[Frame]:
        """The one frame."""
        yield Frame(self._image, Fraction(0), 0, 1 / self.info.rate)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass


class StillSink:
    """One picture; the suffix names its format. A second frame raises `OutputError`."""

    notes: list[str]

    def __init__(
        self, path: Path, *, origin: Origin | None = None, overwrite: bool = False
    ) -> None:
        check_output(path, overwrite=overwrite, inputs=origin.paths if origin else ())
        self.notes = []
        self._path = path
        self._overwrite = overwrite
        self._frame: Frame | None = None

    def write(self, frame: Frame) -> None:
        """Take the one frame."""
        if self._frame is not None:
            raise OutputError(
                f"{self._path} is a picture and holds one frame, but a second one came; name a "
                "folder, a pattern such as frame_%05d.png, or a video."
            )
        self._frame = frame

    def finish(self, *, complete: bool = True) -> None:
        """Write the picture."""
        if self._frame is None:
            raise OutputError(f"No frame was written, so there is no {self._path} to finish.")
        write_picture(self._path, self._frame.image, overwrite=self._overwrite)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._frame = None
