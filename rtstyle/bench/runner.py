"""Runs cases one after the other, each in a process of its own; none is lost to a crash."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from rtstyle.bench.case import Case
from rtstyle.bench.result import Measured, Missing, build, one_line
from rtstyle.errors import OutputError

LIMIT_S = 600.0
_LEAST_S = 1.0  # no case is done sooner
Outcome = Measured | Missing


@dataclass(frozen=True, slots=True)
class Run:
    """What became of every case, in their order, and whether Ctrl-C ended it."""

    outcomes: list[Outcome]
    interrupted: bool


def run_cases(
    cases: Sequence[Case],
    *,
    limit_s: float = LIMIT_S,
    total_s: float | None = None,
    measure: Callable[[Case, float], Outcome] | None = None,
    on_outcome: Callable[[Outcome], None] = lambda outcome: None,
) -> Run:
    """Measure every case; `on_outcome` hears of each as soon as it is known.

    A case that fails, crashes or takes longer than `limit_s` is `Missing`; so are those of an
    engine that could not be opened once, and all that are left after Ctrl-C or after `total_s`
    seconds. `measure` measures one case, in a process of its own by default. Raises `OutputError`
    when none can be started.
    """
    measure = measure or measure_in_process
    begin = perf_counter()
    refused: dict[tuple[object, ...], str] = {}
    outcomes: list[Outcome] = []
    interrupted = False
    try:
        for case in cases:
            key = (case.style, case.engine, case.precision, case.threads)
            left_s = total_s - (perf_counter() - begin) if total_s is not None else limit_s
            if key in refused:
                outcome: Outcome = Missing(str(case), refused[key])
            elif left_s < _LEAST_S:
                outcome = Missing(str(case), f"the {total_s:g} seconds of this run were over")
            else:
                outcome = measure(case, min(limit_s, left_s))
            if isinstance(outcome, Missing) and outcome.opening:
                refused[key] = outcome.reason
            outcomes.append(outcome)
            on_outcome(outcome)
    except KeyboardInterrupt:
        interrupted = True
        left = cases[len(outcomes) :]
        outcomes += [Missing(str(case), "interrupted before it was measured") for case in left]
    return Run(outcomes, interrupted)


def measure_in_process(case: Case, limit_s: float = LIMIT_S) -> Outcome:
    """Measure `case` in a new process. Raises `OutputError` when none can be started."""
    try:
        with TemporaryDirectory(prefix="rtstyle-bench-") as folder:
            result = Path(folder) / "result.json"
            arguments = [json.dumps(asdict(case)), str(result)]
            ended = run_process("rtstyle.bench.worker", arguments, limit_s)
            data = json.loads(result.read_text(encoding="utf-8")) if result.exists() else None
    except OSError as error:
        raise OutputError(
            f"A case cannot be measured: {error.strerror or error}; free some disk."
        ) from error
    except ValueError:  # a disk that filled up while the result was written
        return Missing(str(case), "its result could not be written whole; is the disk full?")
    if data is None:
        return Missing(str(case), one_line(ended))
    if "problem" in data:
        return Missing(str(case), one_line(data["problem"]), opening=data.get("opening", False))
    return build(Measured, data["measured"])


def run_process(module: str, arguments: Sequence[str], limit_s: float) -> str:
    """Run a module to its end; says how it ended, for when it left no result."""
    worker = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,  # Ctrl-C reaches us alone, and we end it
    )
    try:
        _, said = worker.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.communicate()
        return f"it was not done after {limit_s:.3g} seconds"
    except BaseException:
        worker.kill()
        worker.communicate()
        raise
    if worker.returncode < 0:
        name = signal.Signals(-worker.returncode).name
        memory = ", as when memory runs out" if name == "SIGKILL" else ""
        return f"its process was ended by {name}{memory}"
    last = said.strip().splitlines()[-1:] or ["it said nothing"]
    return f"its process ended with status {worker.returncode}: {last[0]}"
