"""Damaged inputs through the command line: no hang, no traceback, no half file, nothing lost."""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from benchmarks.reliability.corpus import KINDS, Case, Specimen, cases, files_of, make
from benchmarks.reliability.finding import Finding
from benchmarks.reliability.judging import FAULTS, Verdict, judge, looked
from benchmarks.reliability.materials import make_materials
from benchmarks.reliability.options import CheckOptions
from benchmarks.reliability.sandbox import Limits, Ran, Sandbox
from rtstyle.errors import UsageError

CLAIM = (
    "Whatever the input, rtstyle ends by itself, says one sentence when it fails, leaves nothing "
    "half-done under the final name and nothing beside it, and keeps every time and sound packet "
    "of what it paints."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(CheckOptions):
    """The command line."""

    count: Annotated[int, typer.Option(help="inputs to try (1200)")] = 1200
    only: Annotated[
        list[str] | None, typer.Option(metavar="KIND[:SEED]", help="only these inputs")
    ] = None
    keep: Annotated[
        Path | None, typer.Option(metavar="DIR", help="keep the inputs at fault here")
    ] = None
    seconds: Annotated[float, typer.Option(help="limit of one input (30)")] = 30.0
    memory: Annotated[int, typer.Option(help="limit in MiB (4096)")] = 4096
    fresh: Annotated[bool, typer.Option("--fresh", help="a new interpreter for every input")] = (
        False
    )
    verbose: Annotated[bool, typer.Option("--verbose", help="print every input")] = False


def measure(options: Options) -> Finding:
    """Run the inputs and count how they ended."""
    began = time.perf_counter()
    chosen = select(options.count, options.only)
    outcomes: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    tried: Counter[str] = Counter()
    slowest, worst = 0.0, 0.0

    def report(case: Case, specimen: Specimen, ran: Ran, verdict: Verdict) -> None:
        nonlocal slowest, worst
        outcomes[verdict.outcome] += 1
        tried[case.kind] += 1
        slowest, worst = max(slowest, ran.seconds), max(worst, ran.peak_mb)
        faults.update({fault for fault, _ in verdict.faults})
        if options.verbose:
            print(
                f"{case}: {verdict.outcome} {' '.join(specimen.argv)!a} {ran.stderr!a}", flush=True
            )
        for fault, seen in verdict.faults:
            print(f"{case}: {fault}: {seen!a}", flush=True)

    limits = Limits(seconds=options.seconds, memory=options.memory << 20)
    run_cases(chosen, report, limits=limits, fresh=options.fresh, keep=options.keep)
    figures: dict[str, str | int | float] = {"inputs": sum(tried.values())}
    figures["kinds"] = ", ".join(f"{kind} {tried[kind]}" for kind in KINDS if tried[kind])
    for outcome, words in (
        ("painted", "painted whole"),
        ("salvaged", "painted up to the damage, with a sentence"),
        ("refused", "refused with a sentence"),
    ):
        figures[words] = outcomes[outcome]
    names = {
        "hang": "hangs",
        "crash": "crashes",
        "traceback": "tracebacks",
        "words": "other than one sentence",
        "partial": "half files under the final name",
        "leftover": "files left behind",
        "lost": "frames, times or sound packets lost",
    }
    figures |= {names[fault]: faults[fault] for fault in FAULTS}
    figures["slowest, s"], figures["most memory, MB"] = slowest, worst
    only = "".join(f" --only {text}" for text in options.only or ())
    return Finding(
        check="damage",
        claim=CLAIM,
        figures=figures,
        passed=not faults,
        command=f"python -m benchmarks reliability damage --count {options.count}{only}",
        seconds=time.perf_counter() - began,
    )


def select(count: int, only: Sequence[str] | None) -> list[Case]:
    """The first `count` cases, or those that `only` tells as "KIND" or "KIND:SEED"."""
    if not only:
        return cases(count)
    chosen = []
    for text in only:
        kind, _, seed = text.partition(":")
        if kind not in KINDS or not (seed.isdigit() or not seed):
            raise UsageError(
                f"Inputs are called KIND or KIND:SEED, not {text!r}; kinds are {', '.join(KINDS)}."
            )
        chosen += [Case(kind, int(seed))] if seed else [c for c in cases(count) if c.kind == kind]
    return chosen


def run_cases(
    chosen: Sequence[Case],
    report: Callable[[Case, Specimen, Ran, Verdict], None],
    *,
    limits: Limits | None = None,
    fresh: bool = False,
    keep: Path | None = None,
) -> None:
    """Make, run and judge every case; `tell` each as it is over."""
    os.environ["SVT_LOG"] = "1"  # its encoder talks
    with TemporaryDirectory() as scratch:
        room = Path(scratch)
        make_materials(room / "whole")
        home = {name: str(room / "home") for name in ("HOME", "XDG_CACHE_HOME", "RTSTYLE_MODELS")}
        with Sandbox(room / "printed", limits=limits, fresh=fresh) as sandbox:
            for case in chosen:
                folder = room / "case"
                folder.mkdir()
                specimen = make(case, room / "whole", folder)
                before = files_of(folder)
                kept = None if keep is None else _copy(folder, keep / str(case).replace(":", "_"))
                ran = sandbox.run(
                    specimen.argv, cwd=folder, environment=home | specimen.environment
                )

                def look(path: Path, specimen: Specimen) -> dict[str, Any]:
                    is_source = path == specimen.source
                    cut = [
                        (is_source and text) or "-" for text in (specimen.start, specimen.duration)
                    ]
                    return looked(
                        sandbox.run(["look", str(path), *cut], cwd=room, environment=home)
                    )

                verdict = judge(specimen, ran, folder, before, look)
                if kept is not None and not verdict.faults:
                    shutil.rmtree(kept)
                report(case, specimen, ran, verdict)
                shutil.rmtree(folder)


def _copy(folder: Path, to: Path) -> Path:
    shutil.rmtree(to, ignore_errors=True)
    return Path(shutil.copytree(folder, to))
