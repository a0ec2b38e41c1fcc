"""What the README and the page on Python promise is what there is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.media.clips import make_clip

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)


def test_the_test_command_is_what_ci_runs() -> None:
    command = next(body for kind, body in BLOCKS if kind == "sh" and "pytest" in body).strip()
    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert command in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_the_python_examples_run(tmp_path: Path) -> None:
    make_clip(tmp_path / "in.mp4")
    examples = re.findall(r"^```python\n(import rtstyle\n.*?)^```$", PYTHON, re.M | re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        subprocess.run([sys.executable, "-c", example], cwd=tmp_path, check=True, timeout=120)
    assert {p.name for p in tmp_path.iterdir()} == {"in.mp4", "out.mp4", "out2.mp4"}


@pytest.mark.parametrize("picture", re.findall(r"!\[.*?\]\((.*?)\)", README))
def test_the_pictures_are_there(picture: str) -> None:
    assert (ROOT / picture).stat().st_size > 10_000
