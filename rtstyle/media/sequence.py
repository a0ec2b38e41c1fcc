"""Many image files as one stream: a folder, a glob or a numbered pattern such as f_%05d.png."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from glob import glob
from pathlib import Path

from rtstyle.closing import Closing
from rtstyle.errors import InputNotFoundError, OutputError, OutputExistsError, UsageError
from rtstyle.files import check_output
from rtstyle.frame import Frame, StreamInfo
from rtstyle.media.base import Origin
from rtstyle.media.images import read_picture, write_picture
from rtstyle.media.options import NUMBER, PICTURE_SUFFIXES, is_pattern, is_picture


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


class SequenceSource(Closing):
    """Pictures as frames, `rate` a second.

    Each frame has its picture's own size; `info` tells that of the first. A picture that cannot be
    read ends the stream with a `MediaError` that names it; the frames before it were delivered.
    """

    info: StreamInfo
    notes: list[str]
    origin: Origin | None

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

    `path` is a pattern, or a folder (created if its parent is there), where pictures of a folder
    keep their names, with `suffix` if given, and frames of a video are called frame_000001.png.
    Raises `OutputExistsError` when a picture is there already, `OutputError` and `UsageError`.
    """

    notes: list[str]

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
        write_picture(self.path_of(frame.index), frame.image, overwrite=self._overwrite)
        self._written += 1

    def path_of(self, index: int) -> Path:
        """Where the picture of frame `index` goes."""
        if self._names is None:
            return self._pattern.with_name(self._pattern.name % (index + 1))
        return self._names[index]

    def finish(self, *, complete: bool = True) -> None:
        """Nothing is left to do: every picture has its name."""
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
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"The folder {folder} cannot be created: {error.strerror}."
            ) from error

    @staticmethod
    def _refuse_doubles(names: list[Path]) -> None:
        seen: set[Path] = set()
        for name in names:
            if name in seen:
                raise UsageError(f"Two pictures would become {name}; leave the suffix as it is.")
            seen.add(name)


def _renamed(path: Path, suffix: str | None) -> str:
    return path.name if suffix is None else path.stem + suffix


def _natural(path: Path) -> list[tuple[int, int | str]]:
    """A sort key that puts frame_2 before frame_10."""
    parts = re.split(r"(\d+)", path.name)
    return [(0, int(p)) if p.isdigit() else (1, p) for p in parts]
