"""A map and the styles of a bank become a model that paints each region in its own."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from typer.testing import CliRunner

from rtstyle.bench.parity import require_parity
from rtstyle.cli.main import app
from rtstyle.engines import open_engine
from rtstyle.errors import RtstyleError, UsageError
from rtstyle.model.file import read_model
from rtstyle.model.spec import ModelSpec
from rtstyle.nets import build_net
from rtstyle.style.style import styles_of
from rtstyle.train.regions import write_regions
from rtstyle.train.to_onnx import ModelCard, write_model

BLACK, WHITE = (0, 0, 0), (255, 255, 255)


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    torch.manual_seed(1)
    net = build_net("fast-stylebank", styles=2, width=4, deep=8, blocks=1, tail=4)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    path = tmp_path_factory.mktemp("bank") / "bank.onnx"
    card = ModelCard(("a", "b"), licence="CC0-1.0")
    return write_model(net, path, card, architecture="fast-stylebank", check=require_parity)


def _map(path: Path, right: int) -> Path:
    """Black, and from the column `right` of 64 on as white as a JPEG leaves it."""
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:, right:] = 240
    cv2.imwrite(str(path), picture)
    return path


def _paint(
    model: ModelSpec, frame: NDArray[np.uint8], style: NDArray[np.float32] | None = None
) -> NDArray[np.float64]:
    with open_engine("onnxruntime", model) as engine:
        return np.asarray(engine.submit(frame[None], style).result()[0], np.float64)


def test_each_region_is_painted_in_its_style(bank: ModelSpec, tmp_path: Path) -> None:
    a = styles_of(bank)[0]
    map_, output = _map(tmp_path / "map.jpg", right=32), tmp_path / "halves.onnx"
    command = [
        "regions", str(map_), "-o", str(output), "--region", f"black={bank.path}:a",
        "--region", f"white={bank.path}:a=0.2,{bank.path}:b=0.8",
    ]  # fmt: skip
    ran = CliRunner().invoke(app, command)
    assert ran.exit_code == 0, ran.output
    model = read_model(output)
    assert (model.styles, model.style_size, model.licence) == (("halves",), 0, "CC0-1.0")
    assert model.provenance["regions"] == {"#000000": "a", "#ffffff": "a=0.2,b=0.8"}

    frame = np.random.default_rng(0).integers(0, 256, (96, 160, 3), np.uint8)
    painted, left = _paint(model, frame), _paint(bank, frame, a.vector)
    right = _paint(bank, frame, np.float32([[0.2, 0.8]]))
    for half, own, other in ((np.s_[:, :56], left, right), (np.s_[:, 104:], right, left)):
        away, across = (np.abs(painted - whole)[half].mean() for whole in (own, other))
        assert away < 0.5 * across

    for more, message in (
        ([], "exists already"),
        (["-y", "--region", "#000000=udnie"], "given twice"),
    ):
        again = CliRunner().invoke(app, [*command, *more])
        assert isinstance(again.exception, UsageError)
        assert message in str(again.exception)


def test_regions_take_nets_of_several_models_and_the_picture_itself(
    bank: ModelSpec, tmp_path: Path
) -> None:
    torch.manual_seed(2)
    other = write_model(
        build_net("johnson", width=4, blocks=1), tmp_path / "other.onnx", ModelCard(("sea",)),
        architecture="johnson", check=require_parity,
    )  # fmt: skip
    picture = np.zeros((48, 120, 3), np.uint8)
    picture[:, 30:60], picture[:, 60:90], picture[:, 90:] = 255, (0, 0, 255), (255, 0, 0)  # BGR
    cv2.imwrite(str(tmp_path / "map.png"), picture)
    output = tmp_path / "four.onnx"
    command = [
        "regions", str(tmp_path / "map.png"), "-o", str(output), "--region", "black=keep",
        "--region", f"white={bank.path}:b", "--region", f"red={other.path}",
        "--region", f"blue={bank.path}:a=0.5,{bank.path}:b=0.5",
    ]  # fmt: skip
    ran = CliRunner().invoke(app, command)
    assert ran.exit_code == 0, ran.output
    model = read_model(output)
    assert model.provenance["models"] == ["bank.onnx", "other.onnx"]
    assert output.stat().st_size < bank.path.stat().st_size + other.path.stat().st_size + 300_000

    frames = np.random.default_rng(0).integers(0, 256, (2, 64, 240, 3), np.uint8)
    wanted = [frames]
    for spec, vector in (
        (bank, np.float32([[0, 1]])), (other, None), (bank, np.float32([[0.5, 0.5]])),
    ):  # fmt: skip
        wanted.append(np.stack([_paint(spec, frame, vector) for frame in frames]).astype(np.uint8))
    with open_engine("onnxruntime", model) as engine:
        painted = np.asarray(engine.submit(frames, None).result())
    for index, one in enumerate(wanted):
        columns = slice(60 * index + 4, 60 * index + 56)
        difference = np.abs(painted[:, :, columns].astype(int) - one[:, :, columns])
        assert difference.max() <= 1, index


@pytest.mark.parametrize(
    ("region", "message"),
    [
        ("dark=starry_night", "black, white, red"),
        ("white", "does not fit"),
        ("white=no_such_style", "no style"),
        ("white=keep", "At least one region is painted"),
    ],
)
def test_a_wrong_region_is_reported(region: str, message: str, tmp_path: Path) -> None:
    map_ = _map(tmp_path / "map.png", right=20)
    output = tmp_path / "mine.onnx"
    ran = CliRunner().invoke(app, ["regions", str(map_), "-o", str(output), "--region", region])
    assert isinstance(ran.exception, RtstyleError)
    assert message in str(ran.exception)
    assert not output.exists()


def test_a_region_that_the_map_lacks_is_reported(bank: ModelSpec, tmp_path: Path) -> None:
    a, b = styles_of(bank)
    with pytest.raises(UsageError, match="no region of the colour #ff0000"):
        write_regions(
            _map(tmp_path / "map.png", right=32), {BLACK: a, WHITE: b, (255, 0, 0): b},
            tmp_path / "mine.onnx", check=require_parity,
        )  # fmt: skip
