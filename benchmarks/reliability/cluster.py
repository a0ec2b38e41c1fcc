"""Workers on Ray: one killed and nothing lost, and what two are worth against one."""

from __future__ import annotations

import os
import signal
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from benchmarks.reliability.film import make_film
from benchmarks.reliability.finding import Finding
from benchmarks.reliability.kills import content
from benchmarks.reliability.options import CheckOptions
from rtstyle.cluster.connection import connected
from rtstyle.cluster.run import render_connected
from rtstyle.cluster.worker import WorkerInfo
from rtstyle.engines import EngineOptions
from rtstyle.errors import UsageError
from rtstyle.metrics import Report
from rtstyle.rendering.job import Listener, RenderJob, Segments
from rtstyle.rendering.run import LocalExecutor, render_in_segments
from rtstyle.style.parse import find_style

_LEAST_SPEED_UP = 1.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(CheckOptions):
    """The command line."""

    film_seconds: Annotated[int, typer.Option(help="how long the film is")] = 40
    segment: Annotated[
        Fraction, typer.Option(parser=Fraction, metavar="SECONDS", help="seconds of one")
    ] = Fraction(2)
    pairs: Annotated[int, typer.Option(help="renders by one and by two workers")] = 1
    engine: Annotated[str, typer.Option(help="what paints")] = "openvino"
    style: Annotated[str, typer.Option(help="what is painted")] = "starry_night"


def measure(options: Options) -> Finding:
    """Render a film here, by one worker, by two, and by two of which one is killed in mid-segment.

    A worker's engine has one thread, and all its threads stay on one core, which two workers share
    with this process and Ray. Ray runs already; starting the workers, loading the model, planning
    and joining are in the times.
    """
    if options.pairs < 1:
        raise UsageError("At least one pair is needed.")
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise UsageError("Two workers of one core each need two cores.")
    began = time.perf_counter()
    style = find_style(options.style)
    with TemporaryDirectory() as made:
        folder = Path(made)
        source = make_film(folder / "film.mp4", options.film_seconds)

        def job(output: Path) -> RenderJob:
            return RenderJob(
                source=source,
                output=output,
                style=style,
                engine=EngineOptions(name=options.engine, threads=1),
                segments=Segments(seconds=options.segment),
            )

        here, killed_one = folder / "here.mp4", folder / "killed.mp4"
        with LocalExecutor() as executor:
            report = render_in_segments(job(here), executor)
        with connected("auto", cpus=2, gpus=()) as scratch:

            def seconds(
                output: Path,
                workers: int,
                on_frame: Callable[[Report, int | None], None] = lambda report, total: None,
                on_worker: Callable[[WorkerInfo], None] = lambda info: None,
            ) -> float:
                output.unlink(missing_ok=True)
                pinned: list[int] = []

                def ready(info: WorkerInfo) -> None:
                    _pin(info.pid, cores[len(pinned) % 2])
                    pinned.append(info.pid)
                    on_worker(info)

                start = time.perf_counter()
                render_connected([job(output)], workers, scratch, Listener(on_frame), ready)
                return time.perf_counter() - start

            one, two = [], []
            for _ in range(options.pairs):
                one.append(seconds(folder / "one.mp4", 1))
                two.append(seconds(folder / "two.mp4", 2))
            started: list[int] = []
            killed: list[int] = []

            def kill(report: Report, total: int | None) -> None:
                if report.frames_out and not killed and len(started) == 2:
                    killed.append(report.frames_out)
                    os.kill(started[0], signal.SIGKILL)

            seconds(killed_one, 2, kill, lambda info: started.append(info.pid))
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
        command=f"python -m benchmarks reliability cluster --film-seconds {options.film_seconds} "
        f"--segment {options.segment} --pairs {options.pairs} --engine {options.engine} "
        f"--style {options.style}",
        seconds=time.perf_counter() - began,
    )


def _pin(pid: int, core: int) -> None:
    """Keep a process's threads, and those it will start, on one core."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})
