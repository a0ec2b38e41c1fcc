"""What segments cost against a plain render, and whether anything but the encoding differs."""

from __future__ import annotations

import argparse
import statistics
import time
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.reliability.film import make_film
from benchmarks.reliability.finding import Finding
from benchmarks.reliability.kills import content
from rtstyle.engines import EngineOptions
from rtstyle.errors import UsageError
from rtstyle.media.video.source import FileSource
from rtstyle.rendering.api import render
from rtstyle.rendering.job import Segments
from rtstyle.style.parse import find_style

_MOST_OVERHEAD = 0.03


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this check."""
    parser.add_argument("--pairs", type=int, default=5, help="renders of either kind")
    parser.add_argument("--film-seconds", type=int, default=40, help="how long the film is")
    parser.add_argument("--segment", type=Fraction, default=Fraction(10), help="seconds of one")
    parser.add_argument("--engine", default="auto", help="what paints")
    parser.add_argument("--style", default="starry_night", help="what is painted")
    parser.add_argument("--threads", type=int, default=None, help="of the engine")


def measure(arguments: argparse.Namespace) -> Finding:
    """Render in turn plainly and in segments; the ratio of each pair of times.

    The engine is loaded in every render, as it is for users. The first pair only warms up.
    """
    if arguments.pairs < 2:
        raise UsageError("At least two pairs are needed to tell a spread.")
    began = time.perf_counter()
    style = find_style(arguments.style)
    with TemporaryDirectory() as made:
        folder = Path(made)
        source = make_film(folder / "film.mp4", arguments.film_seconds)
        engine = EngineOptions(name=arguments.engine, threads=arguments.threads)
        plain, cut = folder / "plain.mp4", folder / "cut.mp4"

        def seconds(output: Path, resume: bool | Segments) -> float:
            output.unlink(missing_ok=True)
            start = time.perf_counter()
            render(source, output, style=style, engine=engine, resume=resume)
            return time.perf_counter() - start

        segments = Segments(seconds=arguments.segment)
        ratios, plain_times = [], []
        for number in range(arguments.pairs + 1):
            kinds: list[tuple[Path, bool | Segments]] = [(plain, False), (cut, segments)]
            if number % 2:
                kinds.reverse()  # what runs second may profit from, or suffer by, the first
            times = {output: seconds(output, resume) for output, resume in kinds}
            if number:
                ratios.append(times[cut] / times[plain])
                plain_times.append(times[plain])
        frames, same_times = _same_times(plain, cut)
        sound = content(plain)[1:] == content(cut)[1:]
        size = cut.stat().st_size / plain.stat().st_size
    ratio = statistics.median(ratios)
    return Finding(
        check="segments",
        claim="Segments cost at most 3% of time against a plain render; every time and every "
        "packet of sound is the same",
        figures={
            "pairs": arguments.pairs,
            "frames": frames,
            "segment in seconds": float(arguments.segment),
            "time in segments / plain, median": round(ratio, 4),
            "lowest pair": round(min(ratios), 4),
            "highest pair": round(max(ratios), 4),
            "plain in seconds, median": round(statistics.median(plain_times), 2),
            "size in segments / plain": round(size, 4),
            "frame times that differ": frames - same_times,
            "sound packets identical": "yes" if sound else "NO",
        },
        passed=ratio <= 1 + _MOST_OVERHEAD and same_times == frames and sound,
        command=f"python -m benchmarks reliability segments --pairs {arguments.pairs} "
        f"--film-seconds {arguments.film_seconds} --segment {arguments.segment} "
        f"--engine {arguments.engine} --style {arguments.style}"
        + (f" --threads {arguments.threads}" if arguments.threads else ""),
        seconds=time.perf_counter() - began,
    )


def _same_times(one: Path, other: Path) -> tuple[int, int]:
    with FileSource(one) as a, FileSource(other) as b:
        times = [time for _, time in a.times()]
        others = [time for _, time in b.times()]
    if len(times) != len(others):
        return len(times), 0
    return len(times), sum(x == y for x, y in zip(times, others, strict=True))
