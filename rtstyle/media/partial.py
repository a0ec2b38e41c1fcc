"""An output file that gets its name only when it is whole."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rtstyle.errors import OutputError, OutputExistsError, UsageError


@dataclass(frozen=True, slots=True)
class Workplace:
    """A folder, on the disk of the output, where it is written; `on_whole` gets the finished file
    right before it is named."""

    folder: Path
    on_whole: Callable[[Path], None] = lambda path: None


class PartialFile:
    """A hidden temporary file beside `path`, created at once; the caller writes to `temporary`.

    With a `workplace`, it is there instead.

    Raises `OutputExistsError` when `path` is there and `overwrite` is not set, `UsageError` when it
    is one of `inputs`, and `OutputError` when nothing can be created in its folder.
    """

    def __init__(
        self,
        path: Path,
        *,
        overwrite: bool,
        inputs: Iterable[Path] = (),
        workplace: Workplace | None = None,
    ) -> None:
        check_output(path, overwrite=overwrite, inputs=inputs)
        self.path = path
        self._workplace = workplace or Workplace(path.parent)
        name = f".{path.stem}.{secrets.token_hex(4)}.part{path.suffix}"
        self.temporary = self._workplace.folder / name
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


def check_output(path: Path, *, overwrite: bool, inputs: Iterable[Path] = ()) -> None:
    """Refuse an output that would destroy something or has no folder to go to."""
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


def _is_same(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:
        return False
