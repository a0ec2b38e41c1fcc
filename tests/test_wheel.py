"""What the wheel holds: the program, its models and samples, and nothing of the repository else."""

from __future__ import annotations

from pathlib import Path
from zipfile import ZipFile

import pytest

import rtstyle
from rtstyle.model.zoo import shipped_folder

ROOT = Path(__file__).parents[1]
DIST_INFO = f"rtstyle-{rtstyle.__version__}.dist-info"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    builders = pytest.importorskip("hatchling.builders.wheel", reason="hatchling is not installed")
    folder = tmp_path_factory.mktemp("wheel")
    (built,) = builders.WheelBuilder(str(ROOT)).build(directory=str(folder))
    return Path(built)


def test_the_wheel_is_small_and_has_no_material_of_tests_or_trainings(wheel: Path) -> None:
    assert wheel.stat().st_size <= 36e6
    with ZipFile(wheel) as file:
        names = file.namelist()
    assert {name.split("/")[0] for name in names} == {"rtstyle", DIST_INFO}
    suffixes = {Path(name).suffix for name in names}
    assert not suffixes & {".safetensors", ".pth", ".pt", ".csv", ".mp4", ".mkv", ".npy", ".npz"}
    assert not [name for name in names if "test" in name.lower() or "checkpoints" in name]


def test_the_wheel_paints_by_itself(wheel: Path) -> None:
    """Every model with its variants, the photographs, the page and the snippets are in it."""
    with ZipFile(wheel) as file:
        names = set(file.namelist())
    models = [
        path.relative_to(shipped_folder().parent) for path in shipped_folder().rglob("*.onnx")
    ]
    assert len(models) > 10
    expected = {f"rtstyle/{path.as_posix()}" for path in models}
    expected |= {
        "rtstyle/py.typed", "rtstyle/samples/astronaut.jpg", "rtstyle/serve/page/index.html",
        "rtstyle/hosts/snippets/vapoursynth.txt", f"{DIST_INFO}/licenses/NOTICE",
    }  # fmt: skip
    assert expected <= names
