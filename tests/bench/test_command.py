"""`rtstyle bench` as a user meets it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rtstyle.bench.document import read_document
from rtstyle.model.spec import ModelSpec


def bench(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rtstyle", "bench", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def test_all_reports_of_one_run(tmp_path: Path, tiny_model: ModelSpec) -> None:
    done = bench(
        "--style", tiny_model.path, "--engine", "onnxruntime", "--engine", "tensorrt",
        "--size", "64x48", "--level", "engine", "--level", "memory", "--seconds", "0.1",
        "--threads", "1", "--json", tmp_path / "b.json", "--markdown", tmp_path / "b.md",
        "--html", tmp_path / "b.html",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "onnxruntime" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.html", "b.json", "b.md"]
    message = read_document(tmp_path / "b.json")
    assert [row.case.level for row in message.measured] == ["engine", "memory"]
    assert [row.reason != "" for row in message.missing] == [True, True]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--size", "big"], 2, "A size is 360p"),
        (["--style", "no such style"], 2, "There is no style"),
        (["--level", "gpu"], 2, "There is no level"),
        (["--seconds", "0"], 2, "more than 0 seconds"),
        (["--limit", "nan"], 2, "given up after more than 0 seconds"),
        (["--level", "memory", "--batch", "2"], 2, "Nothing is left to measure"),
        (["--json", "no/folder/x.json"], 1, "does not exist"),
        (["--engine", "tensorrt", "--size", "64x48", "--level", "engine"], 1, "Nothing could be"),
    ],
)
def test_wrong_arguments_are_one_sentence(arguments: list[str], status: int, said: str) -> None:
    done = bench("--quick", *arguments)
    assert done.returncode == status, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
