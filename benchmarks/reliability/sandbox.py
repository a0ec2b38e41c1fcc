"""Runs the command line many times, each in a process of its own with limits.

    sandbox (here) ── JSON lines ──▶ nursery: everything imported, no threads ── fork ──▶ one run

Starting Python and importing takes a second; a fork takes a millisecond. `fresh=True` starts a new
interpreter for every run instead, as a user does.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

from rtstyle.closing import Closing

_PRELOADED = ("rtstyle.cli.main", "rtstyle.rendering.api", "rtstyle.media.video.source",
              "rtstyle.media.video.sink",
              "rtstyle.media.images", "rtstyle.media.sequence", "rtstyle.engines.identity_engine",
              "rich.table", "onnxruntime", "openvino",
              "benchmarks.reliability.looking")  # fmt: skip
_COMMANDS = {  # what a run may be, by its first word
    "rtstyle": "rtstyle.cli.main:main",
    "look": "benchmarks.reliability.looking:main",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Of one run: seconds by the clock, and bytes of address space."""

    seconds: float = 30.0
    memory: int = 4 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How a run ended: its exit status, or the signal that ended it; never both."""

    status: int | None
    signal: str = ""
    timed_out: bool = False
    stdout: str = ""
    stderr: str = ""
    seconds: float = 0.0
    peak_mb: float = 0.0


class Sandbox(Closing):
    """Runs commands, one at a time. `folder` is for what they print."""

    def __init__(self, folder: Path, *, limits: Limits | None = None, fresh: bool = False) -> None:
        self._folder, self._limits, self._fresh = folder, limits or Limits(), fresh
        self._nursery: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        return self

    def close(self) -> None:
        if self._nursery is not None:
            assert self._nursery.stdin is not None
            self._nursery.stdin.close()
            self._nursery.wait(30)
            assert self._nursery.stdout is not None
            self._nursery.stdout.close()

    def run(
        self, argv: Sequence[str], *, cwd: Path, environment: dict[str, str] | None = None
    ) -> Ran:
        """Run `argv`, whose first word is "rtstyle" or "look", in the folder `cwd`."""
        out, err = self._folder / "stdout", self._folder / "stderr"
        order = {
            "argv": list(argv), "cwd": str(cwd), "environment": environment or {},
            "stdout": str(out), "stderr": str(err),
            "seconds": self._limits.seconds, "memory": self._limits.memory,
        }  # fmt: skip
        answer = _run_fresh(order) if self._fresh else self._ask(order)
        return Ran(**answer, stdout=_printed(out), stderr=_printed(err))

    def _ask(self, order: dict[str, Any]) -> dict[str, Any]:
        if self._nursery is None:
            self._nursery = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.reliability.sandbox"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=Path(__file__).parents[2],
            )
        assert self._nursery.stdin is not None
        assert self._nursery.stdout is not None
        self._nursery.stdin.write(json.dumps(order) + "\n")
        self._nursery.stdin.flush()
        answer: dict[str, Any] = json.loads(self._nursery.stdout.readline())
        return answer


def _printed(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "backslashreplace")


def _run_fresh(order: dict[str, Any]) -> dict[str, Any]:
    return _watch(lambda: _exec(order), order["seconds"])


def _nursery(orders: IO[str], answers: IO[str]) -> None:
    """Fork a child for every order; answer how it ended."""
    from importlib import import_module

    for name in _PRELOADED:
        import_module(name)
    for line in orders:
        order = json.loads(line)
        answers.write(json.dumps(_watch(lambda: _call(order), order["seconds"])) + "\n")  # noqa: B023
        answers.flush()


def _watch(child: Callable[[], None], seconds: float) -> dict[str, Any]:
    """Fork, let `child` run in there, kill its whole group when time is up."""
    began = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            child()
        finally:
            os._exit(125)
    handle = os.pidfd_open(pid)
    timed_out = not select.select([handle], [], [], seconds)[0]
    os.close(handle)
    if timed_out:
        os.killpg(pid, signal.SIGKILL)
    _, status, used = os.wait4(pid, 0)
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    return {
        "status": None if number else os.WEXITSTATUS(status),
        "signal": signal.Signals(number).name if number else "",
        "timed_out": timed_out,
        "seconds": time.perf_counter() - began,
        "peak_mb": used.ru_maxrss / 1024,
    }


def _settle(order: dict[str, Any]) -> None:
    """In the child: folder, environment, files for what it prints, limits."""
    os.chdir(order["cwd"])
    os.environ.update(order["environment"])
    for number, name in ((1, "stdout"), (2, "stderr")):
        file = os.open(order[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(file, number)
        os.close(file)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    resource.setrlimit(resource.RLIMIT_AS, (order["memory"], order["memory"]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    at_most = round(order["seconds"] * 2) + 1  # should whoever watches us starve
    resource.setrlimit(resource.RLIMIT_CPU, (at_most, at_most))


def _call(order: dict[str, Any]) -> None:
    _settle(order)
    module, _, name = _COMMANDS[order["argv"][0]].partition(":")
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
    sys.argv = order["argv"]
    status = 0
    try:
        getattr(sys.modules[module], name)()
    except SystemExit as left:
        status = left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _exec(order: dict[str, Any]) -> None:
    _settle(order)
    module, _, name = _COMMANDS[order["argv"][0]].partition(":")
    program = f"import sys; sys.argv = {order['argv']!r}; import {module}; {module}.{name}()"
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])
    os.execv(sys.executable, [sys.executable, "-c", program])


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _nursery(sys.stdin, answers)
