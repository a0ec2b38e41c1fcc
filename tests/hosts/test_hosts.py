"""Files for other programs: held to the engine's picture in the runtimes that those bring."""

from __future__ import annotations

import ast
import importlib.util
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

import rtstyle
from rtstyle.demo import sample_photos
from rtstyle.errors import ModelError, OutputExistsError, UsageError
from rtstyle.hosts import HOSTS, export_for
from rtstyle.hosts.bake import Form, bake
from rtstyle.image import Look, finish, prepare
from rtstyle.style.style import Style

ROOT = Path(__file__).parents[2]
SIZE = (90, 126)  # neither is a multiple of any net's stride


@pytest.fixture(scope="module")
def gallery() -> Style:
    return rtstyle.find_style("udnie=0.6,scream=0.4")


def _photo(height: int, width: int) -> np.ndarray:
    return cv2.resize(sample_photos()[1], (width, height), interpolation=cv2.INTER_AREA)


def _engine_paints(style: Style, photo: np.ndarray) -> np.ndarray:
    with rtstyle.open_engine("onnxruntime", style.model) as engine:
        batch = prepare(photo, model=style.model, look=Look())
        painted = engine.submit(batch, style.vector, 1.0).result()
    return finish(painted, photo, model=style.model, look=Look())


@pytest.mark.parametrize("host", HOSTS)
def test_a_host_paints_as_the_engine_does(host: str, gallery: Style, tmp_path: Path) -> None:
    written = export_for(host, gallery, tmp_path / "mix.onnx", size=SIZE)
    assert written.mean <= 0.05
    assert written.p999 <= 1
    assert written.model.stat().st_size > 1_000_000
    text = written.snippet.read_text()
    assert "mix.onnx" in text
    assert not re.search("@[A-Z]+@", text)  # no word is left to fill in
    if host == "ffmpeg":  # by itself it takes them for (N, H, W, C)
        assert ":layout=nchw" in text
    if written.snippet.suffix in (".py", ".vpy"):
        ast.parse(text)
    graph = onnx.load(written.model).graph
    assert [value.name for value in (*graph.input, *graph.output)] == ["input", "output"]
    assert {node.domain for node in graph.node} == {""}  # no runtime's own operators


