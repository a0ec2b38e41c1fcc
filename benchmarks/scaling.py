"""How speed and memory grow: `python -m benchmarks scaling [pixels|batch|threads|length …]`.

Over pixels (0.1 to 8 megapixels), batch, threads and the length of the clip. Each is fitted by a
power law, whose exponent is printed with its standard error: 1 is linear, 0 constant.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from scipy import stats

from rtstyle.bench import Case, Measured, run_cases
from rtstyle.bench.document import write_text
from rtstyle.bench.machine import this_machine
from rtstyle.errors import RtstyleError

MEGAPIXELS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
BATCHES = (1, 2, 4, 8)
LENGTHS = (60, 240, 960)  # frames


@dataclass(frozen=True, slots=True)
class Law:
    """y ~ x ** `exponent`, give or take `error`."""

    exponent: float
    error: float

    def __str__(self) -> str:
        return f"exponent {self.exponent:.2f} ± {self.error:.2f}"


@dataclass(frozen=True, slots=True)
class Point:
    """A case at `x`: pixels, pictures in a batch, threads or frames."""

    x: float
    picture_ms: float
    peak_rss_mb: float | None


def fit(xs: Sequence[float], ys: Sequence[float]) -> Law | None:
    """The power law through the points, None for fewer than 3: two always lie on one."""
    if len(xs) < 3:
        return None
    found = stats.linregress(np.log(xs), np.log(ys))
    return Law(float(found.slope), float(found.stderr))


def plan(over: str, style: str, engine: str, seconds: float) -> list[tuple[float, Case]]:
    """The x and the case of every point."""

    alone = Case(level="engine", style=style, engine=engine, width=640, height=360, seconds=seconds)
    if over == "pixels":
        sizes = [_size(megapixels) for megapixels in MEGAPIXELS]
        return [(w * h, replace(alone, width=w, height=h)) for w, h in sizes]
    if over == "batch":
        return [(count, replace(alone, batch=count)) for count in BATCHES]
    if over == "threads":
        cores = os.cpu_count() or 1
        counts = sorted({1, cores, *(2**n for n in range(cores.bit_length()) if 2**n <= cores)})
        return [(count, replace(alone, threads=count)) for count in counts]
    return [(count, replace(alone, level="file", frames=count)) for count in LENGTHS]


def _size(megapixels: float) -> tuple[int, int]:
    """16:9, in multiples of 8 pixels, at about that many."""
    height = math.sqrt(megapixels * 1e6 * 9 / 16)
    return round(height * 16 / 9 / 8) * 8, round(height / 8) * 8


def laws(points: Sequence[Point]) -> dict[str, Law | None]:
    """How the time of a picture and the memory grow."""
    weighed = [(p.x, p.peak_rss_mb) for p in points if p.peak_rss_mb is not None]
    return {
        "time a picture": fit([p.x for p in points], [p.picture_ms for p in points]),
        "peak memory": fit([x for x, _ in weighed], [mb for _, mb in weighed]),
    }


def main(argv: list[str]) -> int:
    """Measure, print, write scaling.json."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks scaling", description=__doc__)
    ways = ["pixels", "batch", "threads", "length"]
    parser.add_argument("over", nargs="*", metavar="|".join(ways))
    parser.add_argument("--style", default="starry_night")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/scaling.json"))
    options = parser.parse_args(argv)
    if wrong := set(options.over) - set(ways):
        parser.error(f"{', '.join(wrong)}: expected some of {', '.join(ways)}")
    document: dict[str, object] = {"machine": asdict(this_machine())}
    for over in options.over or ways:
        xs, cases = zip(*plan(over, options.style, options.engine, options.seconds), strict=True)
        run = run_cases(cases)
        points = []
        for x, outcome in zip(xs, run.outcomes, strict=True):
            if not isinstance(outcome, Measured):
                print(f"not measured: {outcome.what}: {outcome.reason}")
                continue
            points.append(Point(x, 1e3 / outcome.fps, outcome.peak_rss_mb))
            memory = outcome.peak_rss_mb
            told = "memory unknown" if memory is None else f"{memory:.0f} MB"
            print(f"{over} {x:g}: {outcome.fps:.2f} fps, {told}", flush=True)
        found = laws(points)
        for what, law in found.items():
            print(f"{what} over {over}: {law or 'fewer than 3 points, no exponent'}")
        document[over] = {
            "points": [asdict(point) for point in points],
            "laws": {what: law and asdict(law) for what, law in found.items()},
        }
        if run.interrupted:
            raise RtstyleError("Interrupted.")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_text(options.out, json.dumps(document, indent=1, ensure_ascii=False), overwrite=True)
    return 0
