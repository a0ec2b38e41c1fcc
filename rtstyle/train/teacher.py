"""Any program that paints a picture as a teacher: it paints photographs, and a net imitates it."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rtstyle.errors import MediaError, OutputError, TrainingError, UsageError
from rtstyle.files import atomic_write, make_folder
from rtstyle.frame import Image
from rtstyle.media.images import read_picture, write_picture
from rtstyle.train.data import demo_photos, load_content
from rtstyle.train.ways import Progress
from rtstyle.train.ways.pairs import PairFolders, Pairs

_log = logging.getLogger("rtstyle")

PLACES = ("{input}", "{output}")
_HOPELESS = 8  # pictures: a teacher that fails on the first so many is given up
_NAMED = 3  # failures that are told

Paint = Callable[[Image], Image]


@dataclass(frozen=True, slots=True, kw_only=True)
class Teacher:
    """A teacher and the photographs that it paints.

    `command` is a command line with {input} and {output} in it, which reads a PNG and writes one
    of the same size; no shell reads it. Or a function, which is not called by two threads at once.
    `count` pictures of `content`, evenly chosen, are painted, all by default, `jobs` at a time;
    each may take `limit` seconds.
    """

    command: str | Paint
    content: tuple[Path, ...]
    count: int | None = None
    jobs: int | None = None
    limit: float = 300.0

    def open(self, folder: Path, progress: Progress) -> Pairs:
        """Have the pictures painted that are not yet, and read all pairs.

        Pairs lie in `folder`/pairs, each whole or not there; a run that was stopped goes on. What
        the teacher fails at is told and left out. Raises `UsageError` when the pairs there are of
        another command, `TrainingError` when the teacher cannot be started or always fails.
        """
        pairs = folder / "pairs"
        before, after = pairs / "before", pairs / "after"
        arguments = self._arguments()
        for place in (before, after):
            make_folder(place)
        self._claim(pairs / "teacher.txt")
        photos = load_content(self.content, cache=folder) if self.content else demo_photos()
        chosen = np.linspace(0, len(photos) - 1, min(self.count or len(photos), len(photos)))
        names = {int(i): f"{int(i):05d}-{Path(photos.names[int(i)]).stem}.png" for i in chosen}
        missing = {i: name for i, name in names.items() if not _is_whole(after / name)}
        done, failed = len(names) - len(missing), list[str]()
        progress(done, len(names), "")
        with _Runner(arguments, self.limit) as runner:

            def make(i: int, name: str) -> str | None:
                """One pair; returns what went wrong."""
                write_picture(before / name, photos[i], overwrite=True)
                try:
                    with atomic_write(after / name) as part:
                        png = part.with_suffix(".png")
                        try:
                            self._paint(runner, photos[i], before / name, png)
                            os.replace(png, part)
                        finally:
                            png.unlink(missing_ok=True)
                except (TrainingError, MediaError, OutputError) as error:
                    (before / name).unlink(missing_ok=True)
                    return str(error)
                return None

            jobs = 1 if callable(self.command) else self.jobs or os.cpu_count() or 1
            with ThreadPoolExecutor(jobs, "rtstyle-teacher") as pool:
                waiting = [pool.submit(make, i, name) for i, name in missing.items()]
                try:
                    for future in as_completed(waiting):
                        if problem := future.result():
                            failed.append(problem)
                            if len(failed) == _HOPELESS and done == 0:
                                raise TrainingError(
                                    f"The teacher failed on the first {_HOPELESS} pictures: "
                                    f"{problem}"
                                )
                        else:
                            done += 1
                        progress(done, len(names), f"{len(failed)} failed" if failed else "")
                finally:
                    pool.shutdown(wait=False, cancel_futures=True)
                    runner.stop()
        for problem in failed[:_NAMED]:
            _log.warning("The teacher failed on a picture: %s", problem)
        if failed:
            _log.warning(
                "The teacher failed on %d of %d pictures; %d pairs are kept in %s, and the same "
                "command tries the others again.", len(failed), len(names), done, pairs,
            )  # fmt: skip
        if not done:
            raise TrainingError(f"The teacher painted none of the pictures: {failed[0]}")
        return PairFolders(before=before, after=after).open(folder, progress)

    def _arguments(self) -> list[str]:
        if callable(self.command):
            return []
        try:
            arguments = shlex.split(self.command)
        except ValueError as error:
            raise UsageError(f"The teacher's command cannot be read ({error}).") from None
        if missing := [place for place in PLACES if place not in self.command]:
            raise UsageError(
                f"The teacher's command needs {' and '.join(PLACES)} where the file names go; "
                f"{' and '.join(missing)} is missing in {self.command!r}."
            )
        if shutil.which(arguments[0]) is None:
            raise UsageError(f"The teacher's program {arguments[0]} is not installed here.")
        return arguments

    def _claim(self, path: Path) -> None:
        """Note whose pairs these are."""
        text = getattr(self.command, "__name__", None) or str(self.command)
        if path.exists() and (earlier := path.read_text(encoding="utf-8")) != text:
            raise UsageError(
                f"The pairs in {path.parent} are of another teacher ({earlier}); pass --work DIR "
                "for another folder, or remove that one."
            )
        path.write_text(text, encoding="utf-8")

    def _paint(self, runner: _Runner, photo: Image, before: Path, after: Path) -> None:
        if callable(self.command):
            write_picture(after, self.command(photo), overwrite=True)
            return
        runner.run({"{input}": str(before), "{output}": str(after)})
        if not after.exists():
            raise TrainingError(f"it wrote no picture for {before.name}")
        painted, _ = read_picture(after)
        if painted.shape != photo.shape:
            (h, w), (height, width) = painted.shape[:2], photo.shape[:2]
            raise TrainingError(f"it made {w}×{h} pixels of {before.name}, which has "
                                f"{width}×{height}")  # fmt: skip


def _is_whole(path: Path) -> bool:
    try:
        read_picture(path)
    except (MediaError, FileNotFoundError):
        return False
    return True


class _Runner:
    """Runs a command with file names, several at once from threads; `stop` kills what runs."""

    def __init__(self, arguments: list[str], limit: float) -> None:
        self._arguments, self._limit = arguments, limit
        self._running, self._lock, self._stopped = set[subprocess.Popen[bytes]](), (
            threading.Lock()
        ), False  # fmt: skip

    def __enter__(self) -> _Runner:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def run(self, names: dict[str, str]) -> None:
        """Run it to its end. Raises `TrainingError` when it fails or takes longer than allowed."""
        arguments = list(self._arguments)
        for place, name in names.items():
            arguments = [argument.replace(place, name) for argument in arguments]
        # A file, not a pipe: a child that outlives its parent would hold a pipe open.
        with tempfile.TemporaryFile() as said:
            with self._lock:
                if self._stopped:
                    raise TrainingError("it was stopped")
                try:
                    process = subprocess.Popen(
                        arguments, stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                        start_new_session=True,
                    )  # fmt: skip
                except OSError as error:
                    raise TrainingError(f"it cannot be started ({error.strerror})") from error
                self._running.add(process)
            try:
                status = process.wait(self._limit)
            except subprocess.TimeoutExpired:
                raise TrainingError(
                    f"it took more than {self._limit:g} s and was stopped; --limit allows more"
                ) from None
            finally:
                _kill(process)
                with self._lock:
                    self._running.discard(process)
            if status:
                said.seek(max(0, said.seek(0, os.SEEK_END) - 2000))
                lines = said.read().decode(errors="replace").split("\n")
                last = next((line.strip() for line in reversed(lines) if line.strip()), "no output")
                raise TrainingError(f"it ended with status {status} ({last[:200]})")

    def stop(self) -> None:
        """Kill what runs and start nothing more."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the process and what it started; harmless where it has ended."""
    try:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    except (ProcessLookupError, PermissionError):
        pass
    process.wait()
