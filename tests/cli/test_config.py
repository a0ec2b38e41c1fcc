"""Defaults from rtstyle.toml and the environment, through the real command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "config" / "rtstyle").mkdir(parents=True)
    (tmp_path / "work").mkdir()
    return tmp_path


def _run(home: Path, *words: str, **environment: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "rtstyle", *words],
        cwd=home / "work",
        env=os.environ
        | {"XDG_CONFIG_HOME": str(home / "config"), "PYTHONPATH": str(ROOT)}
        | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="the user's folder is elsewhere")
def test_the_nearer_the_stronger(home: Path) -> None:
    (home / "config" / "rtstyle" / "rtstyle.toml").write_text(
        'engine = "openvino"\n[render]\nstyle = "udnie"\ncrf = 30\n'
    )
    (home / "work" / "rtstyle.toml").write_text("[render]\ncrf = 18\n")
    status, out, _ = _run(home, "config", RTSTYLE_RENDER_STYLE="scream")
    assert status == 0
    lines = [line.partition("  (")[0] for line in out.splitlines()]
    assert "render --crf 18" in lines
    assert "render --style scream" in lines
    assert "live --engine openvino" in lines
    # what is shown is what counts: the environment's style is looked for, the flag's outranks it
    missing = home / "none.mp4"
    _, _, said = _run(home, "render", str(missing), "o.mp4", RTSTYLE_RENDER_CRF="many")
    assert "--crf" in said
    _, _, said = _run(
        home, "render", str(missing), "o.mp4", "--crf", "20", RTSTYLE_RENDER_CRF="many"
    )
    assert "none.mp4" in said


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[render]\nstyle = 'udnie'\ncrff = 3\n", "line 3: 'crff' is unknown"),
        ("[rendr]\ncrf = 3\n", "line 1: 'rendr' is unknown"),
        ("\nengin = 'openvino'\n", "did you mean engine?"),
        ("a b\n", "line 1"),
        ("[render]\n\ncrf = 'fine'\n", "rtstyle.toml, line 3."),
    ],
)
def test_a_broken_file_is_told_by_line_and_key(home: Path, text: str, sentence: str) -> None:
    (home / "work" / "rtstyle.toml").write_text(text)
    status, _, said = _run(home, "render", "none.mp4", "o.mp4")
    assert status == 2
    assert sentence in said
    assert "Traceback" not in said
    assert not (home / "work" / "o.mp4").exists()
