"""The folder beside an output that keeps a render until it is done.

    .NAME.resume/state.json       what is rendered, from what, and where it is cut
    .NAME.resume/000000.segment   one finished segment, as `packet_file` describes
    .NAME.resume/unfinished       the segment that Ctrl-C or damage ended
    .NAME.resume/lock             held by the process that works here

Plain files and not a database, for a damaged one costs its own segment only, two segments are
written at a time, and one may be larger than the memory.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

from rtstyle.closing import Closing
from rtstyle.errors import OutputError
from rtstyle.files import atomic_write
from rtstyle.media import source_kind
from rtstyle.media.sequence import find_pictures
from rtstyle.rendering.job import Facts
from rtstyle.rendering.packet_file import (
    BrokenSegmentError,
    PacketFile,
    SegmentResult,
    sync,
    sync_folder,
)

_FORMAT = 2  # of the folder; another one is never continued
_LOCK = "lock"
_SAMPLES, _SAMPLE_BYTES = 16, 1 << 16  # of an input, compared beside its size and time


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What state.json holds: settings and input of a render, its cuts in seconds, how many threads
    its encoder and, where that was chosen, its engine had; `left` identifies the output."""

    settings: Facts = field(default_factory=dict)
    source: Facts = field(default_factory=dict)
    cuts: tuple[Fraction, ...] = ()
    encoder_threads: int | None = None
    engine_threads: int | None = None
    left: Facts | None = None

    def to_json(self) -> str:
        return json.dumps({"format": _FORMAT, **asdict(self)}, default=str, indent=1)

    @classmethod
    def from_json(cls, text: bytes) -> Record:
        """Raises ValueError, KeyError or TypeError for what is no such text."""
        facts = json.loads(text)
        if facts.pop("format") != _FORMAT:
            raise _OtherFormatError
        return cls(**facts | {"cuts": tuple(Fraction(cut) for cut in facts["cuts"])})


class _OtherFormatError(ValueError):
    """A folder of an earlier or later version of rtstyle."""


