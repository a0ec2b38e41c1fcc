"""`python -m benchmarks reliability CHECK…`: run checks, keep findings, write the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import takewhile
from types import ModuleType

from benchmarks.options import parse
from benchmarks.reliability.finding import Finding
from benchmarks.reliability.options import CheckOptions
from benchmarks.reliability.report import PAGE, keep, read_findings

CHECKS = {  # each a module here, with what it is about
    "damage": "Damaged inputs",
    "kills": "Killed and resumed",
    "fidelity": "The same pictures however a film is cut",
    "segments": "What segments cost",
    "cluster": "Many machines",
    "faults": "Faults",
    "soak": "Long runs",
}
PROGRAM = "python -m benchmarks reliability"
_ABOUT = f"Runs checks; without one, lists them: {', '.join(CHECKS)}. Options belong to one check."


def main(argv: Sequence[str]) -> int:
    """Run the checks that the first arguments name, or list all; 1 when a claim does not hold.

    Options belong to the check, so with options there is one check. A finding is kept as soon as
    its check is over; a check that is interrupted leaves the earlier finding as it was.
    """
    names = list(takewhile(CHECKS.__contains__, argv))
    rest = list(argv[len(names) :])
    if not names or (len(names) > 1 and rest):
        parse(_Nothing, rest, program=f"{PROGRAM} CHECK… | CHECK", about=_ABOUT)
        return _list()
    parsed = [(check := _module(name), _options(name, check, rest)) for name in names]
    held = True
    for check, options in parsed:
        finding: Finding = check.measure(options)
        _print(finding)
        if not options.not_kept:
            keep(finding, CHECKS)
            print(f"kept in {PAGE}")
        held &= finding.passed
    return 0 if held else 1


@dataclass(frozen=True, slots=True)
class _Nothing:
    """No option: without a check the checks are listed."""


def _options(name: str, check: ModuleType, argv: Sequence[str]) -> CheckOptions:
    kind: type[CheckOptions] = check.Options
    return parse(kind, argv, program=f"{PROGRAM} {name}", about=check.__doc__)


def _list() -> int:
    kept = read_findings()
    for name, about in CHECKS.items():
        state = "not measured"
        if name in kept:
            state = (
                f"{'holds' if kept[name].finding.passed else 'DOES NOT HOLD'}, {kept[name].date}"
            )
        print(f"{name:10} {about}: {state}")
    return 0


def _module(name: str) -> ModuleType:
    return import_module(f"benchmarks.reliability.{name}")


def _print(finding: Finding) -> None:
    print(f"{finding.check}: {'holds' if finding.passed else 'DOES NOT HOLD'}: {finding.claim}")
    for name, value in finding.figures.items():
        print(f"  {name}: {value}")
