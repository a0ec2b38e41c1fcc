"""SIGKILL at random moments of a render, then the same command again: identical results."""

from __future__ import annotations

import hashlib
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import av
import typer

from benchmarks.reliability.film import make_film
from benchmarks.reliability.finding import Finding
from benchmarks.reliability.options import CheckOptions
from rtstyle.errors import UsageError

_LIMIT_SECONDS = 600.0  # for one run


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(CheckOptions):
    """The command line."""

    count: Annotated[int, typer.Option(help="SIGKILLs in all")] = 50
    seed: Annotated[int, typer.Option(help="of the moments")] = 0
    engine: Annotated[str, typer.Option(help="what paints")] = "identity"
    segment: Annotated[str, typer.Option(help="seconds of a segment")] = "1"
    film_seconds: Annotated[int, typer.Option(help="how long the film is")] = 20
    suffix: Annotated[str, typer.Option(help="the container of the output")] = ".mp4"


def measure(options: Options) -> Finding:
    """Kill renders of one clip until `count` have been killed; compare every result.

    A moment is drawn from the time an uninterrupted run takes, start of Python included; a run that
    was killed is run again, and may be killed again.
    """
    if options.count < 1:
        raise UsageError("At least one kill is needed.")
    began = time.perf_counter()
    draw = random.Random(options.seed)
    with TemporaryDirectory() as made:
        folder = Path(made)
        source = make_film(folder / "film.mp4", options.film_seconds)
        run = _Runs(source, options)
        start = time.perf_counter()
        whole = run.to_its_end(folder / f"whole{options.suffix}")
        usual = time.perf_counter() - start
        kills = results = same = same_bytes = left = 0
        with_segments = 0
        while kills < options.count:
            output = folder / f"{results}" / f"out{options.suffix}"
            output.parent.mkdir()
            while kills < options.count and not _is_done(output):
                kills += run.killed(output, after=draw.uniform(0.05, usual))
                with_segments += bool(list(output.parent.glob(".*/*.segment")))
            found = output if _is_done(output) else run.to_its_end(output)
            results += 1
            same += content(found) == content(whole)
            same_bytes += found.read_bytes() == whole.read_bytes()
            left += len(list(output.parent.iterdir())) - 1
            shutil.rmtree(output.parent)
    return Finding(
        check="kills",
        claim=f"{kills} SIGKILLs at random moments, each resumed: every result is the same",
        figures={
            "kills": kills,
            "kills with finished segments at hand": with_segments,
            "results": results,
            "identical frames, times and sound": same,
            "identical bytes": same_bytes,
            "files left behind": left,
            "seconds of an uninterrupted run": round(usual, 1),
        },
        passed=same == results and left == 0,
        command=f"python -m benchmarks reliability kills --count {options.count} "
        f"--seed {options.seed} --engine {options.engine} --segment {options.segment} "
        f"--film-seconds {options.film_seconds} --suffix {options.suffix}",
        seconds=time.perf_counter() - began,
    )


@dataclass(frozen=True, slots=True)
class _Runs:
    """The same command again and again."""

    source: Path
    options: Options

    def to_its_end(self, output: Path) -> Path:
        """Run until done; the output."""
        with self._start(output) as process:
            _, errors = process.communicate(timeout=_LIMIT_SECONDS)
        if process.returncode:
            raise RuntimeError(f"a render failed: {errors}")
        return output

    def killed(self, output: Path, *, after: float) -> bool:
        """Run and kill it `after` seconds; whether it was still at work then."""
        with self._start(output) as process:
            try:
                _, errors = process.communicate(timeout=after)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.communicate()
                return process.returncode == -signal.SIGKILL
        if process.returncode:
            raise RuntimeError(f"a render failed: {errors}")
        return False

    def _start(self, output: Path) -> subprocess.Popen[str]:
        options = self.options
        return subprocess.Popen(
            [
                sys.executable, "-m", "rtstyle", "render", str(self.source), str(output),
                "--engine", options.engine, "--segment", options.segment, "--quiet",
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip


def _is_done(output: Path) -> bool:
    return output.exists() and not any(output.parent.glob(f".{output.name}*"))


Content = list[list[tuple[Fraction | None, Fraction | None, str]]]


def content(path: Path) -> Content:
    """Every packet of every stream in order: PTS and duration in seconds, digest of its bytes."""
    with av.open(str(path)) as container:
        found: Content = [[] for _ in container.streams]
        for packet in container.demux():
            if packet.size:
                tick = packet.time_base
                found[packet.stream.index].append(
                    (
                        None if packet.pts is None else packet.pts * tick,
                        None if packet.duration is None else packet.duration * tick,
                        hashlib.blake2b(bytes(packet), digest_size=16).hexdigest(),
                    )
                )
        return found