class State(Closing):
    """What an interrupted render of `output` left, locked against other processes.

    It is beside the output, or within it where that is a folder that already exists.

    Used as a context manager. `why_afresh` says whether it can be continued; if not, `begin` comes
    before everything else. Every change of the folder is atomic. On leaving, a folder without
    anything to continue from is removed.
    """

    def __init__(self, output: Path) -> None:
        self.output = output
        named = Path(os.path.abspath(output))  # "." has no name
        self.folder = named.with_name(f".{named.name}.resume")
        if named.is_dir() and not self.folder.exists():  # its parent may not be writable
            self.folder = named / ".rtstyle.resume"
        try:
            self._lock = FolderLock(self.folder)
        except BlockingIOError:
            raise OutputError(
                f"{output} is being painted by another process; wait until that is done, or choose "
                "another name for the output."
            ) from None
        except OSError as error:
            raise OutputError(
                f"Nothing can be written in {output.parent}: {error.strerror or error}; "
                "choose another folder."
            ) from error
        self._document = self.folder / "state.json"
        self.has_pictures = False  # whether pictures were written, which are elsewhere
        self.record = Record()
        self._problem = self._read()

    def close(self) -> None:
        holds = self.has_pictures or any(self.folder.glob("*.segment"))
        if not holds and not self.owns_output(complete=False):
            self.remove()
        self._lock.release()

    def why_afresh(self, settings: Facts, source: Facts) -> str | None:
        """Why an earlier run cannot be continued; None when it can, empty when there is none."""
        if self._problem is not None:
            return self._problem
        if self.record.source != source:
            return "the input changed since the earlier run"
        before = self.record.settings
        if changed := [key for key in settings if before.get(key) != settings[key]]:
            return f"the earlier run had another {', another '.join(changed)}"
        return None

    def begin(self, record: Record) -> None:
        """Start anew: segments of an earlier run are removed. Raises `OutputError`."""
        self._clear()
        self._write(record)

    def path(self, number: int) -> Path:
        """The file of a segment; that of -1 is what Ctrl-C left of one."""
        return self.folder / (f"{number:06d}.segment" if number >= 0 else "unfinished")

    def finished(self) -> tuple[dict[int, SegmentResult], list[int]]:
        """The whole segments by number, and the numbers of the damaged ones.

        The files of the latter, and everything else that a kill left, are removed.
        """
        found: dict[int, SegmentResult] = {}
        damaged = []
        wanted = {self.path(number).name: number for number in range(self._n_segments)}
        for path in sorted(self.folder.iterdir()):
            if path.name in (self._document.name, _LOCK):
                continue
            number = wanted.get(path.name)
            if number is None:
                _delete(path)
                continue
            try:
                with PacketFile(path) as file:
                    file.check(number)
                    found[number] = file.result
            except (BrokenSegmentError, OSError):
                damaged.append(number)
                _delete(path)
        return found, damaged

    def gapless(self) -> list[tuple[Path, SegmentResult]]:
        """The consecutive segments from the first on, and the unfinished one if it is the next.

        Raises `OutputError`.
        """
        found = []
        try:
            for number in range(self._n_segments):
                path = self.path(number)
                if not path.exists():
                    path = self.path(-1)
                with PacketFile(path) as file:
                    if file.result.number != number:
                        break
                    found.append((path, file.result))
        except FileNotFoundError:
            pass
        except (BrokenSegmentError, OSError) as error:
            raise OutputError(f"{path} cannot be read: {error}.") from error
        return found

    def leave(self, file: Path, *, complete: bool) -> None:
        """Note that `file` is about to become the output, so that it is recognised later."""
        self._write(replace(self.record, left={"complete": complete, **file_stamp(file)}))

    def owns_output(self, *, complete: bool) -> bool:
        """Whether the existing output is the one that `leave` noted last."""
        try:
            return self.record.left == {"complete": complete, **file_stamp(self.output)}
        except OSError:
            return False

    def is_newer(self, picture: Path) -> bool:
        """Whether a picture was written since the run to be continued began."""
        try:
            return picture.stat().st_mtime_ns >= self._document.stat().st_mtime_ns
        except OSError:
            return False

    def leave_done(self, *, keep: bool) -> None:
        """The output is complete: remove the folder unless it is to be kept."""
        if not keep:
            self.remove()

    def remove(self) -> None:
        """Remove the folder; harmless the second time."""
        if not self.folder.exists():
            return
        self._clear()
        # The lock last: until then, no other process works here. Where a file in use cannot be
        # removed, it goes once it is released; a folder that another one entered stays.
        lock = self.folder / _LOCK
        with suppress(OSError):
            lock.unlink()
        self._lock.release()
        with suppress(OSError):
            lock.unlink(missing_ok=True) if os.name == "nt" else None
            self.folder.rmdir()

    @property
    def _n_segments(self) -> int:
        return len(self.record.cuts) + 1

    def _clear(self) -> None:
        for path in self.folder.iterdir():
            if path.name != _LOCK:
                _delete(path)

    def _read(self) -> str | None:
        """Read the record; why that is impossible, empty when there is none."""
        try:
            self.record = Record.from_json(self._document.read_bytes())
        except FileNotFoundError:
            return ""
        except _OtherFormatError:
            return "what was kept of an earlier run is of another version of rtstyle"
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return "what was kept of an earlier run is damaged"
        return None

    def _write(self, record: Record) -> None:
        self.record = record
        try:
            with atomic_write(self._document) as part:
                part.write_text(record.to_json())
                sync(part)
            sync_folder(self.folder)
        except OSError as error:
            raise OutputError(
                f"{self._document} cannot be written: {error.strerror or error}."
            ) from error


def fingerprint(source: Path) -> Facts:
    """What distinguishes an input from a changed one, without reading all of it."""
    if source_kind(source) == "file":
        return {**file_stamp(source), "samples": _samples(source)}
    return {path.name: file_stamp(path) for path in find_pictures(source)}


def file_stamp(path: Path) -> Facts:
    """The size of a file and when it was changed."""
    status = path.stat()
    return {"size": status.st_size, "changed": status.st_mtime_ns}


def _samples(path: Path) -> str:
    digest, size = hashlib.blake2b(digest_size=16), path.stat().st_size
    with path.open("rb") as file:
        for place in range(_SAMPLES):
            file.seek(max(0, size - _SAMPLE_BYTES) * place // (_SAMPLES - 1))
            digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


class FolderLock:
    """Creates `folder` and locks it until `release` or the end of the process, however it ends.

    Raises `BlockingIOError` when another process has it, `OSError` when the folder cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _LOCK
        while True:
            folder.mkdir(exist_ok=True)
            try:
                self._file = self._path.open("a+b")
            except FileNotFoundError:
                continue  # its last owner is just removing the folder
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
        """Whether the locked file is the one that another process would open."""
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
            # A file system without locks: two renders at once are the user's to avoid.
