"""Image files as a stream: one picture, a folder, a glob or a numbered pattern (f_%05d.png)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from glob import glob
from pathlib import Path
from typing import Self

import numpy as np

from rtstyle.closing import Closing
from rtstyle.errors import InputNotFoundError, OutputError, OutputExistsError, UsageError
from rtstyle.files import check_output, make_folder
from rtstyle.frame import Frame, StreamInfo
from rtstyle.media.base import Origin, SinkRequest
from rtstyle.media.images import ALPHA_SUFFIXES, read_animation, read_picture, write_picture
from rtstyle.media.options import (
    NUMBER,
    PICTURE_SUFFIXES,
    ReadOptions,
    is_pattern,
    is_picture,
)


class SequenceSource(Closing):
    """Pictures as frames, `rate` a second.

    Each frame has its picture's own size; `info` has that of the first. A picture that cannot be
    read ends the stream with a `MediaError` that names it; the frames before it were delivered.
    """

    info: StreamInfo
    notes: list[str]
    origin: Origin | None

    @classmethod
    def from_name(cls, name: str, reading: ReadOptions) -> Self:
        """Open the pictures that `name` stands for."""
        return cls(Path(name), rate=_rate(name, reading))

    def __init__(self, path: Path, *, rate: Fraction = Fraction(25)) -> None:
        self.notes = []
        self._paths = find_pictures(path)
        height, width = read_picture(self._paths[0])[0].shape[:2]
        self.info = StreamInfo(width, height, rate, 1 / rate, len(self._paths))
        self.origin = Origin(tuple(self._paths))

    def frames(self) -> Iterator[Frame]:
        """Every picture in order. Raises `MediaError` at one that cannot be read."""
        yield from self._pictures(range(len(self._paths)))

    def _pictures(self, indices: Iterable[int]) -> Iterator[Frame]:
        transparent = 0
        for index in indices:
            image, alpha = read_picture(self._paths[index])
            transparent += alpha
            yield Frame(image, index / self.info.rate, index, 1 / self.info.rate)
        if transparent:
            self.notes.append(f"the transparency of {transparent} pictures was dropped")


class SequenceSink(Closing):
    """Frames as pictures, each written whole and at once, so those written stay whatever happens.

    `path` is a pattern, or a folder (made with those above it), where pictures of a folder
    keep their names, with `suffix` if given, and frames of a video are called frame_000001.png.
    Raises `OutputExistsError` when a picture is there already, `OutputError` and `UsageError`.
    """

    notes: list[str]

    @classmethod
    def from_name(cls, name: str, request: SinkRequest) -> Self:
        """Open the folder or pattern `name`."""
        _refuse_encoding(name, request)
        writing = request.writing
        return cls(
            Path(name), origin=request.origin, suffix=writing.suffix, overwrite=writing.overwrite
        )

    def __init__(
        self,
        path: Path,
        *,
        origin: Origin | None = None,
        suffix: str | None = None,
        overwrite: bool = False,
    ) -> None:
        self.notes = []
        self._overwrite = overwrite
        self._names: list[Path] | None = None
        self._likes = origin.paths if origin is not None and origin.stream is None else ()
        self._written = 0
        if is_pattern(path):
            self._pattern = path
        elif origin is not None and origin.stream is None:
            self._names = [path / _renamed(p, suffix) for p in origin.paths]
            self._refuse_doubles(self._names)
        else:
            self._pattern = path / f"frame_%06d{suffix or '.png'}"
        self._make_folder(path.parent if is_pattern(path) else path)
        inputs = origin.paths if origin else ()
        for name in self._names or self._existing():
            check_output(name, overwrite=overwrite, inputs=inputs)

    def write(self, frame: Frame) -> None:
        """Write the next picture. Raises `OutputError`."""
        write_picture(
            self.path_of(frame.index),
            frame.image if frame.alpha is None else np.dstack([frame.image, frame.alpha]),
            overwrite=self._overwrite,
            like=self._likes[frame.index] if self._likes else None,
        )
        self._written += 1

    def path_of(self, index: int) -> Path:
        """Where the picture of frame `index` goes."""
        if self._names is None:
            return self._pattern.with_name(self._pattern.name % (index + 1))
        return self._names[index]

    def finish(self, *, complete: bool = True) -> None:
        """Nothing to complete. Raises `OutputError` when no frame was written."""
        if not self._written:
            raise OutputError("No frame was written, so there are no pictures to finish.")

    def _existing(self) -> list[Path]:
        try:
            return find_pictures(self._pattern)
        except InputNotFoundError:
            return []

    def _make_folder(self, folder: Path) -> None:
        if folder.exists() and not folder.is_dir():
            raise OutputExistsError(f"{folder} is a file; a folder is expected for the pictures.")
        make_folder(folder)

    @staticmethod
    def _refuse_doubles(names: list[Path]) -> None:
        seen: set[Path] = set()
        for name in names:
            if name in seen:
                raise UsageError(f"Two pictures would become {name}; leave the suffix as it is.")
            seen.add(name)


class StillSource(Closing):
    """A picture, as one frame at time 0. Raises `InputNotFoundError` and `MediaError`."""

    info: StreamInfo
    notes: list[str]
    origin: Origin | None

    @classmethod
    def from_name(cls, name: str, reading: ReadOptions) -> Self:
        """Open the picture `name`."""
        return cls(Path(name), rate=_rate(name, reading))

    def __init__(self, path: Path, *, rate: Fraction = Fraction(25)) -> None:
        self._image, alpha = read_picture(path)
        self.notes = [f"the transparency of {path} was dropped"] if alpha else []
        height, width = self._image.shape[:2]
        self.info = StreamInfo(width, height, rate, 1 / rate, n_frames=1)
        self.origin = Origin((path,))

    def frames(self) -> Iterator[Frame]:
        """The one frame."""
        yield Frame(self._image, Fraction(0), 0, 1 / self.info.rate)


class AnimationSource(Closing):
    """A WebP animation, which FFmpeg does not decode. Raises `MediaError`."""

    info: StreamInfo
    notes: list[str]
    origin: Origin | None

    @classmethod
    def from_name(cls, name: str, reading: ReadOptions) -> Self:
        """Open the animation `name`."""
        if reading.rate is not None:
            raise UsageError(f"A rate applies to pictures; {name} has its own times.")
        _rate(name, reading)  # refuses to cut it
        return cls(Path(name))

    def __init__(self, path: Path) -> None:
        self._pictures, self._seconds = read_animation(path)
        self.notes = []
        height, width = self._pictures[0].shape[:2]
        rate = len(self._pictures) / sum(self._seconds, Fraction(0))
        self.info = StreamInfo(width, height, rate, Fraction(1, 1000), len(self._pictures))
        self.origin = Origin((path,))

    def frames(self) -> Iterator[Frame]:
        """Every picture in order."""
        time = Fraction(0)
        for index, (image, shown) in enumerate(zip(self._pictures, self._seconds, strict=True)):
            yield Frame(image, time, index, shown)
            time += shown


class StillSink(Closing):
    """One picture; the suffix names its format. A second frame raises `OutputError`."""

    notes: list[str]

    @classmethod
    def from_name(cls, name: str, request: SinkRequest) -> Self:
        """Open the picture `name` for a source of one frame."""
        _refuse_encoding(name, request)
        if (request.info.n_frames or 1) > 1:
            raise UsageError(
                f"{name} is one picture, but the input has about {request.info.n_frames} frames; "
                "name a video, a folder, or a pattern such as frame_%05d.png."
            )
        return cls(Path(name), origin=request.origin, overwrite=request.writing.overwrite)

    def __init__(
        self, path: Path, *, origin: Origin | None = None, overwrite: bool = False
    ) -> None:
        inputs = origin.paths if origin else ()
        check_output(path, overwrite=overwrite, inputs=inputs, parents=True)
        self.notes = []
        self._path = path
        self._like = next(iter(inputs), None)
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
        image = self._frame.image
        if self._frame.alpha is not None:
            image = np.dstack([image, self._frame.alpha])
        write_picture(self._path, image, overwrite=self._overwrite, like=self._like)

    def close(self) -> None:
        self._frame = None


def find_pictures(path: Path) -> list[Path]:
    """The pictures that a folder, glob or pattern names, sorted with numbers taken as numbers.

    Raises `InputNotFoundError` when there are none.
    """
    if is_pattern(path):
        before, after = NUMBER.split(path.name, maxsplit=1)
        number = re.compile(re.escape(before) + r"\d+" + re.escape(after))
        found = [p for p in path.parent.glob("*") if number.fullmatch(p.name)]
    elif path.is_dir():
        found = [p for p in path.iterdir() if is_picture(p) and not p.name.startswith(".")]
    else:
        found = [Path(name) for name in glob(str(path)) if is_picture(Path(name))]
    if not found:
        raise InputNotFoundError(
            f"There are no pictures in {path}; their names end in {' '.join(PICTURE_SUFFIXES)}."
        )
    return sorted(found, key=_natural)


def _rate(name: str, reading: ReadOptions) -> Fraction:
    if reading.start is not None or reading.duration is not None:
        raise UsageError(f"Start and duration cut a video; {name} names pictures.")
    return Fraction(25) if reading.rate is None else reading.rate


def _refuse_encoding(name: str, request: SinkRequest) -> None:
    if request.info.high_range is not None:
        raise UsageError(f"High dynamic range is kept in videos; {name} names pictures.")
    if request.writing.encodes:
        raise UsageError(f"A codec and its options apply to a video; {name} names pictures.")
    if request.writing.alpha and Path(name).suffix.lower() not in ("", *ALPHA_SUFFIXES):
        raise UsageError(
            f"{name} cannot hold transparency; with --alpha a picture is one of "
            f"{' '.join(ALPHA_SUFFIXES)}."
        )


def _renamed(path: Path, suffix: str | None) -> str:
    return path.name if suffix is None else path.stem + suffix


def _natural(path: Path) -> list[tuple[int, int | str]]:
    """A sort key that puts frame_2 before frame_10."""
    parts = re.split(r"(\d+)", path.name)
    return [(0, int(p)) if p.isdigit() else (1, p) for p in parts]
