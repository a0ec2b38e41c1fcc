"""Hosts beside rtstyle, on small pictures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import hosts
from rtstyle.errors import UsageError


def test_hosts_paint_as_rtstyle_does_and_those_not_here_are_named(tmp_path: Path) -> None:
    out = tmp_path / "hosts.json"
    asked = ["--size", "96x64", "--rounds", "2", "--pictures", "2", "--out", str(out)]
    asked += ["--javascript", str(tmp_path)]
    assert hosts.main(asked) == 0
    study = json.loads(out.read_text(encoding="utf-8"))
    rows = {row["host"]: row for row in study["figures"]["rows"]}
    assert set(rows) >= {"rtstyle", "opencv", "onnxruntime"}
    assert rows["rtstyle"]["mean"] == 0
    for row in rows.values():
        assert row["fps"] > 0
        assert row["mean"] < 0.05
    assert str(tmp_path) not in study["command"]
    assert any(line.startswith("vapoursynth: not asked for") for line in study["missing"])


def test_one_round_is_no_comparison() -> None:
    with pytest.raises(UsageError, match="at least 2 rounds"):
        hosts.main(["--rounds", "1"])
