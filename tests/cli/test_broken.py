"""Installations that are not whole: one sentence each, with what mends it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PHOTO = Path(__file__).parents[2] / "rtstyle" / "samples" / "coffee.jpg"
ABSENT = "raise ModuleNotFoundError(f\"No module named '{__name__}'\", name=__name__)"
NO_LIBGL = 'raise ImportError("libGL.so.1: cannot open shared object file: No such file")'


def render(
    folder: Path, modules: dict[str, str], *options: str
) -> subprocess.CompletedProcess[str]:
    """Paint a photograph where these modules are what they are here said to be."""
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
    command = [sys.executable, "-m", "rtstyle", "render", PHOTO, folder / "out.png", *options]
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PYTHONPATH": path}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, env=environment
    )


@pytest.mark.parametrize(
    ("modules", "sentence"),
    [
        ({"cv2": NO_LIBGL}, "--force-reinstall opencv-python-headless"),
        ({"av": ABSENT}, "The installation is not whole (No module named 'av')"),
        (dict.fromkeys(("openvino", "onnxruntime", "torch"), ABSENT), "No engine can run"),
    ],
)
def test_a_library_that_does_not_load(
    modules: dict[str, str], sentence: str, tmp_path: Path
) -> None:
    done = render(tmp_path, modules)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize(
    ("missing", "engine"), [("openvino", "onnxruntime"), ("onnxruntime", "openvino")]
)
def test_either_runtime_is_enough(missing: str, engine: str, tmp_path: Path) -> None:
    done = render(tmp_path, {missing: ABSENT}, "--height", "64")
    assert done.returncode == 0, done.stderr
    assert f"by {engine}" in done.stdout + done.stderr
    assert (tmp_path / "out.png").stat().st_size > 10_000
