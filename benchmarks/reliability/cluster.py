"""Workers on Ray: one killed and nothing lost, and what two are worth against one."""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.reliability.film import make_film
from benchmarks.reliability.finding import Finding
from benchmarks.reliability.kills import content
from rtstyle.cluster.connection import connected
from rtstyle.cluster.run import render_connected
from rtstyle.cluster.worker import Facts
from rtstyle.engines import EngineOptions
from rtstyle.errors import UsageError
from rtstyle.metrics import Report
from rtstyle.rendering.job import RenderJob, Segments
from rtstyle.rendering.run import render_in_segments
from rtstyle.style.parse import find_style

_LEAST_SPEED_UP = 1.8


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this check."""
    parser.add_argument("--film-seconds", type=int, default=40, help="how long the film is")
    parser.add_argument("--segment", type=Fraction, default=Fraction(2), help="seconds of one")
    parser.add_argument("--pairs", type=int, default=1, help="renders by one and by two workers")
    parser.add_argument("--engine", default="openvino", help="what paints")
    parser.add_argument("--style", default="starry_night", help="what is painted")


def measure(arguments: argparse.Namespace) -> Finding:
    """Render a film here, by one worker, by two, and by two of which one is killed in mid-segment.

    A worker's engine has one thread, and all its threads stay on one core, which two workers share
    with this process and Ray. Ray runs already; starting the workers, loading the model, planning
    and joining are in the times.
    """
    if arguments.pairs < 1:
        raise UsageError("At least one pair is needed.")
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise UsageError("Two workers of one core each need two cores.")
    began = time.perf_counter()
    style = find_style(arguments.style)
    with TemporaryDirectory() as made:
        folder = Path(made)
        source = make_film(folder / "film.mp4", arguments.film_seconds)

        def job(output: Path) -> RenderJob:
            return RenderJob(
                source=source, output=output, style=arguments.style,
                engine=EngineOptions(name=arguments.engine, threads=1),
                segments=Segments(seconds=arguments.segment),
            )  # fmt: skip

        here, killed_one = folder / "here.mp4", folder / "killed.mp4"
        report = render_in_segments(job(here), style=style)
        with connected("auto", cpus=2, cards=()) as scratch:

            def seconds(
                output: Path, workers: int,
                on_frame: Callable[[Report, int | None], None] = lambda report, total: None,
                on_worker: Callable[[Facts], None] = lambda facts: None,
            ) -> float:  # fmt: skip
                output.unlink(missing_ok=True)
                pinned: list[int] = []

                def ready(facts: Facts) -> None:
                    _pin(facts.pid, cores[len(pinned) % 2])
                    pinned.append(facts.pid)
                    on_worker(facts)

                start = time.perf_counter()
                render_connected(
                    [job(output)], style=style, workers=workers, scratch=scratch,
                    on_frame=on_frame, on_worker=ready,
                )  # fmt: skip
                return time.perf_counter() - start

            one, two = [], []
            for _ in range(arguments.pairs):
                one.append(seconds(folder / "one.mp4", 1))
                two.append(seconds(folder / "two.mp4", 2))
            started: list[int] = []
            killed: list[int] = []

            def kill(report: Report, total: int | None) -> None:
                if report.frames_out and not killed and len(started) == 2:
                    killed.append(report.frames_out)
                    os.kill(started[0], signal.SIGKILL)

            seconds(killed_one, 2, kill, lambda facts: started.append(facts.pid))
        outputs = [folder / "one.mp4", folder / "two.mp4", killed_one]
        same = [path.read_bytes() == here.read_bytes() for path in outputs]
        same_content = content(killed_one) == content(here)
    speed_up = statistics.median(a / b for a, b in zip(one, two, strict=True))
    return Finding(
        check="cluster",
        claim="Of two local workers one is killed, and the result is the same; two one-core "
        f"workers are at least {_LEAST_SPEED_UP} times as fast as one",
        figures={
            "frames": report.frames_out,
            "workers killed": len(killed),
            "frames painted when it was killed": killed[0] if killed else 0,
            "workers in all": len(started),
            "every packet, time and sound the same": "yes" if same_content else "NO",
            "same bytes as here, by one, two, two with one killed": " ".join(
                "yes" if held else "NO" for held in same
            ),
            "seconds, one worker": round(statistics.median(one), 1),
            "seconds, two workers": round(statistics.median(two), 1),
            "speed-up": round(speed_up, 3),
        },
        passed=all(same) and same_content and bool(killed) and speed_up >= _LEAST_SPEED_UP,
        command=f"python -m benchmarks reliability cluster --film-seconds {arguments.film_seconds} "
        f"--segment {arguments.segment} --pairs {arguments.pairs} --engine {arguments.engine} "
        f"--style {arguments.style}",
        seconds=time.perf_counter() - began,
    )


def _pin(pid: int, core: int) -> None:
    """Keep a process's threads, and those it will start, on one core."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})
