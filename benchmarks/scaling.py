"""How speed and memory grow: `python -m benchmarks scaling [pixels|batch|threads|length …]`.

Over pixels (0.1 to 8 megapixels), batch, threads and the length of the clip. Each is fitted by a
power law, whose exponent is printed with its standard error: 1 is linear, 0 constant. It goes to
`benchmarks/results/studies/scaling.json`; Ctrl-C keeps what was measured.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Annotated

import numpy as np
import typer
from scipy import stats

from benchmarks.options import parse
from benchmarks.studies import Study, Table, command_line, keep, show
from rtstyle.bench import Case, Measured, run_cases
from rtstyle.errors import RtstyleError, UsageError

MEGAPIXELS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
BATCHES = (1, 2, 4, 8)
LENGTHS = (60, 240, 960)  # frames
WAYS = {"pixels": "pixels", "batch": "pictures", "threads": "threads", "length": "frames"}


@dataclass(frozen=True, slots=True)
class Law:
    """y ~ x ** `exponent`, with the standard error `error`, None from two points."""

    exponent: float
    error: float | None

    def __str__(self) -> str:
        error = "from two points" if self.error is None else f"± {self.error:.2f}"
        return f"exponent {self.exponent:.2f} {error}"


@dataclass(frozen=True, slots=True)
class Point:
    """A case at `x`: pixels, pictures in a batch, threads or frames."""

    x: float
    picture_ms: float
    peak_rss_mb: float | None


def fit(xs: Sequence[float], ys: Sequence[float]) -> Law | None:
    """The power law through the points; None for fewer than 2."""
    if len(xs) < 2:
        return None
    found = stats.linregress(np.log(xs), np.log(ys))
    return Law(float(found.slope), float(found.stderr) if len(xs) > 2 else None)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line."""

    over: Annotated[list[str] | None, typer.Argument(metavar="|".join(WAYS))] = None
    style: str = "starry_night"
    engine: str = "auto"
    seconds: float = 5.0
    out: Path | None = None


def main(argv: list[str]) -> int:
    """Measure, print, keep."""
    options = parse(Options, argv, program="python -m benchmarks scaling", about=__doc__)
    if wrong := set(options.over or ()) - set(WAYS):
        raise UsageError(f"Speed is measured over {', '.join(WAYS)}, not over {min(wrong)}.")
    began, tables, verdicts, missing = perf_counter(), [], [], []
    figures: dict[str, object] = {}
    interrupted = False
    for over in options.over or WAYS:
        if interrupted:
            missing.append(f"all over {over}: interrupted before it was measured")
            continue
        xs, cases = zip(*plan(over, options.style, options.engine, options.seconds), strict=True)
        run = run_cases(cases)
        interrupted = run.interrupted
        points = []
        for x, outcome in zip(xs, run.outcomes, strict=True):
            if isinstance(outcome, Measured):
                points.append(Point(x, 1e3 / outcome.fps, outcome.peak_rss_mb))
                print(f"{over} {x:g}: {outcome.fps:.2f} fps", flush=True)
            else:
                missing.append(f"{outcome.what}: {outcome.reason}")
        found = laws(points)
        tables.append(_table(over, points))
        verdicts += [
            f"{what} over {over}: {law or 'fewer than 2 points, no exponent'}".capitalize()
            for what, law in found.items()
        ]
        figures[over] = {
            "points": [asdict(point) for point in points],
            "laws": {what: law and asdict(law) for what, law in found.items()},
        }
    if not any(table.rows for table in tables):
        raise RtstyleError(f"Nothing could be measured: {missing[0]}")
    study = Study(
        name="scaling", command=command_line("scaling", argv), tables=tuple(tables),
        verdicts=tuple(verdicts), missing=tuple(missing),
        seconds=round(perf_counter() - began, 1), figures=figures,
    )  # fmt: skip
    show(study)
    print(keep(study, options.out))
    return 130 if interrupted else 0


def _table(over: str, points: Sequence[Point]) -> Table:
    return Table(
        title=f"Over {over}",
        columns=(WAYS[over], "fps", "ms a picture", "peak RSS MB"),
        rows=tuple(
            (
                f"{p.x:,.0f}",
                f"{1e3 / p.picture_ms:.2f}",
                f"{p.picture_ms:.1f}",
                "–" if p.peak_rss_mb is None else f"{p.peak_rss_mb:.0f}",
            )
            for p in points
        ),
    )
