"""What `pip install .[EXTRA]` brings: by what pyproject.toml says, and as an index resolves it."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
RESOLVED = Path(__file__).with_name("extras.json")
RUNTIMES = {"onnxruntime", "onnxruntime-gpu", "onnxruntime-directml"}
LIBRARIES = {  # that onnxruntime-gpu's CUDA provider links
    "nvidia-cublas", "nvidia-cuda-nvrtc", "nvidia-cuda-runtime", "nvidia-cudnn-cu13",
    "nvidia-cufft", "nvidia-curand",
}  # fmt: skip
GPU_PAGE = (ROOT / "docs" / "gpu.md").read_text(encoding="utf-8")
PAGES = "".join(path.read_text("utf-8") for path in (ROOT / "README.md", *ROOT.glob("docs/*.md")))
WRITTEN = sorted(set(re.findall(r"'\.\[([a-z,-]+)\]'", PAGES)))
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


def test_the_line_without_openvino_has_what_the_package_requires() -> None:
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^pip install ('numpy.*)$", page, re.MULTILINE)
    wanted = {text for text in PROJECT["dependencies"] if not text.startswith("openvino")}
    assert set(re.findall("'([^']+)'", line)) == wanted | set(EXTRAS["cpu"])


@pytest.mark.parametrize("extra", [extra for extra in EXTRAS if extra in ON_GPUS])
def test_every_extra_for_gpus_has_a_line_to_install_it(extra: str) -> None:
    assert GPU_PAGE.count(f"install '.[{extra}]'") >= 1


@pytest.fixture(params=sorted({*EXTRAS, *WRITTEN}))
def resolved(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """An extra, or several that are installed together, and what an index made of it."""
    document = json.loads(RESOLVED.read_text(encoding="utf-8"))["extras"]
    return request.param, document[request.param]


def test_every_extra_resolves(resolved: tuple[str, dict[str, Any]]) -> None:
    """The whole set, as `python -m tests.resolve_extras` last wrote it down for what is required
    today: one ONNX Runtime at most, and every library that its providers load."""
    extras, found = resolved
    wanted = requirements(extras)
    assert found["requires"] == sorted({str(r) for r in wanted}), "python -m tests.resolve_extras"
    versions = found["packages"]
    system = {"sys_platform": "win32" if extras == "directml" else "linux"}
    for requirement in wanted:
        if requirement.marker is None or requirement.marker.evaluate(system):
            assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)])
    assert len(versions.keys() & RUNTIMES) <= 1
    if "onnxruntime-gpu" in versions:
        assert versions.keys() >= LIBRARIES
        assert versions["nvidia-cublas"].startswith("13.")
    for name in versions.keys() & {"tensorrt-cu13", "tensorrt-rtx"}:
        parts = {n: v for n, v in versions.items() if n.startswith(f"{name}-")}
        kinds = {n.rpartition("-")[2] for n in parts}
        assert kinds >= {"libs", "bindings"}
        assert set(parts.values()) == {versions[name]}
    if "gpu-trt" in extras.split(","):
        assert versions["tensorrt-cu13"].startswith("10.")
    if "torch-tensorrt" in versions:
        minors = {versions[name].rsplit(".", 1)[0] for name in ("torch", "torch-tensorrt")}
        assert len(minors) == 1, "torch-tensorrt is of torch's version"
        assert "tensorrt-cu13-libs" in versions
