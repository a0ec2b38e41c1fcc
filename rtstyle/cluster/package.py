"""Files that a worker needs: read in place where it has the same ones, else sent in pieces."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtstyle.errors import InputNotFoundError
from rtstyle.media.options import is_picture
from rtstyle.rendering.store import file_stamp, fingerprint

_PIECE_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Package:
    """Files by the relative path that each has in a copy, and their `marks` to recognise them.

    `digest` identifies the package.
    """

    files: dict[str, Path]
    marks: dict[str, dict[str, Any]]
    digest: str

    @classmethod
    def of(cls, paths: Iterable[Path], base: Path) -> Package:
        """Of files in the folder `base` or below. Raises `InputNotFoundError`."""
        base = base.absolute()
        files = {path.absolute().relative_to(base).as_posix(): path.absolute() for path in paths}
        try:
            marks = {name: _mark(path) for name, path in files.items()}
        except OSError as error:
            raise InputNotFoundError(f"{error.filename} cannot be read any more.") from error
        text = json.dumps([{name: str(path) for name, path in files.items()}, marks])
        return cls(files, marks, hashlib.blake2b(text.encode(), digest_size=16).hexdigest())

    def pieces(self) -> Iterator[tuple[str, int, bytes]]:
        """The name, offset and bytes of each piece of the files. An empty file is one piece."""
        for name, path in self.files.items():
            place = 0
            with path.open("rb") as file:
                while (piece := file.read(_PIECE_BYTES)) or not place:
                    yield name, place, piece
                    place += len(piece)
                    if not piece:
                        break

    def located(self, copies: Path) -> dict[Path, Path] | None:
        """Where this machine has each file: at its own path if it is the same there, else in the
        folder `copies`; None if in neither."""
        if all(_has(path, self.marks[name]) for name, path in self.files.items()):
            return {path: path for path in self.files.values()}
        folder = copies / self.digest
        if not folder.is_dir():
            return None
        return {path: folder / name for name, path in self.files.items()}

    def take(self, copies: Path, name: str, place: int, piece: bytes) -> None:
        """Add a piece to an unfinished copy, in any order."""
        path = self._unfinished(copies) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0)
        with open(os.open(path, flags, 0o600), "wb") as file:
            file.seek(place)
            file.write(piece)

    def complete(self, copies: Path) -> Path:
        """Give a copy that has all its pieces its name; returns its folder."""
        folder = copies / self.digest
        os.replace(self._unfinished(copies), folder)
        return folder

    def _unfinished(self, copies: Path) -> Path:
        return copies / f"{self.digest}.{os.getpid()}"


def _has(path: Path, mark: dict[str, Any]) -> bool:
    try:
        return _mark(path) == mark
    except OSError:
        return False


def _mark(path: Path) -> dict[str, Any]:
    return file_stamp(path) if is_picture(path) else fingerprint(path)  # pictures: thousands
