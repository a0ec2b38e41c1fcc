"""What `rtstyle doctor` finds on this machine, and on one where things are missing."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import metadata

import pytest
from typer.testing import CliRunner

import rtstyle.engines
from rtstyle.cli import doctor
from rtstyle.cli.main import app
from rtstyle.engines import available_engines


def test_this_machine_paints() -> None:
    findings, paints = doctor.examine()
    assert paints
    found = {finding.subject: finding.found for finding in findings}
    assert found["rtstyle"].startswith(rtstyle.__version__)
    assert "onnxruntime" in found["engines"]
    assert "libx264" in found["encoders"]
    result = CliRunner().invoke(app, ["doctor", "--json"])
    assert result.exit_code == 0
    assert {row["subject"] for row in json.loads(result.stdout)} >= {"machine", "packages", "cache"}


def test_the_version_is_a_line_for_bug_reports() -> None:
    (line,) = CliRunner().invoke(app, ["--version"]).stdout.splitlines()
    assert line.startswith(f"rtstyle {rtstyle.__version__} (Python 3.")
    assert f"openvino {metadata.version('openvino')}" in line


def test_what_is_missing_comes_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    none = [
        replace(info, problem=info.problem or "it is not installed")
        for info in available_engines()
        if info.name != "identity"
    ]
    monkeypatch.setattr(rtstyle.engines, "available_engines", lambda: none)
    monkeypatch.setattr(doctor, "find_spec", lambda name: None if name == "pygame" else object())
    monkeypatch.setattr(
        metadata,
        "version",
        lambda name: "1.31" if name.startswith("onnxruntime") else _absent(name),
    )
    monkeypatch.setenv("RTSTYLE_CACHE", "/proc/nowhere")
    findings, paints = doctor.examine()
    assert not paints
    mends = {finding.subject: finding.mend for finding in findings}
    assert "openvino" in mends["engines"]
    assert "uninstall both" in mends["packages"]
    assert "pip install '.[live]'" in mends["[live]"]
    assert "RTSTYLE_CACHE" in mends["cache"]
    assert CliRunner().invoke(app, ["doctor"]).exit_code == 1


def _absent(name: str) -> str:
    raise metadata.PackageNotFoundError(name)
