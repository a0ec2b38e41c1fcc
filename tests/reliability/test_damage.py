"""A few inputs of each kind of the damage corpus, through the command line, with limits."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.reliability.corpus import KINDS, Case, Specimen, make
from benchmarks.reliability.damage import run_cases
from benchmarks.reliability.judging import Verdict
from benchmarks.reliability.materials import make_materials
from benchmarks.reliability.sandbox import Limits, Ran

if sys.platform != "linux":
    pytest.skip("forks and limits address space", allow_module_level=True)

CASES = [Case(kind, seed) for kind in KINDS for seed in (0, 1)]


def test_damaged_inputs_end_in_a_painting_or_a_sentence() -> None:
    ended: dict[Case, str] = {}
    faults: list[str] = []

    def tell(case: Case, specimen: Specimen, ran: Ran, verdict: Verdict) -> None:
        ended[case] = verdict.outcome
        faults.extend(f"{case}: {fault}: {seen}" for fault, seen in verdict.faults)

    run_cases(CASES, tell, limits=Limits(seconds=60))
    assert faults == []
    assert list(ended) == CASES
    assert set(ended.values()) == {"painted", "salvaged", "refused"}


def test_a_case_is_made_the_same_from_its_seed(tmp_path: Path) -> None:
    make_materials(tmp_path / "whole")
    made = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        specimen = make(Case("fields", 7), tmp_path / "whole", folder)
        assert specimen.source is not None
        made.append((specimen.argv, specimen.source.read_bytes()))
    assert made[0] == made[1]