@pytest.mark.parametrize("name", ["stylebank:udnie", "starry_night", "sanguine_johnson32:sanguine"])
def test_a_net_of_every_kind_takes_any_size(name: str) -> None:
    style = rtstyle.find_style(name)
    session = ort.InferenceSession(
        bake(style, Form(255.0, "BGR")).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    for height, width in (SIZE, (64, 40)):
        photo = _photo(height, width)
        planes = photo[..., ::-1].astype(np.float32).transpose(2, 0, 1)[None]
        (painted,) = session.run(["output"], {"input": planes})
        levels = painted[0, ::-1].transpose(1, 2, 0)
        expected = _engine_paints(style, photo).astype(np.float32)
        assert np.abs(levels - expected).mean() < 0.05


def test_a_fixed_size_folds_every_shape_away(gallery: Style) -> None:
    kinds = {node.op_type for node in bake(gallery, Form(), SIZE).graph.node}
    assert not kinds & {"Shape", "Range", "Mod", "GatherND", "MatMul", "Cast"}


def test_a_net_of_one_size_is_written_for_it_alone(gallery: Style, tmp_path: Path) -> None:
    fixed = replace(gallery, model=replace(gallery.model, size=(96, 128)))
    written = export_for("ffmpeg", fixed, tmp_path / "mix.onnx")
    assert "scale=128:96," in written.snippet.read_text()
    with pytest.raises(UsageError, match="paints 128×96 alone"):
        export_for("ffmpeg", fixed, tmp_path / "other.onnx", size=(64, 64))


def test_snippets_of_python_run(gallery: Style, tmp_path: Path) -> None:
    """The lines of the OpenCV and the ONNX Runtime host, as a user would run them."""
    photo = _photo(*SIZE)
    cv2.imwrite(str(tmp_path / "in.jpg"), photo[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100])
    decoded = cv2.imread(str(tmp_path / "in.jpg"))[..., ::-1]
    expected = _engine_paints(gallery, np.ascontiguousarray(decoded)).astype(np.float32)
    for host in ("opencv", "onnxruntime"):
        written = export_for(host, gallery, tmp_path / f"{host}.onnx", size=SIZE)
        subprocess.run([sys.executable, written.snippet], cwd=tmp_path, check=True, timeout=60)
        painted = cv2.imread(str(tmp_path / "out.png"))[..., ::-1].astype(np.float32)
        assert np.abs(painted - expected).mean() < 0.1


def test_the_comfyui_node_paints(
    gallery: Style, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against ComfyUI's interface as its documentation gives it; the program is not here."""
    export_for("comfyui", gallery, _made(tmp_path))
    paths = ModuleType("folder_paths")
    folders: dict[str, str] = {}
    paths.models_dir = str(tmp_path)  # type: ignore[attr-defined]
    paths.add_model_folder_path = folders.__setitem__  # type: ignore[attr-defined]
    paths.get_filename_list = lambda kind: sorted(  # type: ignore[attr-defined]
        path.name for path in Path(folders[kind]).glob("*.onnx")
    )
    paths.get_full_path = lambda kind, name: str(Path(folders[kind]) / name)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "folder_paths", paths)
    node_file = ROOT / "integrations" / "comfyui" / "rtstyle_node.py"
    spec = importlib.util.spec_from_file_location("rtstyle_node", node_file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (node_class,) = module.NODE_CLASS_MAPPINGS.values()
    assert node_class.INPUT_TYPES()["required"]["style"] == (["mix.onnx"],)
    photo = _photo(*SIZE)
    image = torch.from_numpy(photo.astype(np.float32) / 255)[None].repeat(2, 1, 1, 1)
    (painted,) = getattr(node_class(), node_class.FUNCTION)(image, "mix.onnx", 1.0)
    assert painted.shape == image.shape
    expected = _engine_paints(gallery, photo).astype(np.float32)
    assert np.abs(painted[1].numpy() * 255 - expected).mean() < 0.05
    (unpainted,) = node_class().paint(image, "mix.onnx", 0.0)
    assert torch.equal(unpainted, image)


def _made(folder: Path) -> Path:
    (folder / "rtstyle").mkdir()
    return folder / "rtstyle" / "mix.onnx"


def test_javascript_parses(tmp_path: Path, gallery: Style) -> None:
    if (node := shutil.which("node")) is None:
        pytest.skip("node is not installed")
    written = export_for("javascript", gallery, tmp_path / "mix.onnx", size=SIZE)
    subprocess.run([node, "--check", written.snippet], check=True, timeout=60)


@pytest.mark.parametrize(
    ("host", "name", "size", "sentence"),
    [
        ("photoshop", "mix.onnx", SIZE, "no host 'photoshop'"),
        ("tflite", "mix.tflite", SIZE, "python -m export tflite"),
        ("opencv", "mix.onnx", None, "one size alone"),
        ("opencv", "mix.bin", SIZE, "end its name in .onnx"),
        ("opencv", "mix.onnx", (8, 300), "32 pixels a side"),
    ],
)
def test_what_is_refused_writes_nothing(
    host: str,
    name: str,
    size: tuple[int, int] | None,
    sentence: str,
    gallery: Style,
    tmp_path: Path,
) -> None:
    with pytest.raises(UsageError, match=sentence):
        export_for(host, gallery, tmp_path / name, size=size)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_there_is_kept(gallery: Style, tmp_path: Path) -> None:
    (tmp_path / "mix_in_csharp.cs").write_text("mine")
    with pytest.raises(OutputExistsError, match=r"mix_in_csharp\.cs"):
        export_for("csharp", gallery, tmp_path / "mix.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["mix_in_csharp.cs"]


def test_a_host_that_paints_otherwise_gets_no_file(
    gallery: Style, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grey = rtstyle.hosts.Host(Form(), lambda model: np.zeros_like, ".txt")
    monkeypatch.setitem(HOSTS, "grey", grey)
    with pytest.raises(ModelError, match="grey levels away"):
        export_for("grey", gallery, tmp_path / "mix.onnx")
    assert not list(tmp_path.iterdir())
