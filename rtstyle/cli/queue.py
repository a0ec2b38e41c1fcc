"""`rtstyle queue`: renders that wait for their turn, kept in a database that survives a power cut.

A job is a command line of `rtstyle render`. `run` gives each a process of its own; what was cut off
is taken up again, and `render` itself goes on where it stopped.
"""

from __future__ import annotations

import json
import os
import shlex
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, cast

import platformdirs
import typer
from typer import Argument, Context, Option

from rtstyle.errors import OutputError, UsageError

WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"
_BEAT, _STALE = 5.0, 30.0  # seconds: a runner's sign of life, and when it counts as gone
_INTERRUPTED = 130
_TABLE = """
create table if not exists jobs (
    id integer primary key, arguments text not null, folder text not null,
    state text not null default 'waiting', attempts integer not null default 0,
    beat real not null default 0, seconds real, message text not null default ''
)
"""

app = typer.Typer(
    help="Render one film after the other; survives a power cut.", no_args_is_help=True
)


@app.callback()
def _queue(
    context: Context,
    file: Annotated[
        Path | None, Option(help="The database; in the user's data folder by default.")
    ] = None,
) -> None:
    folder = platformdirs.user_data_path("rtstyle", appauthor=False)
    context.obj = file or folder / "queue.sqlite"


@contextmanager
def _opened(context: Context) -> Iterator[sqlite3.Connection]:
    """The database, in a transaction that is written when the block succeeds."""
    path = cast(Path, context.obj)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path, timeout=30)) as connection, connection:
            connection.execute(_TABLE)
            yield connection
    except (OSError, sqlite3.Error) as error:
        raise OutputError(
            f"The queue {path} cannot be used: {error}; choose another one: rtstyle queue --file …"
        ) from error


@app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def add(
    context: Context,
    arguments: Annotated[
        list[str], Argument(metavar="IN… OUT [OPTIONS]", help="As for rtstyle render.")
    ],
) -> None:
    """Put a render into the queue."""
    from rtstyle.cli.main import parse_render

    parse_render(arguments)  # a wrong option is refused now, not tonight
    with _opened(context) as connection:
        number = connection.execute(
            "insert into jobs (arguments, folder) values (?, ?)",
            (json.dumps(arguments), os.getcwd()),
        ).lastrowid
    typer.echo(f"Job {number} waits; rtstyle queue run paints it.")


@app.command(name="list")
def show(context: Context) -> None:
    """Show every job and how it stands."""
    with _opened(context) as connection:
        rows = connection.execute(
            "select id, state, seconds, arguments, message from jobs order by id"
        ).fetchall()
    for number, state, seconds, arguments, message in rows:
        took = "" if seconds is None else f"{seconds:.0f} s"
        typer.echo(f"{number:4} {state:8} {took:>8}  {shlex.join(json.loads(arguments))}")
        if message:
            typer.echo(f"{'':24}{message}")
    if not rows:
        typer.echo("The queue is empty; rtstyle queue add in.mp4 out.mp4 puts a film in.")


@app.command()
def run(context: Context) -> None:
    """Paint all that waits; a second run beside it helps. Exits with 1 when a job failed."""
    failed = 0
    while (job := _claim(context)) is not None:
        number, arguments, folder = job
        typer.echo(f"Job {number}: {shlex.join(arguments)}")
        status, message, seconds = _paint(context, number, arguments, folder)
        if status == _INTERRUPTED:
            _set(context, number, WAITING)
            raise typer.Exit(_INTERRUPTED)
        _set(context, number, FAILED if status else DONE, message, seconds)
        failed += status != 0
    with _opened(context) as connection:
        counts = dict(connection.execute("select state, count(*) from jobs group by state"))
    typer.echo(", ".join(f"{count} {state}" for state, count in counts.items()) or "Nothing waits.")
    if failed:
        raise typer.Exit(1)


@app.command()
def retry(
    context: Context,
    number: Annotated[int | None, Argument(help="All that failed, without a number.")] = None,
) -> None:
    """Let failed jobs wait again."""
    with _opened(context) as connection:
        count = connection.execute(
            "update jobs set state = 'waiting', message = '' "
            "where state = 'failed' and (?1 is null or id = ?1)",
            (number,),
        ).rowcount
    if number is not None and not count:
        raise UsageError(f"Job {number} has not failed; rtstyle queue list shows what has.")
    typer.echo(f"{count} wait again.")


@app.command()
def remove(context: Context, number: Annotated[int, Argument()]) -> None:
    """Take a job out that does not run. What it has painted stays."""
    with _opened(context) as connection:
        count = connection.execute(
            "delete from jobs where id = ? and state != 'running'", (number,)
        ).rowcount
    if not count:
        raise UsageError(f"There is no job {number} that waits or has ended.")


def _claim(context: Context) -> tuple[int, list[str], str] | None:
    """The next job, which is this runner's from now on; None when nothing waits."""
    with _opened(context) as connection:
        # counted from when the machine started, for all of its processes: a beat that is ahead is
        # of an earlier day
        now = time.monotonic()
        row = connection.execute(
            "update jobs set state = 'running', beat = ?1, attempts = attempts + 1 where id = ("
            " select id from jobs where state = 'waiting'"
            " or (state = 'running' and not beat between ?2 and ?1)"
            " order by id limit 1) returning id, arguments, folder",
            (now, now - _STALE),
        ).fetchone()
    return None if row is None else (row[0], json.loads(row[1]), row[2])


def _paint(
    context: Context, number: int, arguments: list[str], folder: str
) -> tuple[int, str, float]:
    """Run one render: its exit status, the last line of its complaint, and its seconds."""
    start = time.monotonic()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "rtstyle", "render", *arguments],
            # a terminal shows the render's own progress; anywhere else its last line is kept
            cwd=folder, stderr=None if sys.stderr.isatty() else subprocess.PIPE,
            text=True, errors="replace",
        )  # fmt: skip
    except OSError as error:
        return 1, f"It cannot start in {folder}: {error.strerror}.", 0.0
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(_BEAT):
            with _opened(context) as connection:
                connection.execute(
                    "update jobs set beat = ? where id = ?", (time.monotonic(), number)
                )

    threading.Thread(target=beat, daemon=True).start()
    last = ""
    try:
        with process:
            for line in process.stderr or ():
                sys.stderr.write(line)
                last = line.strip() or last
    except KeyboardInterrupt:  # the terminal has sent it to the render as well
        process.wait()
        return _INTERRUPTED, "", 0.0
    finally:
        ended.set()
    message = last or f"It ended with status {process.returncode}."
    return process.returncode, message if process.returncode else "", time.monotonic() - start


def _set(
    context: Context, number: int, state: str, message: str = "", seconds: float | None = None
) -> None:
    with _opened(context) as connection:
        connection.execute(
            "update jobs set state = ?, message = ?, seconds = ? where id = ?",
            (state, message, seconds, number),
        )
