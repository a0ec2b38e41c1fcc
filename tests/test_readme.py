"""What the README promises is what there is."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from rtstyle.style.style import find_styles
from tests.media.clips import make_clip

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)


def test_the_test_command_is_what_ci_runs() -> None:
    command = next(body for kind, body in BLOCKS if kind == "sh" and "pytest" in body).strip()
    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert command in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_the_python_examples_run(tmp_path: Path) -> None:
    make_clip(tmp_path / "in.mp4")
    examples = [body for kind, body in BLOCKS if kind == "python"]
    assert len(examples) == 2
    for example in examples:
        subprocess.run([sys.executable, "-c", example], cwd=tmp_path, check=True, timeout=120)
    assert {p.name for p in tmp_path.iterdir()} == {"in.mp4", "out.mp4", "out2.mp4"}


def test_the_commands_name_options_and_styles_that_exist() -> None:
    calls = [
        shlex.split(line)
        for kind, body in BLOCKS
        if kind == "sh"
        for line in body.splitlines()
        if line.startswith("rtstyle ")
    ]
    assert len(calls) >= 6
    styles = {style.name for style in find_styles()}
    for call in calls:
        # what is queued is a command line of render
        command = "render" if call[1:3] == ["queue", "add"] else call[1]
        shown = subprocess.run(
            [sys.executable, "-m", "rtstyle.cli", command, "--help"],
            capture_output=True, text=True, check=True, env={"COLUMNS": "200", "PATH": ""},
        ).stdout  # fmt: skip
        for word in call:
            if re.fullmatch(r"--?[a-z][a-z-]*", word):
                assert re.search(rf"(?<![\w-]){word}(?![\w-])", shown), f"{word} of {call}"
        for option, value in pairwise(call):
            if option in ("-s", "--style") and not value.endswith((".onnx", ".jpg")):
                assert {part.partition("=")[0] for part in value.split(",")} <= styles


@pytest.mark.parametrize("picture", re.findall(r"!\[.*?\]\((.*?)\)", README))
def test_the_pictures_are_there(picture: str) -> None:
    assert (ROOT / picture).stat().st_size > 10_000
