"""What the command line prints, and how signals and stderr behave meanwhile."""

from __future__ import annotations

import math
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rtstyle.rendering.job import Listener

_STDERR = 2  # as the system numbers it


@dataclass(frozen=True, slots=True)
class Terminal:
    """What a command prints: results on stdout unless `quiet`, notes and progress on stderr."""

    quiet: bool = False
    shows_progress: bool = True
    results_on_stderr: bool = False  # where stdout is a video

    def result(self, text: object) -> None:
        """Print a result."""
        if not self.quiet:
            typer.echo(str(text), err=self.results_on_stderr)

    def note(self, sentence: str) -> None:
        """Print a sentence that the user should read."""
        if not self.quiet:
            print(f"note: {plain(sentence)}", file=sys.stderr, flush=True)

    def failure(self, sentence: str) -> None:
        """Print what went wrong with one of several things."""
        print(f"rtstyle: {plain(sentence)}", file=sys.stderr, flush=True)

    @contextmanager
    def progress(
        self, title: str, unit: str, *, every: float | None = None
    ) -> Iterator[Callable[[int, int | None, str], None]]:
        """A progress bar, fed with what is done, the total (if known) and a remark. Off a terminal
        it is a line `every` so many seconds, or nothing."""
        if not self.shows_progress or (every is None and not sys.stderr.isatty()):
            yield lambda done, total, remark: None
            return
        if every is not None and not sys.stderr.isatty():
            yield _lines(title, unit, every)
            return
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns: list[Any] = [
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[count]}"),
            TextColumn("{task.fields[speed]}"),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[remark]}"),
        ]
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task(title, total=None, count="", speed="", remark="")

            def update(done: int, total: int | None, remark: str) -> None:
                speed = f"{progress.tasks[0].speed or 0.0:.1f} {unit}"
                count = f"{done}/{total}" if total else f"{done}"
                progress.update(
                    task, completed=done, total=total, count=count, speed=speed, remark=remark
                )

            yield update

    @contextmanager
    def listener(self) -> Iterator[Listener]:
        """What shows how a render goes on."""
        from rtstyle.rendering.job import Listener

        with self.progress("Painting", "fps") as update:
            yield Listener(
                lambda report, total: update(report.resumed + report.frames_out, total, ""),
                self.note,
            )


def _lines(
    title: str, unit: str, every: float, clock: Callable[[], float] = perf_counter
) -> Callable[[int, int | None, str], None]:
    """Prints what is done, the first time and then every so many seconds."""
    first: tuple[float, int] | None = None
    printed = -math.inf

    def update(done: int, total: int | None, remark: str) -> None:
        nonlocal first, printed
        now = clock()
        first = first or (now, done)
        if now - printed >= every or done == total:
            printed = now
            speed = (done - first[1]) / (now - first[0]) if now > first[0] else 0.0
            whole = f"/{total}" if total else ""
            text = f"{title} {done}{whole}, {speed:.2f} {unit}, {remark}"
            print(plain(text), file=sys.stderr, flush=True)

    return update


@contextmanager
def own_stderr() -> Iterator[None]:
    """Within it, stderr is Python's alone: what C libraries print there, as image and video codecs
    do about damage, goes nowhere. Without effect where stderr is not the process's."""
    before = sys.stderr
    try:
        is_ours = before.fileno() == _STDERR
    except (AttributeError, OSError, ValueError):
        is_ours = False
    if not is_ours:
        yield
        return
    before.flush()
    copy, nowhere = os.dup(_STDERR), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, _STDERR)
    os.close(nowhere)
    with open(
        copy, "w", encoding=before.encoding, errors=before.errors, buffering=1, closefd=False
    ) as sys.stderr:
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(copy, _STDERR)
            sys.stderr = before
    os.close(copy)


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """A line for each row of texts, in columns. On a terminal it is as wide as that: the columns
    between the first and the last are left out where they take too much, and the last is cut."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    rows = [[plain(text) for text in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if sum(widths[:-1]) + 2 * len(widths) > width / 2:
        rows, widths = [[row[0], row[-1]] for row in rows], [widths[0], widths[-1]]
    lines = []
    for row in rows:
        *cells, last = row
        start = "".join(f"{cell:<{size}}  " for cell, size in zip(cells, widths, strict=False))
        room = max(width - len(start), 10)
        lines.append((start + (last if len(last) <= room else f"{last[: room - 1]}…")).rstrip())
    return lines


def plain(text: str) -> str:
    """The text on one line, with what cannot be printed, or steers a terminal, escaped."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


@contextmanager
def terminable() -> Iterator[None]:
    """Within it, SIGTERM is what Ctrl-C is. In the main thread only."""

    def interrupt(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
