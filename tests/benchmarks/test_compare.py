"""Comparing two builds: with timings that are made up, and with real processes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import compare as command
from benchmarks import self_check as self_checks
from benchmarks.pairs import Comparison, compare, interleave
from benchmarks.studies import Study, keep, read_studies
from rtstyle.bench.case import Case
from rtstyle.bench.result import Measured, Missing
from rtstyle.errors import EngineError, UsageError
from rtstyle.model.spec import ModelSpec
from tests.bench.rows import measured

ROOT = Path(__file__).resolve().parents[2]
LOSS = 0.05


class Clock:
    """A machine that drifts by half, with noise of 3% and bursts of a neighbour."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._time = 0

    def side(self, seconds: float) -> Callable[[], float]:
        def measure() -> float:
            self._time += 1
            drift = 1 + 0.5 * np.sin(self._time / 9)
            burst = 3.0 if self._rng.random() < 0.05 else 1.0
            return float(seconds * drift * burst * self._rng.lognormal(0, 0.03))

        return measure


@pytest.mark.parametrize("seed", range(10))
def test_a_fifth_slower_is_caught_and_the_same_is_not(seed: int) -> None:
    clock = Clock(seed)
    same = compare(interleave(clock.side(0.02), clock.side(0.02), pairs=36))
    assert not same.is_loss(LOSS)
    assert same.low < 1 < same.high
    slow = compare(interleave(clock.side(0.02), clock.side(0.025), pairs=36))
    assert slow.is_loss(LOSS)
    assert slow.ratio == pytest.approx(0.8, abs=0.04)
    faster = compare(interleave(clock.side(0.025), clock.side(0.02), pairs=36))
    assert not faster.is_loss(LOSS)


def test_pairs_are_interleaved_and_take_turns_in_going_first() -> None:
    order = ""

    def side(name: str, seconds: float) -> Callable[[], float]:
        def measure() -> float:
            nonlocal order
            order += name
            return seconds

        return measure

    times = interleave(side("A", 1.0), side("B", 2.0), pairs=4)
    assert order == "ABBAABBA"
    assert times == [(1.0, 2.0)] * 4
    found = compare(times)
    assert (found.ratio, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))
    assert "B runs at 0.500 of A's speed" in str(found)


@pytest.mark.parametrize("level", ["engine", "memory", "host"])
def test_two_processes_are_measured_in_turn(
    level: str, tiny_model: ModelSpec, capfd: pytest.CaptureFixture[str]
) -> None:
    """B takes ten times as long on purpose, which no noise hides."""
    painting = {
        "style": str(tiny_model.path), "engine": "onnxruntime", "threads": 1, "width": 64,
        "height": 48, "level": level, "pictures": 2,
    }  # fmt: skip
    plan = command.Plan(painting, pairs=4, launches=1, loss=LOSS)
    found = command.compare_trees(ROOT, ROOT, plan, slower_b=9.0)
    assert found.is_loss(LOSS)
    assert found.pairs == 4


def test_a_git_ref_is_checked_out_beside_the_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "rtstyle" / "__init__.py"
    module.parent.mkdir()
    module.write_text("committed")
    who = ["-c", "user.name=T", "-c", "user.email=t@example.org"]
    for words in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "first"]):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    module.write_text("changed since")
    monkeypatch.setattr(command, "ROOT", tmp_path)
    with command.tree_of("HEAD") as tree, command.tree_of(str(tmp_path)) as working:
        assert (tree / "rtstyle" / "__init__.py").read_text() == "committed"
        assert working == tmp_path
    assert not tree.exists()
    assert module.read_text() == "changed since"


def test_what_cannot_be_compared_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="neither a folder with rtstyle in it nor a git ref"):
        command.main(["no-such-ref-anywhere", "."])
    with pytest.raises(UsageError, match="Two trees"):
        command.main([])
    with pytest.raises(UsageError, match="between 0 and 1"):
        command.main(["--loss", "5", "a", "b"])
    with (
        command.Side(ROOT, {"style": "nothing.onnx", "engine": "auto"}) as side,
        pytest.raises(EngineError, match="cannot be measured"),
    ):
        side.wait()


