"""`python -m benchmarks reliability CHECK…`: run checks, keep findings, write the page."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import import_module
from itertools import takewhile
from types import ModuleType

from benchmarks.reliability.finding import Finding
from benchmarks.reliability.report import PAGE, keep, read_findings

CHECKS = {  # each a module here, with what it is about
    "damage": "Damaged inputs",
    "kills": "Killed and resumed",
    "segments": "What segments cost",
    "cluster": "Many machines",
    "faults": "Faults",
    "soak": "Long runs",
}


def main(argv: Sequence[str]) -> int:
    """Run the checks that the first arguments name, or list all; 1 when a claim does not hold.

    Options belong to the check, so with options there is one check. A finding is kept as soon as
    its check is over; a check that is interrupted leaves the earlier finding as it was.
    """
    names = list(takewhile(CHECKS.__contains__, argv))
    options = list(argv[len(names) :])
    if not names or (len(names) > 1 and options):
        _usage().parse_args(options)
        return _list()
    arguments = [(name, _parser(name, check := _module(name)), check) for name in names]
    parsed = [(check, parser.parse_args(options)) for _, parser, check in arguments]
    held = True
    for check, told in parsed:
        finding: Finding = check.measure(told)
        _print(finding)
        if not told.not_kept:
            keep(finding, CHECKS)
            print(f"kept in {PAGE}")
        held &= finding.passed
    return 0 if held else 1


def _parser(name: str, check: ModuleType) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks reliability {name}", description=check.__doc__
    )
    parser.add_argument(
        "--not-kept", action="store_true", help="print the finding, keep it nowhere"
    )
    check.add_options(parser)
    return parser


def _usage() -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog="python -m benchmarks reliability",
        usage="%(prog)s CHECK… | CHECK [options of the check]",
        epilog="Checks: " + ", ".join(CHECKS),
    )


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
