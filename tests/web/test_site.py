"""The static site: its files, its models, and what is refused before anything is written."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from rtstyle.errors import InputNotFoundError, ModelError, OutputExistsError
from rtstyle.live.settings import Settings
from rtstyle.model.file import read_model
from rtstyle.model.zoo import shipped_folder
from rtstyle.style.style import Style, styles_of
from rtstyle.web.graph import without_round
from rtstyle.web.plan import plan_painting
from rtstyle.web.runtime import BACKENDS, fetch_runtime, kept_runtime, stored
from rtstyle.web.site import build_site
from tests.graphs import dimming
from tests.serve.dim import DIM


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    """A folder with the names of the runtime's files."""
    folder = tmp_path / "runtime"
    folder.mkdir()
    for names in BACKENDS.values():
        for name in names:
            (folder / stored(name)).write_bytes(name.encode())
    return folder


@pytest.fixture
def styles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Style]:
    monkeypatch.setenv("RTSTYLE_MODELS", str(tmp_path / "none"))
    path = dimming(tmp_path / "dim.onnx", metadata={"rtstyle": json.dumps(DIM)})
    return styles_of(read_model(path))


def build(folder: Path, runtime: Path, styles: list[Style], **options: bool) -> dict[str, int]:
    plan = plan_painting(styles, runtime)
    return build_site(
        folder, plan, styles, Settings(style=styles[0]), thumbnail=lambda style: b"jpeg", **options
    )


def test_a_site_names_every_file_that_it_has(
    tmp_path: Path, runtime: Path, styles: list[Style]
) -> None:
    site = tmp_path / "site"
    sizes = build(site, runtime, styles)
    about = json.loads((site / "gallery.json").read_text())
    assert [row["name"] for row in about["gallery"]] == ["bright", "dark"]
    assert [row["vector"] for row in about["gallery"]] == [[1, 0], [0, 1]]
    named = {row["thumbnail"] for row in about["gallery"]}
    for model in about["here"]["models"].values():
        files = [model["file"], *([model["encoder"]["file"]] if "encoder" in model else [])]
        for file in files:
            assert (site / file["url"]).stat().st_size == file["bytes"]
            named.add(file["url"])
    named.add(about["here"]["masks"]["url"])
    for backend in about["here"]["runtime"].values():
        named |= {backend["module"], backend["glue"], backend["wasm"]["url"]}
    worker = (site / "sw.js").read_text()
    shell = json.loads(re.search(r"SHELL = (\[.*?\]);", worker)[1])  # type: ignore[index]
    named |= {*shell, "sw.js", "index.html"} - {"./"}
    assert named == set(sizes)
    assert all((site / name).is_file() for name in sizes)
    page = (site / "index.html").read_text()
    assert "data-site" in page
    assert "default-src 'self'" in page
    for name in (*shell[1:], "sw.js", "index.html"):
        if name.endswith((".js", ".css", ".html", ".json")):
            text = (site / name).read_text().replace("http://www.w3.org", "")
            assert not re.search(r"https?://[a-z]", text), f"{name} speaks to somebody"


def test_the_version_changes_with_what_is_in_the_site(
    tmp_path: Path, runtime: Path, styles: list[Style]
) -> None:
    def version(site: Path) -> str:
        return re.search(r'VERSION = ("rtstyle-.*?")', (site / "sw.js").read_text())[1]  # type: ignore[index]

    build(tmp_path / "a", runtime, styles)
    build(tmp_path / "b", runtime, styles)
    build(tmp_path / "c", runtime, styles[:1])
    assert version(tmp_path / "a") == version(tmp_path / "b") != version(tmp_path / "c")


def test_a_lighter_model_is_what_processors_paint_with(
    tmp_path: Path, runtime: Path, styles: list[Style]
) -> None:
    dimming(
        tmp_path / "dim_light.onnx",
        metadata={"rtstyle": json.dumps(DIM | {"description": "light"})},
    )
    plan = plan_painting(styles, runtime)
    full, light = plan.models[tmp_path / "dim.onnx"], plan.models[tmp_path / "dim_light.onnx"]
    assert full["light"] == light["id"] != full["id"]
    assert "light" not in light
    dimming(
        tmp_path / "dim_light.onnx", metadata={"rtstyle": json.dumps(DIM | {"styles": ["a", "b"]})}
    )
    assert "light" not in plan_painting(styles, runtime).models[tmp_path / "dim.onnx"]


def test_only_a_site_is_replaced(tmp_path: Path, runtime: Path, styles: list[Style]) -> None:
    site, other = tmp_path / "site", tmp_path / "other"
    build(site, runtime, styles)
    with pytest.raises(OutputExistsError, match="--overwrite"):
        build(site, runtime, styles)
    build(site, runtime, styles, overwrite=True)
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match="not empty"):
        build(other, runtime, styles, overwrite=True)
    assert [path.name for path in other.iterdir()] == ["thesis.txt"]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_no_model_for_browsers_is_said(
    tmp_path: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelError, match="browsers"):
        plan_painting([], runtime)


def test_another_archive_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTSTYLE_CACHE", str(tmp_path))
    other = tmp_path / "onnxruntime-web-1.30.0.tgz"
    other.write_bytes(b"something else")
    with pytest.raises(InputNotFoundError, match="SHA-512"):
        fetch_runtime(other)
    with pytest.raises(InputNotFoundError, match="cannot be read"):
        fetch_runtime(tmp_path / "missing.tgz")
    assert kept_runtime() is None
    assert [path.name for path in tmp_path.iterdir()] == [other.name]


def test_a_model_without_round_paints_the_same_pictures() -> None:
    path = shipped_folder() / "gallery.onnx"
    content = without_round(path.read_bytes())
    assert b"Round" in path.read_bytes()
    assert b"Round" not in content
    frame = np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3)).astype(np.uint8)
    style = np.eye(16, dtype=np.float32)[:1]
    before, after = (
        ort.InferenceSession(model, providers=["CPUExecutionProvider"]).run(
            None, {"frame": frame, "style": style}
        )[0]
        for model in (str(path), content)
    )
    assert np.abs(before.astype(int) - after).max() <= 1
    assert np.mean(before != after) < 0.001
    assert without_round(content) == content
