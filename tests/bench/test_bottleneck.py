"""Pipelines that are slow in one known place, on purpose."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import rigged
from rtstyle.bench.result import find_bottleneck
from rtstyle.model.spec import ModelSpec
from rtstyle.style.style import styles_of

_TRIES = 3  # a busy machine may stand still in a run


@pytest.mark.parametrize("rig", rigged.SLEEPING, ids=lambda rig: rig.name)
def test_the_slow_part_is_named(rig: rigged.Rig, tiny_model: ModelSpec) -> None:
    (style,) = styles_of(tiny_model)
    for _ in range(_TRIES):
        named, message, fps = rigged.name_bottleneck(rig, style, seconds=0.4)
        if named == rig.part:
            break
    assert named == rig.part
    assert message.startswith(f"{rig.part} (")
    assert fps <= 1 / rigged.SLOW_S


def test_the_command_keeps_what_was_named(
    tmp_path: Path, tiny_model: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "rigged.json"
    arguments = ["--style", str(tiny_model.path), "--seconds", "0.2", "--out", str(out)]
    monkeypatch.setattr(rigged, "SLEEPING", rigged.SLEEPING[:1])
    assert rigged.main([*arguments, "--sleeping-only"]) == 0
    message = json.loads(out.read_text())
    assert message["passed"] is True
    assert message["figures"]["rigs"][0]["named"] == "source"
    wrong = rigged.Rig("wrongly message", "sink", 64, 48, rigged.SLEEPING[0].make)
    monkeypatch.setattr(rigged, "SLEEPING", (wrong,))
    assert rigged.main([*arguments, "--sleeping-only"]) == 1
    assert json.loads(out.read_text())["passed"] is False


def test_no_part_is_named_when_all_of_them_rest() -> None:
    found = find_bottleneck({"decode": 1.0, "paint": 2.0, "encode": 1.0}, fps=30)
    assert str(found) == "none: the busiest, engine (paint), rests 94%"


def test_what_works_in_one_thread_adds_up() -> None:
    stages = {"decode": 10.0, "prepare": 6.0, "paint": 7.0, "finish": 1.0, "encode": 9.0}
    found = find_bottleneck(stages, fps=1e3 / 13)
    assert (found.part, found.stage) == ("engine", "paint")
    assert found.share == pytest.approx(1.0)
