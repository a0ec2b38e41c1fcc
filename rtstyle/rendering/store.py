"""The folder beside an output in which a render is kept until it is done."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO, cast

import av

from rtstyle.closing import Closing
from rtstyle.errors import OutputError
from rtstyle.files import atomic_write
from rtstyle.media import source_kind
from rtstyle.media.sequence import find_pictures
from rtstyle.rendering.job import RenderJob
from rtstyle.rendering.packet_file import (
    BrokenSegmentError,
    PacketFile,
    SegmentResult,
    sync_folder,
)
from rtstyle.style.style import Style

_FORMAT = 1
_LOCK = "lock"
_SAMPLES, _SAMPLE_BYTES = 16, 1 << 16  # of an input that are compared beside its size and time

Facts = dict[str, Any]  # what JSON holds


class State(Closing):
    """What an interrupted render of `output` left, held against other processes.

    It stands beside the output, or within where that is a folder which was there before.

    Used as a context manager. `why_afresh` tells whether it can be gone on with; if not, `begin`
    comes before all else. Every change of the folder is whole or not at all, whatever happens
    meanwhile. On leaving, a folder that nothing can be gone on with from is removed.
    """

    def __init__(self, output: Path) -> None:
        self.output = output
        named = Path(os.path.abspath(output))  # "." has no name
        self.folder = named.with_name(f".{named.name}.resume")
        if named.is_dir() and not self.folder.exists():  # nothing may be allowed beside a folder
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
        self.has_pictures = False  # whether pictures were written, which stand elsewhere
        self._facts, self._was_damaged = self._read()

    def close(self) -> None:
        holds = self.has_pictures or any(self.folder.glob("*.segment"))
        if not holds and not self.owns_output(complete=False):
            self.remove()
        self._lock.release()

    @property
    def encoder_threads(self) -> int | None:
        """How many threads the encoder had, for it to have as many again."""
        threads = self._facts.get("encoder_threads")
        return threads if isinstance(threads, int) else None

    @property
    def engine_threads(self) -> int | None:
        """The same of the engine, where their number was chosen."""
        threads = self._facts.get("engine_threads")
        return threads if isinstance(threads, int) else None

    @property
    def cuts(self) -> list[Fraction]:
        """Where the plan cuts."""
        return [Fraction(cut) for cut in self._facts["cuts"]]

    @property
    def source(self) -> Facts:
        """What the input was when the plan was made."""
        return cast(Facts, self._facts.get("input", {}))

    def why_afresh(self, settings: Facts, source: Facts) -> str | None:
        """Why an earlier run cannot be gone on with; None when it can, empty when there is none."""
        if self._was_damaged:
            return "what was kept of an earlier run is damaged"
        if not self._facts:
            return ""
        if self.source != source:
            return "the input changed since the earlier run"
        before = self._facts.get("settings", {})
        if changed := [key for key in settings if before.get(key) != settings[key]]:
            return f"the earlier run had another {', another '.join(changed)}"
        return None

    def begin(
        self,
        settings: Facts,
        source: Facts,
        cuts: Sequence[Fraction],
        threads: int | None,
        engine_threads: int | None = None,
    ) -> None:
        """Keep a new plan; what there was of an earlier one is removed. Raises `OutputError`."""
        self._clear()
        self._facts = {
            "format": _FORMAT,
            "settings": settings,
            "input": source,
            "cuts": [str(cut) for cut in cuts],
            "encoder_threads": threads,
            "engine_threads": engine_threads,
        }
        self._write()

    def path(self, number: int) -> Path:
        """The file of a segment; that of -1 is what Ctrl-C left of one."""
        return self.folder / (f"{number:06d}.segment" if number >= 0 else "unfinished")

    def finished(self) -> tuple[dict[int, SegmentResult], list[int]]:
        """The segments that are whole by number, and the numbers of those that were damaged.

        The files of the latter, and whatever else a kill left, are removed.
        """
        found: dict[int, SegmentResult] = {}
        damaged = []
        wanted = {self.path(number).name: number for number in range(len(self.cuts) + 1)}
        for path in sorted(self.folder.iterdir()):
            if path.name in (self._document.name, _LOCK):
                continue
            number = wanted.get(path.name)
            if number is None:
                _delete(path)
                continue
            try:
                found[number] = _checked(path, number)
            except (BrokenSegmentError, OSError):
                damaged.append(number)
                _delete(path)
        return found, damaged

    def gapless(self) -> list[tuple[Path, SegmentResult]]:
        """The segments that follow on each other from the first on, and the unfinished one if it
        is the next. Raises `OutputError`."""
        found = []
        try:
            for number in range(len(self.cuts) + 1):
                path = self.path(number)
                if not path.exists():
                    path = self.path(-1)
                result = _result(path)
                if result.number != number:
                    break
                found.append((path, result))
        except FileNotFoundError:
            pass
        except (BrokenSegmentError, OSError) as error:
            raise OutputError(f"{path} cannot be read: {error}.") from error
        return found

    def leave(self, file: Path, *, complete: bool) -> None:
        """Note that `file` is about to become the output, to tell it from what others put there."""
        self._facts["left"] = {"complete": complete, **_identity(file)}
        self._write()

    def owns_output(self, *, complete: bool) -> bool:
        """Whether the output that is there is what `leave` noted last."""
        left = self._facts.get("left")
        try:
            return left == {"complete": complete, **_identity(self.output)}
        except OSError:
            return False

    def is_newer(self, picture: Path) -> bool:
        """Whether a picture was written since the run began that is gone on with."""
        try:
            return picture.stat().st_mtime_ns >= self._document.stat().st_mtime_ns
        except OSError:
            return False

    def leave_done(self, *, keep: bool) -> None:
        """The output is there; the folder goes, if it is not to be kept."""
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

    def _clear(self) -> None:
        for path in self.folder.iterdir():
            if path.name != _LOCK:
                _delete(path)

    def _read(self) -> tuple[Facts, bool]:
        try:
            facts = json.loads(self._document.read_bytes())
        except FileNotFoundError:
            return {}, False
        except (OSError, ValueError):
            return {}, True
        sound = isinstance(facts, dict) and facts.get("format") == _FORMAT
        return (facts, False) if sound else ({}, True)

    def _write(self) -> None:
        try:
            with atomic_write(self._document) as part, part.open("w") as file:
                json.dump(self._facts, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            sync_folder(self.folder)
        except OSError as error:
            raise OutputError(
                f"{self._document} cannot be written: {error.strerror or error}."
            ) from error


def settings_of(job: RenderJob, style: Style) -> Facts:
    """Everything of a settled job that pictures and their encoding depend on, in words.

    What only the assembly depends on, such as the sound, may change between two runs.
    """
    writing = job.writing
    vector = b"" if style.vector is None else style.vector.tobytes()
    return {
        "style": [style.name, _digest(vector), _digest(style.model.path.read_bytes())],
        "look": asdict(job.look),
        "start and duration": [str(job.reading.start), str(job.reading.duration)],
        "rate": str(job.reading.rate),
        "container": writing.suffix or job.output.suffix.lower(),
        "encoder": [
            str(part) for part in (writing.codec, writing.crf, writing.preset, writing.pixel_format)
        ],
        "encoder options": dict(writing.options),
        "engine": job.engine.name,
        "precision": job.engine.precision,
        "hwaccel": job.reading.hwaccel,
        "segment": str(job.segments.seconds),
        "version": [version("rtstyle"), av.__version__],
    }


def fingerprint(source: Path) -> Facts:
    """What tells an input from a changed one without reading all of it."""
    if source_kind(source) == "file":
        return {**_identity(source), "samples": _samples(source)}
    return {path.name: _identity(path) for path in find_pictures(source)}


def _result(path: Path) -> SegmentResult:
    with PacketFile(path) as file:
        return file.result


def _checked(path: Path, number: int) -> SegmentResult:
    with PacketFile(path) as file:
        file.check()
        if file.result.number != number:
            raise BrokenSegmentError("it is another one")
        return file.result


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _samples(path: Path) -> str:
    digest, size = hashlib.blake2b(digest_size=16), path.stat().st_size
    with path.open("rb") as file:
        for place in range(_SAMPLES):
            file.seek(max(0, size - _SAMPLE_BYTES) * place // (_SAMPLES - 1))
            digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()


def _identity(path: Path) -> Facts:
    told = path.stat()
    return {"size": told.st_size, "changed": told.st_mtime_ns}


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


# A lock on a folder that the end of its process releases, however it ends.


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
