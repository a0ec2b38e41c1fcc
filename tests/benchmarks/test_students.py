"""How near nets are to what taught them: kernel distances, and both commands on a tiny net."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from benchmarks import students, unpaired
from benchmarks.unpaired import kernel_distance
from rtstyle.errors import UsageError
from rtstyle.model.spec import ModelSpec
from tests.train.materials import make_alexnet


def _folder(path: Path, *, seed: int, count: int = 3) -> Path:
    path.mkdir()
    rng = np.random.default_rng(seed)
    for index in range(count):
        small = rng.integers(0, 256, (6, 6, 3)).astype(np.uint8)
        cv2.imwrite(str(path / f"{index}.png"), cv2.resize(small, (96, 96)))
    return path


def test_the_kernel_distance_is_without_bias_and_sees_a_shift() -> None:
    """Samples of one kind are at 0 on the mean, as Bińkowski et al. say; others are not."""
    rng = torch.Generator().manual_seed(0)
    alike = [
        kernel_distance(torch.randn(20, 8, generator=rng), torch.randn(30, 8, generator=rng))
        for _ in range(300)
    ]
    spread = float(np.std(alike) / np.sqrt(len(alike)))
    assert abs(np.mean(alike)) < 4 * spread
    x, y = torch.randn(20, 8, generator=rng), torch.randn(30, 8, generator=rng) + 1
    expected = 0.0
    for a, b in ((x, x), (y, y)):
        pairs = [(p, q) for i, p in enumerate(a) for j, q in enumerate(b) if i != j]
        expected += sum(float((p @ q / 8 + 1) ** 3) for p, q in pairs) / len(pairs)
    expected -= 2 * float(np.mean([[float((p @ q / 8 + 1) ** 3) for q in y] for p in x]))
    assert kernel_distance(x, y) == pytest.approx(expected, rel=1e-4)
    assert expected > 10 * np.std(alike)


def test_a_net_is_measured_against_a_collection(
    tiny_model: ModelSpec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, paintings = _folder(tmp_path / "a", seed=1), _folder(tmp_path / "b", seed=2)
    judge, sheet = make_alexnet(tmp_path / "alexnet.safetensors"), tmp_path / "sheet.png"
    argv = ["--photos", str(photos), "--alexnet", str(judge), "--model", str(tiny_model.path)]
    assert unpaired.main([*argv, "--paintings", str(paintings), "--out", str(sheet)]) == 0
    told = capsys.readouterr().out
    assert "3 photographs, 3 paintings" in told
    assert re.search(r"KID -?\d+\.\d{4}, -?\d+% of the photographs'; LPIPS .* \d\.\d{3}", told)
    assert sheet.stat().st_size > 0
    with pytest.raises(UsageError, match="holds 1 pictures; 2 or more"):
        unpaired.main([*argv, "--paintings", str(_folder(tmp_path / "c", seed=3, count=1))])


def test_a_student_is_measured_against_its_teacher(
    tiny_model: ModelSpec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = _folder(tmp_path / "a", seed=1), _folder(tmp_path / "b", seed=2)
    judge = make_alexnet(tmp_path / "alexnet.safetensors")
    assert students.main([
        "--before", str(before), "--after", str(after), "--alexnet", str(judge), "--all",
        "--model", str(tiny_model.path), "--out", str(tmp_path / "sheet.png"),
        "--teacher", "cp {input} {output}",
    ]) == 0  # fmt: skip
    told = capsys.readouterr().out
    assert "3 pairs" in told
    assert told.count("LPIPS to the teacher") == 2
    assert re.search(r"\d\.\d\d s a picture by the teacher, \d+\.\d ms .*: \d+ times faster", told)