def test_the_exit_status_tells(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock(0)

    def trees(a: Path, b: Path, plan: command.Plan, *, slower_b: float = 0.0) -> object:
        slower = 0.2 if "slow" in b.name else slower_b
        return compare(interleave(clock.side(1.0), clock.side(1 + slower), pairs=36))

    monkeypatch.setattr(command, "compare_trees", trees)
    assert command.main([str(ROOT), str(ROOT)]) == 0


def self_check(tmp_path: Path, compare_once: self_checks.Compare, **more: object) -> Study:
    """A self-check of ten with made-up timings, and cases that are measured by `measure`."""
    tried = self_checks.Tried()
    fps = iter([30.0, 30.5] * 100)

    def measure(case: Case, limit_s: float) -> Measured:
        return replace(measured(), case=case, fps=next(fps))

    message = {"times": 10, "quick": True, "minutes": 1.0, "measure": measure} | more
    self_checks.try_all(tried, compare_once, **message)  # type: ignore[arg-type]
    return self_checks.judge(
        tried, command="self-check", times=10, loss=LOSS, quick=bool(message["quick"]), seconds=1.0
    )


def comparing(same: float = 1.0, slowed: float = 1.25) -> self_checks.Compare:
    clock = Clock(0)

    def compare_once(slow: bool) -> Comparison:
        other = clock.side(slowed if slow else same)
        return compare(interleave(clock.side(1.0), other, pairs=36))

    return compare_once


def test_a_self_check_that_holds(tmp_path: Path) -> None:
    study = self_check(tmp_path, comparing())
    assert study.passed, study.verdicts
    assert (study.figures["alarms"], study.figures["caught"]) == (0, 10)
    assert study.verdicts[0] == "Identical builds: 0 of 10 raised an alarm (0 of 10 may)."
    assert "the second runs at 1.0" in study.verdicts[2]
    path = keep(study, tmp_path / "self-check.json")
    assert read_studies(tmp_path)["self-check"].study.passed
    assert path.name == "self-check.json"


@pytest.mark.parametrize(
    ("compare_once", "more", "said"),
    [
        (comparing(same=1.2), {}, "10 of 10 raised an alarm"),
        (comparing(slowed=1.0), {}, "0 of 10 were caught"),
        (comparing(), {"minutes": 0.0}, "10 of 10 comparisons of each kind"),
        (comparing(), {"measure": lambda case, s: Missing(str(case), "no engine")}, "no engine"),
    ],
)
def test_a_self_check_that_does_not(
    compare_once: self_checks.Compare, more: dict[str, object], said: str, tmp_path: Path
) -> None:
    study = self_check(tmp_path, compare_once, **more)
    assert study.passed is False
    assert said in " ".join(study.verdicts + study.missing)


def test_two_quick_runs_that_differ_do_not_agree(tmp_path: Path) -> None:
    fps = iter([30.0, 36.0, 36.0, 30.0] * 50)  # A B, B A, …

    def measure(case: Case, limit_s: float) -> Measured:
        return replace(measured(), case=case, fps=next(fps))

    study = self_check(tmp_path, comparing(), measure=measure)
    assert study.passed is False
    assert "the second runs at 1.2" in study.verdicts[2]


def test_ctrl_c_keeps_what_a_self_check_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    once, calls = comparing(), []

    def trees(a: Path, b: Path, plan: command.Plan, *, slower_b: float = 0.0) -> Comparison:
        calls.append(slower_b)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return once(slower_b > 0)

    monkeypatch.setattr(command, "compare_trees", trees)
    out = tmp_path / "self-check.json"
    assert command.main(["--self-check", "10", "--no-quick", "--out", str(out)]) == 130
    assert calls == [0.0, command.SLOWDOWN] * 2
    kept = read_studies(tmp_path)["self-check"].study
    assert kept.passed is False
    assert "what came after Ctrl-C" in kept.missing
    assert "FAILED" in capsys.readouterr().out
