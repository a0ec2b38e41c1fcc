"""`python -m benchmarks` as a developer meets it: help, wrong options, wrong names."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmarks.__main__ import BENCHMARKS, main


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def test_without_a_name_it_lists_the_benchmarks() -> None:
    listed = run("--help").stdout.partition("Commands:")[2].split("\n")
    assert [line.split()[0] for line in listed if line.strip()] == list(BENCHMARKS)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_each_has_a_help(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", name, "--help"])
    with pytest.raises(SystemExit) as ended:
        sys.exit(main())  # some end by themselves
    assert not ended.value.code
    assert f"Usage: python -m benchmarks {name}" in capsys.readouterr().out


def test_a_tool_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "benchmarks.fidelity", raising=False)
    monkeypatch.setitem(sys.modules, "tests.media.clips", None)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "fidelity", "--help"])
    assert main() == 1
    error = capsys.readouterr().err
    assert "tests.media.clips" in error
    assert "pip install" in error


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (("fidelity", "--help"), 0, "Usage: python -m benchmarks fidelity [OPTIONS] [DIR]"),
        (("reliability", "kills", "--help"), 0, "--not-kept"),
        (("fidelity", "/no/such/folder"), 1, "benchmarks: There is no folder"),
        (("fidelity", "a", "b", "c"), 2, "Got unexpected extra argument"),
        (("history", "--nonsense"), 2, "No such option: --nonsense"),
        (("nonsense",), 2, "No such command 'nonsense'"),
    ],
    ids=str,
)
def test_it_says_what_is_wrong_without_a_traceback(
    arguments: tuple[str, ...], status: int, text: str
) -> None:
    done = run(*arguments)
    assert done.returncode == status, done.stderr
    assert text in (done.stdout if status == 0 else done.stderr)
    assert "Traceback" not in done.stderr
