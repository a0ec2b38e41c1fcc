"""What the command line shows while it works: a progress bar on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rtstyle.metrics import Report


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
def frame_bar(title: str, *, hidden: bool) -> Iterator[Callable[[Report, int | None], None]]:
    """A progress bar fed with the report so far and the number of frames, if known."""
    with progress_bar(title, hidden=hidden, unit="fps") as update:
        yield lambda report, total: update(report.frames_out, total, "")
