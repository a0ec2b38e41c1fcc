"""SIGKILL at random moments of a render, then the same command again: identical results."""

from __future__ import annotations

import argparse
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

import av

from benchmarks.reliability.film import make_film
from benchmarks.reliability.finding import Finding
from rtstyle.errors import UsageError

_LIMIT_SECONDS = 600.0  # for one run


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this check."""
    parser.add_argument("--count", type=int, default=50, help="SIGKILLs in all")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--engine", default="identity", help="what paints")
    parser.add_argument("--segment", default="1", help="seconds of a segment")
    parser.add_argument("--film-seconds", type=int, default=20, help="how long the film is")
    parser.add_argument("--suffix", default=".mp4", help="the container of the output")


def measure(arguments: argparse.Namespace) -> Finding:
    """Kill renders of one clip until `count` have been killed; compare every result.

    A moment is drawn from the time an uninterrupted run takes, start of Python included; a run that
    was killed is run again, and may be killed again.
    """
    if arguments.count < 1:
        raise UsageError("At least one kill is needed.")
    began = time.perf_counter()
    draw = random.Random(arguments.seed)
    with TemporaryDirectory() as made:
        folder = Path(made)
        source = make_film(folder / "film.mp4", arguments.film_seconds)
        run = _Runs(source, arguments)
        start = time.perf_counter()
        whole = run.to_its_end(folder / f"whole{arguments.suffix}")
        usual = time.perf_counter() - start
        kills = results = same = same_bytes = left = 0
        with_segments = 0
        while kills < arguments.count:
            output = folder / f"{results}" / f"out{arguments.suffix}"
            output.parent.mkdir()
            while kills < arguments.count and not _is_done(output):
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
        command=f"python -m benchmarks reliability kills --count {arguments.count} "
        f"--seed {arguments.seed} --engine {arguments.engine} --segment {arguments.segment} "
        f"--film-seconds {arguments.film_seconds} --suffix {arguments.suffix}",
        seconds=time.perf_counter() - began,
    )


@dataclass(frozen=True, slots=True)
class _Runs:
    """The same command again and again."""

    source: Path
    arguments: argparse.Namespace

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
        told = self.arguments
        return subprocess.Popen(
            [
                sys.executable, "-m", "rtstyle.cli", "render", str(self.source), str(output),
                "--engine", told.engine, "--segment", told.segment, "--quiet",
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
