"""Whether comparisons can be trusted here: `python -m benchmarks compare --self-check 10`.

Three things are tried. This tree against itself, which must raise no alarm; against itself slowed
down by a fifth on purpose, which must; and two runs of `rtstyle bench --quick`, case by case in
turn, which must agree within 5%. It goes to `benchmarks/results/studies/self-check.json`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from time import perf_counter

from benchmarks.pairs import Comparison, compare
from benchmarks.studies import Study, Table
from rtstyle.bench.case import QUICK, Case, plan_cases
from rtstyle.bench.result import Missing
from rtstyle.bench.runner import Outcome, measure_in_process

AGREES = 0.05
_LIMIT_S = 120.0  # of one case

Compare = Callable[[bool], Comparison]  # whether B is slowed down → what comparing gave


@dataclass
class Tried:
    """What was tried so far; an early end leaves what there is."""

    same: list[Comparison] = field(default_factory=list)
    slowed: list[Comparison] = field(default_factory=list)
    quick: list[tuple[Case, float, float]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def try_all(
    tried: Tried, compare_once: Compare, *, times: int, quick: bool, minutes: float,
    measure: Callable[[Case, float], Outcome] = measure_in_process,
) -> None:  # fmt: skip
    """Fill `tried`. Nothing new begins once `minutes` are over."""
    deadline = perf_counter() + 60 * minutes
    if quick:
        _quick_twice(tried, measure)
    for number in range(times):
        if perf_counter() > deadline:
            tried.missing.append(
                f"{times - number} of {times} comparisons of each kind: the {minutes:g} minutes "
                "were over"
            )
            return
        tried.same.append(compare_once(False))
        tried.slowed.append(compare_once(True))
        print(f"{number + 1}: identical: {tried.same[-1]}", flush=True)
        print(f"{'':{len(str(number + 1))}}  slowed down: {tried.slowed[-1]}", flush=True)


def _quick_twice(tried: Tried, measure: Callable[[Case, float], Outcome]) -> None:
    for number, case in enumerate(plan_cases(QUICK)):
        outcomes = [measure(case, _LIMIT_S), measure(case, _LIMIT_S)]
        first, second = reversed(outcomes) if number % 2 else outcomes  # A B, B A, A B, …
        if isinstance(first, Missing) or isinstance(second, Missing):
            failed = first if isinstance(first, Missing) else second
            assert isinstance(failed, Missing)
            tried.missing.append(f"{case} of --quick: {failed.reason}")
            continue
        tried.quick.append((case, first.fps, second.fps))
        print(f"--quick twice: {case}: {first.fps:.2f} and {second.fps:.2f} fps", flush=True)


def judge(
    tried: Tried, *, command: str, times: int, loss: float, quick: bool, seconds: float
) -> Study:
    """The study of what was tried; it passes when all three hold and nothing is missing."""
    alarms = sum(found.is_loss(loss) for found in tried.same)
    caught = sum(found.is_loss(loss) for found in tried.slowed)
    enough = len(tried.same) == len(tried.slowed) == times
    holds = [enough and alarms == 0, enough and caught == times]
    verdicts = [
        f"Identical builds: {alarms} of {len(tried.same)} raised an alarm (0 of {times} may).",
        f"Slowed down by a fifth: {caught} of {len(tried.slowed)} were caught "
        f"({times} of {times} must be).",
    ]
    tables = [_comparisons(tried, loss)] if tried.same else []
    missing = list(tried.missing)
    if quick:
        agrees, verdict = _agreement(tried.quick)
        holds.append(agrees)
        verdicts.append(verdict)
        if tried.quick:
            tables.append(_quick_table(tried.quick))
    else:
        missing.append("two runs of --quick: not asked for")
    return Study(
        name="self-check", command=command, tables=tuple(tables), verdicts=tuple(verdicts),
        missing=tuple(missing),
        passed=all(holds) and not tried.missing, seconds=round(seconds, 1),
        figures={
            "loss": loss, "times": times, "alarms": alarms, "caught": caught,
            "identical": [asdict(found) for found in tried.same],
            "slowed": [asdict(found) for found in tried.slowed],
            "quick": [{"case": str(case), "fps": [a, b]} for case, a, b in tried.quick],
        },
    )  # fmt: skip


def _agreement(quick: Sequence[tuple[Case, float, float]]) -> tuple[bool, str]:
    if len(quick) < 2:
        return False, "Two runs of --quick: too few cases could be measured twice."
    found = compare([(1 / a, 1 / b) for _, a, b in quick])
    case, a, b = max(quick, key=lambda row: abs(row[2] / row[1] - 1))
    return abs(found.ratio - 1) <= AGREES, (
        f"Two interleaved runs of --quick: the second runs at {found.ratio:.3f} of the first "
        f"(0.95 to 1.05 agrees); furthest apart is {case} at {b / a:.3f}."
    )


def _comparisons(tried: Tried, loss: float) -> Table:
    def cells(found: Comparison) -> tuple[str, str, str]:
        interval = f"{found.low:.3f} to {found.high:.3f}"
        return f"{found.ratio:.3f}", interval, "alarm" if found.is_loss(loss) else "none"

    both = zip(tried.same, tried.slowed, strict=False)
    return Table(
        title="B's speed over A's, with the 99% interval",
        columns=("time", "identical", "interval", "alarm", "slowed", "interval", "alarm"),
        rows=tuple(
            (str(number), *cells(same), *cells(slow))
            for number, (same, slow) in enumerate(both, start=1)
        ),
    )


def _quick_table(quick: Sequence[tuple[Case, float, float]]) -> Table:
    return Table(
        title="Two interleaved runs of --quick, frames a second",
        columns=("case", "first", "second", "ratio"),
        rows=tuple((str(case), f"{a:.2f}", f"{b:.2f}", f"{b / a:.3f}") for case, a, b in quick),
    )
