"""Opens encoders, and keeps them from claiming the machine."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from av.container import OutputContainer

_THREADS = Path("/proc/self/task")  # of this process, by number; Linux only


def start_encoding(output: OutputContainer) -> None:
    """Open the encoders of `output`. Raises what PyAV raises.

    Where it may, as root, libsvtav1 puts its threads and the one that opens it above everything
    else on the machine (`SCHED_FIFO` at 99), and what this one starts later inherits that. They
    are made ordinary threads again.
    """
    before = _real_time_threads()
    output.start_encoding()
    for thread in _real_time_threads() - before:
        with suppress(OSError):  # it has ended
            os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))


def _real_time_threads() -> set[int]:
    if not _THREADS.is_dir():
        return set()
    found = set()
    for entry in _THREADS.iterdir():
        with suppress(OSError):
            if os.sched_getscheduler(int(entry.name)) in (os.SCHED_FIFO, os.SCHED_RR):
                found.add(int(entry.name))
    return found
