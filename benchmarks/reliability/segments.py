"""What segments cost against a plain render, and whether anything but the encoding differs."""

from __future__ import annotations

import statistics
import time
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
from rtstyle.engines import EngineOptions
from rtstyle.errors import UsageError
from rtstyle.media.video.source import FileSource
from rtstyle.rendering.api import render
from rtstyle.rendering.job import Segments
from rtstyle.style.parse import find_style

_MOST_OVERHEAD = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(CheckOptions):
    """The command line."""

    pairs: Annotated[int, typer.Option(help="renders of either kind")] = 5
    film_seconds: Annotated[int, typer.Option(help="how long the film is")] = 40
    segment: Annotated[
        Fraction, typer.Option(parser=Fraction, metavar="SECONDS", help="seconds of one")
    ] = Fraction(10)
    engine: Annotated[str, typer.Option(help="what paints")] = "auto"
    style: Annotated[str, typer.Option(help="what is painted")] = "starry_night"
    threads: Annotated[int | None, typer.Option(help="of the engine")] = None


def measure(options: Options) -> Finding:
    """Render in turn plainly and in segments; the ratio of each pair of times.

    The engine is loaded in every render, as it is for users. The first pair only warms up.
    """
    if options.pairs < 2:
        raise UsageError("At least two pairs are needed to tell a spread.")
    began = time.perf_counter()
    style = find_style(options.style)
    with TemporaryDirectory() as made:
        folder = Path(made)
        source = make_film(folder / "film.mp4", options.film_seconds)
        engine = EngineOptions(name=options.engine, threads=options.threads)
        plain, cut = folder / "plain.mp4", folder / "cut.mp4"

        def seconds(output: Path) -> float:
            output.unlink(missing_ok=True)
            start = time.perf_counter()
            render(
                source,
                output,
                style=style,
                engine=engine,
                resume=output == cut,
                segments=Segments(seconds=options.segment),
            )
            return time.perf_counter() - start

        ratios, plain_times = [], []
        for number in range(options.pairs + 1):
            outputs = [plain, cut]
            if number % 2:
                outputs.reverse()  # what runs second may profit from, or suffer by, the first
            times = {output: seconds(output) for output in outputs}
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
            "pairs": options.pairs,
            "frames": frames,
            "segment in seconds": float(options.segment),
            "time in segments / plain, median": round(ratio, 4),
            "lowest pair": round(min(ratios), 4),
            "highest pair": round(max(ratios), 4),
            "plain in seconds, median": round(statistics.median(plain_times), 2),
            "size in segments / plain": round(size, 4),
            "frame times that differ": frames - same_times,
            "sound packets identical": "yes" if sound else "NO",
        },
        passed=ratio <= 1 + _MOST_OVERHEAD and same_times == frames and sound,
        command=f"python -m benchmarks reliability segments --pairs {options.pairs} "
        f"--film-seconds {options.film_seconds} --segment {options.segment} "
        f"--engine {options.engine} --style {options.style}"
        + (f" --threads {options.threads}" if options.threads else ""),
        seconds=time.perf_counter() - began,
    )


def _same_times(one: Path, other: Path) -> tuple[int, int]:
    with FileSource(one) as a, FileSource(other) as b:
        times = [time for _, time in a.times()]
        others = [time for _, time in b.times()]
    if len(times) != len(others):
        return len(times), 0
    return len(times), sum(x == y for x, y in zip(times, others, strict=True))
