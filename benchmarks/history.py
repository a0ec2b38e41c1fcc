"""The tracked cases, and how they went over time: `python -m benchmarks history`.

Measures the cases of `benchmarks/tracked.json` and appends them to the history of this machine,
`benchmarks/history/KEY.jsonl`, one run a line. Then prints every case beside the run before. Runs
of different days differ by what else a machine did; `compare` finds whether a change costs speed.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.options import parse
from rtstyle.bench import Case, Document, Measured, Missing, run_cases
from rtstyle.bench.document import parse_document, write_text
from rtstyle.bench.machine import this_machine
from rtstyle.bench.result import build
from rtstyle.errors import MediaError, OutputError, RtstyleError

HERE = Path(__file__).parent
TRACKED = HERE / "tracked.json"
FOLDER = HERE / "history"


def tracked_cases(path: Path = TRACKED) -> list[Case]:
    """The cases that are measured again and again. Raises `MediaError`."""
    try:
        cases = json.loads(path.read_text(encoding="utf-8"))
        return [build(Case, one, f"case {number}") for number, one in enumerate(cases, start=1)]
    except (OSError, ValueError, TypeError) as error:
        raise MediaError(f"{path} is no list of cases ({error}).") from error


def append(document: Document, folder: Path = FOLDER, *, commit: str = "") -> Path:
    """Add a run to the history of its machine; gives the file. Raises `OutputError`."""
    path = folder / f"{document.machine.key}.jsonl"
    line = json.dumps({"commit": commit, **json.loads(document.to_json())}, ensure_ascii=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        before = path.read_text(encoding="utf-8") if path.exists() else ""
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}.") from error
    write_text(
        path, f"{before}{line}\n", overwrite=True
    )  # in one step: no half line on a full disk
    return path


def read_history(path: Path) -> list[Document]:
    """Every run in a history file, oldest first. Raises `MediaError`."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [parse_document(line, path) for line in lines]


def report(now: Document, before: Document | None) -> str:
    """Every case now, beside the run before."""
    old = before.catalogue() if before else {}
    lines = []
    for profile, speeds in now.catalogue().items():
        for size, fps in speeds.items():
            then = old.get(profile, {}).get(size)
            beside = f", {fps / then:.3f} of {then:.2f} before" if then else ", the first time"
            lines.append(f"{profile} {size}: {fps:.2f} fps{beside}")
    lines += [f"not measured: {row.what}: {row.reason}" for row in now.missing]
    return "\n".join(lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line."""

    cases: Path = TRACKED
    folder: Path = FOLDER


def main(argv: list[str]) -> int:
    """Measure, append, print."""
    options = parse(Options, argv, program="python -m benchmarks history", about=__doc__)
    run = run_cases(tracked_cases(options.cases), on_outcome=_print)
    now = Document.of(this_machine(), run.outcomes)
    before = read_history(options.folder / f"{now.machine.key}.jsonl")
    if not now.measured:
        raise RtstyleError(f"Nothing could be measured: {now.missing[0].reason}")
    path = append(now, options.folder, commit=_commit())
    print(report(now, before[-1] if before else None))
    print(f"{path} has {len(before) + 1} runs.")
    return 130 if run.interrupted else 0


def _print(outcome: Measured | Missing) -> None:
    print(outcome.case if isinstance(outcome, Measured) else outcome.what, flush=True)


def _commit() -> str:
    """The commit measured, with + when the tree differs from it; empty outside of git."""
    command = ["git", "-C", str(HERE), "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
