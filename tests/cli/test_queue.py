"""The queue: jobs in a database, painted by the real command, taken up again after a kill."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import av

from tests.media.clips import make_clip

ROOT = Path(__file__).parents[2]


def _start(folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "rtstyle", "queue", *words],
        cwd=folder,
        env=os.environ | {"RTSTYLE_QUEUE_FILE": str(folder / "q.db"), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _queue(folder: Path, *words: str) -> tuple[int, str, str]:
    process = _start(folder, *words)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def test_jobs_are_painted_in_turn_and_failures_wait_for_a_retry(tmp_path: Path) -> None:
    make_clip(tmp_path / "in.mp4")
    options = ("--engine", "identity", "--no-resume")
    assert _queue(tmp_path, "add", "in.mp4", "a.mp4", *options)[0] == 0
    assert _queue(tmp_path, "add", "later.mp4", "b.mp4", *options)[0] == 0
    status, _, said = _queue(tmp_path, "add", "in.mp4", "c.mp4", "--crf", "many")
    assert status == 2
    assert "--crf" in said
    status, out, _ = _queue(tmp_path, "run")
    assert status == 1
    assert "1 done, 1 failed" in out
    with av.open(str(tmp_path / "a.mp4")) as painted:
        assert painted.streams.video[0].frames > 0
    _, out, _ = _queue(tmp_path, "list")
    assert "There is no file later.mp4" in out
    make_clip(tmp_path / "later.mp4")
    assert "1 wait again" in _queue(tmp_path, "retry")[1]
    status, out, _ = _queue(tmp_path, "run")
    assert status == 0
    assert "2 done" in out
    assert (tmp_path / "b.mp4").exists()
    assert _queue(tmp_path, "remove", "1")[0] == 0
    assert _queue(tmp_path, "remove", "1")[0] == 2


def test_a_job_whose_runner_was_killed_is_taken_up_again(tmp_path: Path) -> None:
    make_clip(tmp_path / "in.mp4")
    _queue(tmp_path, "add", "in.mp4", "a.mp4", "--engine", "identity")
    runner = _start(tmp_path, "run")
    database = tmp_path / "q.db"

    def state() -> str:
        with sqlite3.connect(database, timeout=30) as connection:
            return str(connection.execute("select state from jobs").fetchone()[0])

    patience = time.monotonic() + 60
    while state() == "waiting" and time.monotonic() < patience:
        time.sleep(0.05)
    os.killpg(runner.pid, signal.SIGKILL)  # the runner and its render, as a power cut would
    runner.communicate(timeout=30)
    if state() == "running":  # nobody has given a sign of life for half a minute
        with sqlite3.connect(database, timeout=30) as connection:
            connection.execute("update jobs set beat = beat - 60")
        connection.close()
    status, out, _ = _queue(tmp_path, "run")
    assert status == 0
    assert "1 done" in out
    assert (tmp_path / "a.mp4").exists()


def test_a_queue_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "q.db").write_text("notes, not a database, " * 100)
    status, _, said = _queue(tmp_path, "list")
    assert status == 1
    assert "cannot be used" in said
    assert (tmp_path / "q.db").read_text().startswith("notes")
