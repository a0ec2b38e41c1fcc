"""`python -m export tflite`: what is converted paints as the engine does, and so does the file."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

import rtstyle
from export.__main__ import main
from export.tflite import _Baked
from rtstyle.demo import sample_photos

SIZE = (64, 96)


@pytest.mark.parametrize("name", ["udnie", "stylebank:udnie", "any_picture"])
def test_the_net_that_is_converted_paints_as_the_engine(name: str) -> None:
    """With its style and its grain inside, from floats to floats, whatever the library is."""
    style = rtstyle.find_style(name if name != "any_picture" else str(_photo_file()))
    picture = np.ascontiguousarray(sample_photos()[0][100:164, 100:196])[None]
    with rtstyle.open_engine("onnxruntime", style.model) as engine:
        expected = engine.submit(picture, style.vector, 1.0).result()
    with torch.inference_mode():
        painted = _Baked(style, SIZE).eval()(torch.from_numpy(picture / np.float32(255))) * 255
    assert np.abs(painted.numpy() - expected).mean() <= 0.5
    assert np.abs(painted.numpy() - expected).max() <= 2


def _photo_file() -> Path:
    return Path(rtstyle.__file__).parent / "samples" / "coffee.jpg"


def test_what_is_refused_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "udnie.tflite"
    command = ["tflite", "udnie", "-o", str(output)]
    assert main([*command, "--size", "97x64"]) == 2
    assert "multiples of 8, not 97x64" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "litert_torch", None)
    assert main([*command, "--size", "96x64"]) == 1
    assert "pip install litert-torch" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(find_spec("litert_torch") is None, reason="litert-torch is not installed")
def test_a_file_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its own gate compares it with the engine on three photographs."""
    output = tmp_path / "udnie.tflite"
    assert main(["tflite", "udnie", "-o", str(output), "--size", "96x64"]) == 0
    assert "99.9%" in capsys.readouterr().out
    assert output.stat().st_size > 100_000
    assert output.read_bytes()[4:8] == b"TFL3"
