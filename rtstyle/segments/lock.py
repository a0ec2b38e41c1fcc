"""A lock on a folder that the end of its process releases, however it ends."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO


class FolderLock:
    """Creates `folder` and holds it; `BlockingIOError` when another process has it.

    Raises `OSError` when the folder cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "lock"
        while True:
            folder.mkdir(exist_ok=True)
            try:
                self._file = self._path.open("a+b")
            except FileNotFoundError:
                continue  # the one who had it is just removing the folder
            try:
                _lock(self._file)
                if self._is_still_there():
                    return
            except BaseException:
                self._file.close()
                raise
            self._file.close()

    def release(self) -> None:
        """Let it go; harmless the second time."""
        self._file.close()

    def _is_still_there(self) -> bool:
        """Whether what we locked is what another process would find."""
        with suppress(OSError):
            return os.path.samestat(os.fstat(self._file.fileno()), self._path.stat())
        return False


def _lock(file: BinaryIO) -> None:
    if os.name == "nt":
        import msvcrt

        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError as error:
            raise BlockingIOError from error
    else:
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                raise
            # A file system without locks: two at once are the user's to avoid.
