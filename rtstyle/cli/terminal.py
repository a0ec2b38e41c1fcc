"""What the command line shows while it works: a progress bar on stderr."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rtstyle.metrics import Report

_STDERR = 2  # as the system numbers it


@contextmanager
def progress_bar(
    title: str, *, hidden: bool, unit: str
) -> Iterator[Callable[[int, int | None, str], None]]:
    """A progress bar on stderr, fed with what is done, what is to do (if known) and a remark."""
    if hidden or not sys.stderr.isatty():
        yield lambda done, total, remark: None
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
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"),
        TextColumn("{task.fields[speed]}"), TimeElapsedColumn(), TextColumn("ETA"),
        TimeRemainingColumn(), TextColumn("{task.fields[remark]}"),
    ]  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=None, speed="", remark="")

        def update(done: int, total: int | None, remark: str) -> None:
            rate = progress.tasks[0].speed or 0.0
            progress.update(
                task, completed=done, total=total, speed=f"{rate:.1f} {unit}", remark=remark
            )

        yield update


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


def plain(text: str) -> str:
    """The text on one line, with what cannot be printed, or steers a terminal, escaped."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


def note(quiet: bool) -> Callable[[str], None]:
    """What takes a sentence that the user should read, and prints it on stderr unless `quiet`."""
    return lambda sentence: (
        None if quiet else print(f"note: {plain(sentence)}", file=sys.stderr, flush=True)
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


@contextmanager
def frame_bar(title: str, *, hidden: bool) -> Iterator[Callable[[Report, int | None], None]]:
    """A progress bar fed with the report so far and the number of frames, if known."""
    with progress_bar(title, hidden=hidden, unit="fps") as update:
        yield lambda report, total: update(report.resumed + report.frames_out, total, "")
