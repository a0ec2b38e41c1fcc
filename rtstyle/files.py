"""Files that are written whole or not at all: outputs, atomic writes, and the cache."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import platformdirs
from numpy.typing import NDArray

from rtstyle.errors import OutputError, OutputExistsError, UsageError

_log = logging.getLogger("rtstyle")


def cache_folder() -> Path:
    """The user's: $RTSTYLE_CACHE, or the platform's place for caches."""
    if chosen := os.environ.get("RTSTYLE_CACHE"):
        return Path(chosen)
    return platformdirs.user_cache_path("rtstyle", appauthor=False)


def cached(
    key: str, shape: tuple[int, ...], make: Callable[[], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """The array kept under `key`, a file name, or what `make` gives, which is then kept.

    A damaged file is made again, and a folder that cannot be written is no error.
    """
    path = cache_folder() / key
    kept = _read(path, shape)
    if kept is None:
        kept = make()
        _write(path, kept)
    return kept


def _read(path: Path, shape: tuple[int, ...]) -> NDArray[np.float32] | None:
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, values = content[:32], content[32:]
    if len(values) != 4 * np.prod(shape) or hashlib.sha256(values).digest() != digest:
        _log.info("%s is damaged and made again.", path)
        return None
    return np.frombuffer(values, "<f4").astype(np.float32).reshape(shape)


def _write(path: Path, array: NDArray[np.float32]) -> None:
    values = array.astype("<f4").tobytes()
    try:
        with atomic_write(path, parents=True) as part:
            part.write_bytes(hashlib.sha256(values).digest() + values)
    except OSError as error:
        _log.info("Nothing is kept in %s: %s", path.parent, error.strerror or error)


@contextmanager
def atomic_write(path: Path, *, parents: bool = False) -> Iterator[Path]:
    """The name of a temporary file beside `path`, which replaces `path` when the block succeeds.

    With `parents`, missing folders above it are made. After an error the temporary file is removed
    and an earlier file at `path` is untouched. Raises `OSError`.
    """
    part = _temporary_name(path, path.parent)
    try:
        if parents:
            path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        os.replace(part, path)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def write_output(path: Path, content: bytes, *, overwrite: bool) -> None:
    """Write a small output file in one step. Raises what `check_output` does, and `OutputError`."""
    check_output(path, overwrite=overwrite)
    try:
        with atomic_write(path) as part:
            part.write_bytes(content)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror or error}; choose another folder."
        ) from error


def _temporary_name(path: Path, folder: Path) -> Path:
    return folder / f".{path.name}.{secrets.token_hex(4)}.part"


@dataclass(frozen=True, slots=True)
class Workplace:
    """A folder, on the same disk as the output, where it is written; `on_whole` is called with the
    finished file right before it gets its name."""

    folder: Path
    on_whole: Callable[[Path], None] = lambda path: None


class PartialFile:
    """An output that is written over time: `temporary` until `commit` gives it its name.

    It is a hidden file, created at once, beside `path` or in the `workplace`. Raises
    `OutputExistsError` when `path` exists and `overwrite` is not set, `UsageError` when it is one
    of `inputs`, and `OutputError` when nothing can be created in its folder.
    """

    def __init__(
        self,
        path: Path,
        *,
        overwrite: bool,
        inputs: Iterable[Path] = (),
        workplace: Workplace | None = None,
    ) -> None:
        check_output(path, overwrite=overwrite, inputs=inputs, parents=True)
        self.path = path
        self._workplace = workplace or Workplace(path.parent)
        self.temporary = _temporary_name(path, self._workplace.folder)
        try:
            self.temporary.touch(exist_ok=False)
        except OSError as error:
            raise OutputError(
                f"Nothing can be written in {path.parent}: {error.strerror or error}; "
                "choose another folder."
            ) from error

    def commit(self) -> None:
        """Give the file its name, in one step. Raises `OutputError`."""
        try:
            self._workplace.on_whole(self.temporary)
            os.replace(self.temporary, self.path)
        except OSError as error:
            self.discard()
            raise OutputError(f"{self.path} cannot be created: {error.strerror}.") from error

    def discard(self) -> None:
        """Remove what was written; harmless after `commit`."""
        with suppress(OSError):
            self.temporary.unlink(missing_ok=True)


def check_output(
    path: Path, *, overwrite: bool, inputs: Iterable[Path] = (), parents: bool = False
) -> None:
    """Refuse an output that would destroy something or has no folder to go to.

    With `parents`, missing folders above it are made.
    """
    if parents:
        make_folder(path.parent)
    if path.is_dir():
        raise OutputError(f"A file is expected for the output, but {path} is a folder.")
    if not path.parent.is_dir():
        raise OutputError(f"The output folder {path.parent} does not exist; create it first.")
    if not path.exists():
        return
    if any(_is_same(path, other) for other in inputs):
        raise UsageError(f"The output {path} is the input itself; choose another name.")
    if not overwrite:
        raise OutputExistsError(f"{path} exists already; choose another name, or pass --overwrite.")


def make_folder(path: Path) -> None:
    """Make the folder and those above it where they are missing. Raises `OutputError`."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The folder {path} cannot be made: {error.strerror}.") from error


def _is_same(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:
        return False
