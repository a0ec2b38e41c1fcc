"""Imports point one way, torch stays in its rooms, and no file hides a library."""

from __future__ import annotations

import ast
import sys
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(
    path.relative_to(ROOT)
    for room in ("rtstyle", "export", "benchmarks")
    for path in (ROOT / room).rglob("*.py")
)
TRAINING_LIBRARIES = {"torch", "onnx", "onnxscript", "safetensors", "torchvision"}
MAY_IMPORT_TORCH = (
    "rtstyle/nets/",
    "rtstyle/train/",
    "rtstyle/engines/torch",
    "export/",
    "benchmarks/",
)

# What each room may import of rtstyle, transitively none else: errors ← frame ← model, style,
# channel, metrics ← image, media, engines ← pipeline ← the rest.
BASE = {"errors", "frame"}
LAYERS = {
    "errors": set[str](),
    "frame": {"errors"},
    "wire": set[str](),
    "onnx_header": BASE | {"wire"},
    "onnx_safety": BASE | {"wire"},
    "model_spec": BASE,
    "model_file": BASE | {"model_spec", "onnx_header"},
    "model": BASE | {"model_file", "model_spec"},
    "style": BASE | {"model"},
    "cache": BASE,
    "channel": BASE,
    "metrics": BASE,
    "image": BASE | {"model", "style"},
    "media": BASE | {"media", "channel", "metrics"},
    "precision": BASE | {"model"},
    "engines": BASE
    | {"cache", "engines", "model", "precision", "style", "metrics"}
    | {"onnx_safety"},
    "engine_watch": BASE | {"engines"},
    "pipeline": BASE
    | {"channel", "engine_watch", "engines", "image", "media", "metrics", "model", "style"},
    "segments": BASE | {"segments", "engines", "image", "media", "metrics", "pipeline", "style"},
    "nets": BASE | {"nets"},
    "cluster": BASE | {"cluster", "engines", "media", "metrics", "precision", "segments", "style"},
    "live": BASE
    | {"live", "channel", "engines", "image", "media", "metrics", "model", "pipeline", "style"}
    | {"style_text"},
}


def imported(path: Path, *, when_loaded: bool = False) -> set[str]:
    """Names of all modules that a file imports, or only of those it needs to be loaded."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    nodes = tree.body if when_loaded else ast.walk(tree)
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports relatively"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def room(path: Path) -> str:
    """The room of a file of rtstyle: "media" for rtstyle/media/file.py, "style" for style.py."""
    return path.parts[1].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=str)
def test_only_training_imports_torch(path: Path) -> None:
    if path.as_posix().startswith(MAY_IMPORT_TORCH):
        return
    assert not {name.partition(".")[0] for name in imported(path)} & TRAINING_LIBRARIES


@pytest.mark.parametrize("path", [p for p in FILES if p.parts[0] == "rtstyle"], ids=str)
def test_imports_point_one_way(path: Path) -> None:
    names = imported(path)
    assert not {name.partition(".")[0] for name in names} & {"export", "benchmarks", "tests"}
    if path.as_posix().startswith("rtstyle/engines/torch"):
        return  # the one engine that runs what training left
    allowed = LAYERS.get(room(path))
    if allowed is not None:
        rooms = {name.split(".")[1] for name in names if name.startswith("rtstyle.")}
        assert rooms <= allowed, f"{path} imports {rooms - allowed}"


def test_media_and_engines_never_meet() -> None:
    for one, other in (("media", "engines"), ("engines", "media")):
        for path in FILES:
            if path.parts[:2] == ("rtstyle", one):
                assert not [n for n in imported(path) if n.startswith(f"rtstyle.{other}")]


def test_no_file_is_named_like_a_library() -> None:
    libraries = set(sys.stdlib_module_names) | set(metadata.packages_distributions())
    allowed = {"__init__", "__main__"}
    for path in FILES:
        if path.parts[0] == "rtstyle" and path.stem not in allowed:
            used = {name.partition(".")[0] for name in imported(path)}
            assert path.stem not in libraries & (used | TRAINING_LIBRARIES), path


def test_only_tests_are_called_tests() -> None:
    assert not [path for path in FILES if path.name.startswith("test_")]
