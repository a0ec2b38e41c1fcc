"""What a benchmark found, kept as JSON in `benchmarks/results/studies/`, and the page of them all.

A study is tables of text for people beside the raw figures for programs. `docs/speed.md` is written
from the files; one that is not there is listed as not measured, with its command.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.markdown import plain, table_lines
from rtstyle import __version__
from rtstyle.bench.document import write_text
from rtstyle.bench.machine import this_machine
from rtstyle.bench.result import build
from rtstyle.errors import MediaError, OutputError

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "benchmarks" / "results" / "studies"
PAGE = ROOT / "docs" / "speed.md"
# In the order of the page: the name, its heading, the command, what it is and what bounds it.
STUDIES = {
    "self-check": (
        "Whether a comparison can be trusted",
        "python -m benchmarks compare --self-check 10",
        "An identical build must raise no alarm, one that was slowed down by a fifth on purpose "
        "must, and two interleaved runs of `rtstyle bench --quick` must agree within 5%. Bounded "
        "by what else the machine does while it measures: pairs in turn cancel drift, the median "
        "of their ratios cancels bursts.",
    ),
    "rigged": (
        "Whether the true bottleneck is named",
        "python -m benchmarks rigged",
        "Pipelines that are slow in one known part, by sleeping and by real work.",
    ),
    "peers": (
        "One net by every runtime",
        "python -m benchmarks peers",
        "The net of pytorch/examples, the same pictures, in turn. Runtimes are bounded by "
        "arithmetic; the floor is what decoding, converting and encoding cost without any net, so "
        "no program from file to file can be faster.",
    ),
    "hosts": (
        "One style inside other programs",
        "python -m benchmarks hosts --vapoursynth PYTHON --javascript FOLDER --ffmpeg PROGRAM",
        "The files that `rtstyle export-for` writes, each in the runtime of its host, beside "
        "rtstyle's engine with its own padding and cropping; all in float32 on the same pictures, "
        "in turn. Bounded by the net's arithmetic in each runtime; VapourSynth and FFmpeg have two "
        "frames in work at a time, the others one.",
    ),
    "roofline": (
        "The share of the machine that is reached",
        "python -m benchmarks roofline",
        "Work is counted from the ONNX graph, peaks are measured here: matrix products bound the "
        "arithmetic, a copy bounds the traffic, and the slower of the two bounds the frames a "
        "second. What is missing to 100% are layers that are too small or too oddly shaped for the "
        "processor's widest instructions, and everything between the convolutions.",
    ),
    "scaling": (
        "How it grows",
        "python -m benchmarks scaling",
        "An exponent of 1 is linear, 0 constant. Time follows the pixels; threads are bounded by "
        "the cores; memory is a fixed part of the runtime plus activations that follow the pixels, "
        "and does not follow the length of a clip.",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Cells as text, the first column for names."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What `command` found: `verdicts` are sentences with what was claimed and seen, `missing` what
    was not measured and why, `figures` all numbers. `passed` is None where nothing is claimed."""

    name: str
    command: str
    tables: tuple[Table, ...] = ()
    verdicts: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    passed: bool | None = None
    seconds: float = 0.0
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A study with when and where it was made."""

    study: Study
    machine: str
    made: str
    version: str


def keep(study: Study, out: Path | None = None) -> Path:
    """Write the study in one step, in the place of the one before; gives the file.

    Raises `OutputError`.
    """
    path = out or FOLDER / f"{study.name}.json"
    machine = this_machine()
    document = {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "machine": str(machine),
        "machine_key": machine.key,
        **asdict(study),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path.parent} cannot be made: {error.strerror}.") from error
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(path, text, overwrite=True)
    return path


def read_studies(folder: Path = FOLDER) -> dict[str, Kept]:
    """The studies that were kept, by name. Raises `MediaError`."""
    found = {}
    for name in STUDIES:
        path = folder / f"{name}.json"
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            data.pop("machine_key")
            figures = data.pop("figures")
            about = {key: data.pop(key) for key in ("machine", "made", "version")}
            data["tables"] = tuple(_table(table) for table in data["tables"])
            tables = data.pop("tables")
            bare = build(_Bare, data, name)
            found[name] = Kept(study=Study(tables=tables, figures=figures, **asdict(bare)), **about)
        except FileNotFoundError:
            continue
        except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
            raise MediaError(f"{path} is no study ({error}); run it again.") from error
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bare:
    name: str
    command: str
    verdicts: tuple[str, ...]
    missing: tuple[str, ...]
    passed: bool | None
    seconds: float


def _table(data: dict[str, Any]) -> Table:
    rows = tuple(tuple(map(str, row)) for row in data["rows"])
    return Table(title=data["title"], columns=tuple(map(str, data["columns"])), rows=rows)


def page(kept: dict[str, Kept]) -> str:
    """The page as Markdown."""
    lines = [
        "# Speed",
        "",
        "What the benchmarks of this repository found, with what bounds each figure. Written by",
        "`python -m benchmarks results` from `benchmarks/results/studies/`; do not edit it.",
        "Frames a second of whole machines are in "
        "[benchmarks/results](../benchmarks/results/README.md).",
    ]
    for name, (heading, command, about) in STUDIES.items():
        lines += ["", f"## {heading}", "", about, ""]
        if name not in kept:
            lines.append(f"Not measured yet: `{command}`.")
            continue
        lines += _section(kept[name])
    return "\n".join(lines) + "\n"


def _section(kept: Kept) -> list[str]:
    study = kept.study
    claim = {True: " What is claimed holds.", False: " **What is claimed does not hold.**"}
    lines = [
        f"{plain(study.command)}: {study.seconds / 60:.1f} minutes on {plain(kept.machine)}, "
        f"{plain(kept.made[:10])}, rtstyle {plain(kept.version)}."
        + ("" if study.passed is None else claim[study.passed])
    ]
    for table in study.tables:
        lines += ["", f"{plain(table.title)}:", "", *table_lines(table.columns, table.rows)]
    if study.verdicts:
        lines += ["", *(f"- {plain(sentence)}" for sentence in study.verdicts)]
    if study.missing:
        lines += ["", "Not measured:", "", *(f"- {plain(sentence)}" for sentence in study.missing)]
    return lines


def command_line(name: str, argv: Sequence[str]) -> str:
    """The command that `argv` was given with, but for where its study went."""
    words = list(argv)
    if "--out" in words:
        place = words.index("--out")
        del words[place : place + 2]
    return shlex.join(["python", "-m", "benchmarks", name, *words])


def show(study: Study) -> None:
    """Print the study for people."""
    for table in study.tables:
        print(f"\n{table.title}:")
        print(aligned(table.columns, table.rows))
    for sentence in study.verdicts:
        print(sentence)
    for sentence in study.missing:
        print(f"not measured: {sentence}")
    if study.passed is not None:
        print("PASSED" if study.passed else "FAILED")


def aligned(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell, the first one to the left."""
    lines = [columns, *rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(columns))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
