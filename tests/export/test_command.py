"""`python -m export`, from the arguments to the files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from export.__main__ import main
from export.variants import zoo_bytes
from rtstyle.bench.parity import Limits
from rtstyle.model.file import read_model
from rtstyle.model.spec import ModelSpec
from rtstyle.model.zoo import at_precision, shipped_folder
from rtstyle.variants.feeds import feeds_of, photographs, styles_to_try
from rtstyle.variants.variant import LIMITS


@pytest.fixture
def trainings(tmp_path: Path, tiny_checkpoint: Path) -> Path:
    """A folder as training leaves it: one style with a model card, one without."""
    for name in ("waves", "unfinished"):
        (tmp_path / "trainings" / name).mkdir(parents=True)
        shutil.copy(tiny_checkpoint, tmp_path / "trainings" / name / "checkpoint.safetensors")
    card = {"name": "Waves", "description": "d", "licence": "l", "provenance": {"painting": "p"}}
    (tmp_path / "trainings" / "waves" / "model.json").write_text(json.dumps(card))
    return tmp_path / "trainings"


def test_writes_one_and_compares_it(
    tmp_path: Path, tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "m.onnx"
    message = ["--name", "Waves", "--description", "Blue.", "--licence", "CC0-1.0"]
    assert main(["onnx", str(tiny_checkpoint), "-o", str(output), *message]) == 0
    spec = read_model(output)
    assert (spec.styles, spec.description, spec.licence) == (("Waves",), "Blue.", "CC0-1.0")
    assert spec.provenance["updates"] == 7
    assert spec.provenance["recipe"]["architecture"] == "johnson"
    assert main(["parity", str(output), "--checkpoint", str(tiny_checkpoint)]) == 0
    out = capsys.readouterr().out
    assert "openvino: mean " in out
    assert "onnxruntime: mean " in out


def test_writes_all_that_have_a_model_card(
    tmp_path: Path, trainings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["all", str(trainings), "-o", str(tmp_path / "zoo")]) == 0
    assert [path.name for path in (tmp_path / "zoo").iterdir()] == ["waves.onnx"]
    spec = read_model(tmp_path / "zoo" / "waves.onnx")
    assert spec.styles == ("Waves",)
    assert spec.provenance["painting"] == "p"
    assert "unfinished: left out" in capsys.readouterr().out


def test_tells_what_is_wrong(
    tmp_path: Path, trainings: Path, tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(*arguments: str) -> str:
        assert main(arguments) == 1
        return capsys.readouterr().err

    out = str(tmp_path / "m.onnx")
    assert "no checkpoint" in failing("onnx", "no.safetensors", "-o", out, "--name", "a")
    assert "No folder" in failing("all", str(tmp_path / "zoo"))
    assert "no model file" in failing("parity", "no.onnx")
    (trainings / "waves" / "model.json").write_text("{}")
    assert "must be a JSON object" in failing("all", str(trainings))
    assert main(["onnx", str(tiny_checkpoint)]) == 2
    assert "Missing option" in capsys.readouterr().err
    assert not (tmp_path / "m.onnx").exists()


def test_writes_every_variant_of_a_zoo(
    tmp_path: Path,
    tiny_model: ModelSpec,
    trainings: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Compared with the checkpoint where there is one; found by --precision; not above the size."""
    zoo = tmp_path / "zoo"
    zoo.mkdir()
    for name in ("waves", "other"):
        shutil.copy(tiny_model.path, zoo / f"{name}.onnx")
    message = ["variants", str(zoo), "--checkpoints", str(trainings)]
    assert main([*message, "--model", "waves"]) == 0
    out = capsys.readouterr().out
    assert out.count(" MB, mean ") == 2
    assert "All models and variants: " in out
    model = read_model(zoo / "waves.onnx")
    for precision in ("fp16", "int8"):
        assert at_precision(model, precision).path == zoo / precision / "waves.onnx"
    assert not (zoo / "int8" / "other.onnx").exists()
    monkeypatch.setattr("export.variants.MAX_ZOO_BYTES", 1000)
    assert main([*message, "--precision", "fp16", "-o", str(tmp_path / "new")]) == 1
    assert "at most" in capsys.readouterr().err
    monkeypatch.setitem(LIMITS, "fp16", Limits(0.0, 0.0, 32.0))
    assert main([*message, "--precision", "fp16", "-o", str(tmp_path / "none")]) == 1
    assert "other.onnx: not written. In fp16 the pictures differ" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()
    assert main([*message, "--model", "udnie"]) == 1
    assert "There is no udnie (.onnx)" in capsys.readouterr().err


def test_the_shipped_zoo_is_small_enough_and_its_variants_are_variants() -> None:
    assert zoo_bytes(shipped_folder()) > 1_000_000
    for precision in ("fp16", "int8"):
        for path in (shipped_folder() / precision).glob("*.onnx"):
            at_precision(read_model(shipped_folder() / path.name), precision)


def test_every_style_is_tried() -> None:
    """A model of sixteen styles is calibrated on each alone, and on a mix."""
    gallery = read_model(shipped_folder() / "gallery.onnx")
    photos = photographs(shipped_folder().parent / "samples", gallery)
    feeds = feeds_of(gallery, photos, styles_to_try(gallery, photos))
    styles = np.concatenate([feed["style"] for feed in feeds])
    assert (styles.max(0) == 1).all()
    any_picture = read_model(shipped_folder() / "any_picture.onnx")
    message = styles_to_try(any_picture, photos)
    assert len({style.tobytes() for style in message}) == len(photos)
