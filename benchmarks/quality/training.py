"""What a training took, as far as it was written down."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from rtstyle.model.spec import ModelSpec
from rtstyle.nets.checkpoint import read_checkpoint

SECONDS_KEY = "seconds_per_1000_updates"  # in a model's provenance
_STRETCH = 60  # updates; a multiple of what comes every second, third or fifth update


@dataclass(frozen=True, slots=True)
class Training:
    """The recipe, the number of updates and the time of a thousand; None or empty if unknown."""

    recipe: dict[str, Any]
    updates: int | None
    seconds_per_1000: float | None


def training_of(model: ModelSpec) -> Training:
    """From a model file's provenance; from a checkpoint and the loss log beside it."""
    provenance = model.provenance
    if model.path.suffix != ".safetensors":
        seconds = provenance.get(SECONDS_KEY)
        return Training(
            dict(provenance.get("recipe", {})),
            provenance.get("updates"),
            float(seconds) if isinstance(seconds, int | float) else None,
        )
    meta, _ = read_checkpoint(model.path)
    log = model.path.with_name("losses.csv")
    belongs = model.path.stem == "checkpoint" and log.exists()
    return Training(dict(meta["recipe"]), meta["done"], seconds_per_1000(log) if belongs else None)


def seconds_per_1000(log: Path) -> float | None:
    """From the loss log of a training, the median over its stretches: one that was paused, or ran
    beside other work for a while, took no longer for that. None without two complete rows.
    """
    rows: list[tuple[int, float]] = []
    with log.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            try:
                rows.append((int(row["update"]), float(row["seconds"])))
            except (KeyError, TypeError, ValueError):
                continue  # the last row of a running training may be half written
    marks = [*rows[::_STRETCH], rows[-1]] if rows else []
    rates = [
        (end - start) / (last - first)
        for (first, start), (last, end) in pairwise(marks)
        if last > first
    ]
    return 1000 * median(rates) if rates else None
