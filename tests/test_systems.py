"""docs/systems.md: a row for each of 42 systems, and the commands that can run without more do."""

from __future__ import annotations

import shlex
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from rtstyle.cli.main import app
from rtstyle.lut import learn, write_cube
from tests.train.materials import make_loss_net, make_painting, make_photos

PAGE = Path(__file__).parents[1] / "docs" / "systems.md"
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in PAGE.read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| system")
]
COMMANDS = {row[0]: row[2].strip("`") for row in ROWS if row[2].startswith("`")}
# What makes a training of seconds out of one of hours; commands and material stay the same.
SHORT = "--updates 1 --batch 1 --crop 64 --style-size 64 --stability-weight 0 -q --threads 1"
NETS = {
    "--cin": "--net johnson --net-option width=4 --net-option blocks=1",
    "--bank": "--net stylebank --net-option width=4",
    "texture-pyramid": "--net-option width=4 --net-option scales=3",
}


def needs_more(command: str) -> bool:
    """Whether the user must bring a program or weights that are not here."""
    return "--teacher" in command or "--clip" in command


# An encoder has the widths of a loss net of full size, a minute's work; tests/train/test_job.py
# trains a small one.
FAST = [
    name
    for name, c in COMMANDS.items()
    if not needs_more(c)
    and "--adain" not in c
    and not ("--ink" in c and "--method" in c)  # each is in a row of its own
]


def test_there_is_a_row_for_every_system() -> None:
    assert len(ROWS) == 42
    assert all(len(row) == 5 and all(row) for row in ROWS)
    assert len({row[0] for row in ROWS}) == 42
    for name, command in COMMANDS.items():
        assert command.startswith(("rtstyle train ", "rtstyle paint ", "rtstyle render ")), name


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("systems")
    make_photos(folder / "photos", 3)
    make_painting(folder / "painting.png")
    make_loss_net(folder / "vgg.safetensors")
    (folder / "paintings").mkdir()
    for i in range(8):
        make_painting(folder / "paintings" / f"p{i}.png", step=4 + i)
    cv2.imwrite(str(folder / "photo.png"), cv2.imread(str(folder / "photos" / "photo0.png")))
    colours = np.random.default_rng(0).integers(0, 256, (2, 500, 3), np.uint8)
    write_cube(learn(*colours), folder / "film.cube", title="film", overwrite=True)
    return folder


@pytest.mark.parametrize("system", FAST)
def test_the_command_runs(
    system: str, material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in material.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    # that exported nets paint as they did is held by tests/train
    monkeypatch.setattr("rtstyle.bench.parity.require_parity", lambda *given, **named: None)
    arguments = shlex.split(COMMANDS[system])[1:]
    if arguments[0] == "train":
        arguments += shlex.split(SHORT)
        nets = [extra for key, extra in NETS.items() if key in arguments]
        small = nets[0] if nets else "--net-option width=4 --net-option blocks=1"
        if not nets and "johnson" not in arguments:
            small += " --net johnson"
        arguments += shlex.split(small)
    elif arguments[0] == "paint":
        arguments += shlex.split("--steps 2 --size 64 --style-size 64 -q --threads 1")
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    output = next(a for a in arguments if a.endswith((".onnx", "out.png")))
    assert (tmp_path / output).stat().st_size > 100


@pytest.mark.parametrize("system", [name for name, c in COMMANDS.items() if needs_more(c)])
def test_a_command_that_needs_more_is_understood(
    system: str, material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(material)
    arguments = shlex.split(COMMANDS[system])[1:]
    done = CliRunner().invoke(app, [*arguments, "-q", "--work", str(tmp_path), "--init", "none"])
    # the options fit, and what is missing is said: the script fails, or there is no CLIP
    assert done.exit_code != 2
    assert "painted none" in str(done.exception) or "There is no CLIP" in str(done.exception)
