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
    "rtstyle/importers/",
    "rtstyle/variants/",
    "rtstyle/engines/torch",
    "export/",
    "benchmarks/",
)

MAY_IMPORT_ONNX = ("rtstyle/engines/half.py", "rtstyle/hosts/")  # they rewrite model files

# What each package or module may import of rtstyle besides itself; imports point one way:
# errors ← frame, files ← model ← style ← image, media, engines ← pipeline ← the rest.
BASE = {"closing", "errors", "frame"}
LAYERS = {
    "closing": set[str](),
    "errors": set[str](),
    "frame": {"errors"},
    "files": BASE,
    "channel": BASE,
    "metrics": BASE,
    "plugins": set(),
    "nets": BASE | {"files", "model"},
    "model": BASE | {"files"},
    "style": BASE | {"engines", "files", "image", "media", "model"},
    "lut": BASE | {"files"},
    "image": BASE | {"lut", "model"},
    "steady": BASE,
    "media": BASE | {"channel", "files", "metrics", "plugins"},
    "engines": BASE | {"files", "image", "metrics", "model", "nets", "plugins"},
    "masks": BASE | {"engines", "model", "steady"},
    "upscale": BASE | {"engines", "image", "model"},
    "passes": BASE | {"engines", "image", "masks", "style", "upscale"},
    "pipeline": BASE
    | {"channel", "engines", "image", "masks", "media", "metrics", "passes", "steady", "style"},
    "train": BASE | {"demo", "files", "media", "metrics", "model", "nets", "style"},
    "importers": BASE | {"bench", "engines", "files", "image", "model", "nets", "train"},
    "variants": BASE | {"bench", "engines", "files", "media", "model", "nets", "style"},
    "rendering": BASE
    | {"engines", "files", "image", "masks", "media", "metrics", "model", "passes", "pipeline"}
    | {"steady", "style"},
    "cluster": BASE | {"engines", "files", "media", "metrics", "model", "rendering", "style"},
    "hosts": BASE | {"demo", "engines", "files", "image", "model", "style"},
    "web": BASE | {"files", "live", "model", "style"},
    "live": BASE
    | {"channel", "engines", "files", "image", "masks", "media", "metrics", "model", "passes"}
    | {"pipeline", "steady", "style"},
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
    """The package or loose module of a file of rtstyle: "media" for rtstyle/media/images.py."""
    return path.parts[1].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=str)
def test_only_training_imports_torch(path: Path) -> None:
    if path.as_posix().startswith(MAY_IMPORT_TORCH):
        return
    rewrites = path.as_posix().startswith(MAY_IMPORT_ONNX)
    libraries = TRAINING_LIBRARIES - ({"onnx"} if rewrites else set())
    assert not {name.partition(".")[0] for name in imported(path)} & libraries


@pytest.mark.parametrize("path", [p for p in FILES if p.parts[0] == "rtstyle"], ids=str)
def test_imports_point_one_way(path: Path) -> None:
    names = imported(path)
    assert not {name.partition(".")[0] for name in names} & {"export", "benchmarks", "tests"}
    allowed = LAYERS.get(room(path))
    if allowed is not None:
        rooms = {name.split(".")[1] for name in names if name.startswith("rtstyle.")}
        extra = rooms - allowed - {room(path)}
        assert not extra, f"{path} imports {extra}"


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
