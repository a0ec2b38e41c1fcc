"""What `pip install '.[EXTRA]'` brings: by what pyproject.toml says, and as pip resolves it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
RUNTIMES = {"onnxruntime", "onnxruntime-gpu", "onnxruntime-directml"}
LIBRARIES = {  # that onnxruntime-gpu's CUDA provider links
    "nvidia-cublas", "nvidia-cuda-nvrtc", "nvidia-cuda-runtime", "nvidia-cudnn-cu13",
    "nvidia-cufft", "nvidia-curand",
}  # fmt: skip
README = (ROOT / "README.md").read_text(encoding="utf-8")
GPU_PAGE = (ROOT / "docs" / "gpu.md").read_text(encoding="utf-8")
WRITTEN = sorted(set(re.findall(r"'\.\[([a-z,-]+)\]'", README + GPU_PAGE)))
ON_GPUS = ("gpu", "gpu-trt", "tensorrt", "rtx", "torch", "torch-tensorrt")


def requirements(extras: str) -> list[Requirement]:
    """What the package and these extras require, those of extras of its own included."""
    found = [Requirement(text) for text in PROJECT["dependencies"]]
    waiting = extras.split(",")
    for extra in waiting:
        for text in EXTRAS[extra]:
            requirement = Requirement(text)
            if requirement.name == "rtstyle":
                waiting += sorted(requirement.extras - set(waiting))
            else:
                found.append(requirement)
    return found


@pytest.mark.parametrize("extras", sorted({*EXTRAS, *WRITTEN}))
def test_one_onnxruntime_at_most(extras: str) -> None:
    """In every extra, and in every combination that the pages tell users to install."""
    assert len({r.name for r in requirements(extras)} & RUNTIMES) <= 1


def test_the_package_alone_leaves_the_choice() -> None:
    assert not {Requirement(text).name for text in PROJECT["dependencies"]} & RUNTIMES
    assert {Requirement(text).name for text in PROJECT["dependencies"]} >= {"openvino", "av"}


def test_the_provider_gets_the_tensorrt_that_it_links() -> None:
    (tensorrt,) = (r for r in requirements("gpu-trt") if r.name == "tensorrt-cu13")
    assert tensorrt.specifier.contains("10.13.2")
    assert not tensorrt.specifier.contains("11.0")
    for extra in ("tensorrt", "rtx", "gpu", "gpu-trt"):
        names = {r.name for r in requirements(extra)}
        assert names >= {"cuda-bindings", "onnx"}, "CUDA's calls, half precision at load"


@pytest.mark.parametrize("extra", [extra for extra in EXTRAS if extra in ON_GPUS])
def test_every_extra_for_gpus_has_a_line_to_install_it(extra: str) -> None:
    assert GPU_PAGE.count(f"install '.[{extra}]'") >= 1


@pytest.mark.skipif(
    "RTSTYLE_RESOLVE" not in os.environ, reason="pip fetches gigabytes for it: RTSTYLE_RESOLVE=1"
)
@pytest.mark.parametrize("extras", ["cpu", *ON_GPUS])
def test_pip_resolves(extras: str) -> None:
    """The whole set, without installing it. Skipped where the package index is not reached."""
    options = ["--dry-run", "--ignore-installed", "--quiet", "--no-input", "--report", "-"]
    wanted = [str(requirement) for requirement in requirements(extras)]
    command = [sys.executable, "-m", "pip", "install", *options, *wanted]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("the package index does not answer")
    assert "ResolutionImpossible" not in done.stderr, done.stderr
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "error" in line.lower()]
        pytest.skip(f"pip cannot look {extras} up here: {(errors or ['no reason'])[0]}")
    versions = {
        item["metadata"]["name"].lower().replace("_", "-"): item["metadata"]["version"]
        for item in json.loads(done.stdout)["install"]
    }
    assert len(versions.keys() & RUNTIMES) <= 1
    if "onnxruntime-gpu" in versions:
        assert versions.keys() >= LIBRARIES
        assert versions["nvidia-cublas"].startswith("13.")
    if extras == "gpu-trt":
        assert versions["tensorrt-cu13"].startswith("10.")
    if extras == "torch-tensorrt":
        minors = {versions[name].rsplit(".", 1)[0] for name in ("torch", "torch-tensorrt")}
        assert len(minors) == 1, "torch-tensorrt is of torch's version"
