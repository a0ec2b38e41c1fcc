"""`python -m export`, from the arguments to the files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from export.__main__ import main
from rtstyle.model import read_model


@pytest.fixture
def trainings(tmp_path: Path, tiny_checkpoint: Path) -> Path:
    """A folder as training leaves it: one style with a card, one without."""
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
    told = ["--name", "Waves", "--description", "Blue.", "--licence", "CC0-1.0"]
    assert main(["onnx", str(tiny_checkpoint), "-o", str(output), *told]) == 0
    spec = read_model(output)
    assert (spec.styles, spec.description, spec.licence) == (("Waves",), "Blue.", "CC0-1.0")
    assert spec.provenance["updates"] == 7
    assert spec.provenance["recipe"]["architecture"] == "johnson"
    assert main(["parity", str(output), "--checkpoint", str(tiny_checkpoint)]) == 0
    out = capsys.readouterr().out
    assert "openvino: mean " in out
    assert "onnxruntime: mean " in out


def test_writes_all_that_have_a_card(
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
    with pytest.raises(SystemExit):
        main(["onnx", str(tiny_checkpoint)])
    assert not (tmp_path / "m.onnx").exists()
