"""Findings become a page; the judge of damaged inputs sees what it is there to see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.reliability import command
from benchmarks.reliability.command import CHECKS
from benchmarks.reliability.corpus import KINDS, Specimen, cases
from benchmarks.reliability.damage import select
from benchmarks.reliability.finding import Finding
from benchmarks.reliability.judging import judge
from benchmarks.reliability.report import FINDINGS, PAGE, keep, page, read_findings
from benchmarks.reliability.sandbox import Ran
from rtstyle.errors import MediaError, UsageError

FOUND = Finding(
    check="damage",
    claim="Nothing breaks.",
    figures={"inputs": 1200, "slowest, s": 1.23456, "a": "b|c"},
    passed=False,
    command="python -m benchmarks reliability damage",
    seconds=61.0,
)
REFUSED = Ran(status=1, stderr="rtstyle: in.mp4 is not a video that can be read.\n")


def test_findings_are_kept_and_shown(tmp_path: Path) -> None:
    keep(FOUND, CHECKS, folder=tmp_path)
    assert read_findings(tmp_path / FINDINGS.name)["damage"].finding == FOUND
    text = (tmp_path / PAGE.name).read_text(encoding="utf-8")
    assert "**Does not hold**: Nothing breaks." in text
    assert "| inputs | 1,200 |" in text
    assert r"| a | b\|c |" in text
    assert text.count("Not measured yet") == len(CHECKS) - 1
    (tmp_path / FINDINGS.name).write_text("[1]")
    with pytest.raises(MediaError, match="no findings"):
        read_findings(tmp_path / FINDINGS.name)


def test_the_page_in_the_tree_is_what_its_findings_give() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(read_findings(), CHECKS)


def test_the_list_names_every_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(CHECKS)


def test_the_corpus_mixes_its_kinds() -> None:
    first = cases(300)
    assert len(set(first)) == 300
    assert {case.kind for case in first} == set(KINDS)
    assert first == cases(1000)[:300]
    assert [str(c) for c in select(0, ["flips:9"])] == ["flips:9"]
    for text in ("nothing", "flips:x"):
        with pytest.raises(UsageError):
            select(10, [text])


def _faults(folder: Path, ran: Ran, seen: dict[str, Any] | None = None) -> list[str]:
    specimen = Specimen(argv=(), source=folder / "in.mp4", output=folder / "out.mp4")

    def look(path: Path, specimen: Specimen) -> dict[str, Any]:
        whole = {"error": "", "times": ["0", "1/25"], "plain": 2, "sounds": []}
        return whole if path == specimen.source else whole | (seen or {})

    verdict = judge(specimen, ran, folder, set(), look)
    return [fault for fault, _ in verdict.faults]


@pytest.mark.parametrize(
    ("ran", "fault"),
    [
        (REFUSED, None),
        (Ran(status=1, stderr=f"note: one packet was lost\n{REFUSED.stderr}"), None),
        (Ran(status=None, signal="SIGKILL", timed_out=True), "hang"),
        (Ran(status=None, signal="SIGSEGV"), "crash"),
        (Ran(status=1, stderr="Traceback (most recent call last):\n"), "traceback"),
        (Ran(status=1, stderr="rtstyle: Something that should not happen did: x."), "traceback"),
        (Ran(status=1, stderr=""), "words"),
        (Ran(status=1, stderr=f"libpng error: x\n{REFUSED.stderr}"), "words"),
        (Ran(status=1, stderr="rtstyle: the \x1b[31m file is bad.\n"), "words"),
        (Ran(status=1, stderr="rtstyle: 7\n"), "words"),
        (Ran(status=137, stderr=REFUSED.stderr), "words"),
    ],
)
def test_a_failed_run_is_judged_by_its_words(ran: Ran, fault: str | None, tmp_path: Path) -> None:
    assert _faults(tmp_path, ran) == ([fault] if fault else [])


def test_what_a_failed_run_leaves_is_seen(tmp_path: Path) -> None:
    (tmp_path / "out.mp4").write_bytes(b"half")
    assert _faults(tmp_path, REFUSED) == ["partial"]
    (tmp_path / ".out.1234.part.mp4").touch()
    assert _faults(tmp_path, REFUSED) == ["leftover", "partial"]


def test_painted_segments_may_wait_beside_the_output(tmp_path: Path) -> None:
    state = tmp_path / ".out.mp4.resume"
    state.mkdir()
    (state / "state.json").touch()
    assert _faults(tmp_path, REFUSED) == ["leftover"]  # with nothing to go on with
    (state / "0.segment").touch()
    assert _faults(tmp_path, REFUSED) == []


@pytest.mark.parametrize(
    ("seen", "fault"),
    [
        ({}, None),
        ({"times": ["0"]}, "lost"),
        ({"times": ["0", "1/24"]}, "lost"),
        ({"error": "out.mp4 is damaged"}, "partial"),
    ],
)
def test_a_painting_is_compared_with_its_input(
    seen: dict[str, Any], fault: str | None, tmp_path: Path
) -> None:
    (tmp_path / "out.mp4").touch()
    assert _faults(tmp_path, Ran(status=0), seen)[:1] == ([fault] if fault else [])
    salvaged = Ran(status=1, stderr=f"note: out.mp4 holds the 1 frames that were\n{REFUSED.stderr}")
    assert _faults(tmp_path, salvaged, {"times": ["0"]}) == []
    assert _faults(tmp_path, salvaged) == ["lost"]
