"""Packages that add engines, sources and sinks by entry points: the one that CONTRIBUTING.md shows,
installed as a wheel is, and broken ones."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from rtstyle.engines.registry import EngineRow
from rtstyle.plugins import add_rows
from tests.test_contributing import EXAMPLES, PAGE

USE = """
import sys
import numpy as np
from fractions import Fraction
from rtstyle.engines import available_engines, open_engine
from rtstyle.frame import Frame
from rtstyle.media import open_sink, open_source
from rtstyle.style.parse import find_style

assert not any(name.startswith("example_") for name in sys.modules)
assert "negative" in [row.name for row in available_engines()]
frames = np.zeros((1, 32, 48, 3), np.uint8)
style = find_style("starry_night")
with open_engine("negative", style.model) as engine:
    assert (engine.submit(frames, style.vector).result() == 255).all()
with open_source("grey") as source, open_sink("count", source) as sink:
    for frame in source.frames():
        sink.write(frame)
    sink.finish()
print(sink.notes)
"""


def install(folder: Path, points: str, **modules: str) -> None:
    """A package as pip leaves it."""
    info = folder / "example-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: example\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(points)
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)


def test_the_package_of_contributing_is_found(tmp_path: Path) -> None:
    shown = PAGE.read_text("utf-8").split("### A package of your own")[1].split("```")[1]
    groups = tomllib.loads(shown.removeprefix("toml"))["project"]["entry-points"]
    points = "".join(
        f"[{group}]\n" + "".join(f"{name} = {place}\n" for name, place in rows.items())
        for group, rows in groups.items()
    )
    kinds = ("engine", "source", "sink")
    # Without the last line, which puts the row into the table.
    modules = {f"example_{k}": EXAMPLES[k].rstrip().rpartition("\n")[0] for k in kinds}
    install(tmp_path, points, **modules)
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(__file__).parents[1])])
    }
    command = [sys.executable, "-W", "error", "-c", USE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "10 frames were counted" in done.stdout


@pytest.mark.parametrize(
    ("point", "text", "warning"),
    [
        (
            "bad_plugin:row",
            "import nothing_of_that_name",
            r"be loaded \(ModuleNotFoundError",
        ),
        ("bad_plugin:row", "row = 'an engine'", "is a str, where a EngineRow is expected"),
        ("bad_plugin:other", "row = 1", r"cannot be loaded \(AttributeError"),
    ],
)
def test_a_broken_one_costs_a_warning(
    point: str, text: str, warning: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    group = f"rtstyle.{tmp_path.name}"
    install(tmp_path, f"[{group}]\nbad = {point}\n", bad_plugin=text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "bad_plugin", raising=False)
    table = {"mine": EngineRow("a:B")}
    add_rows(table, group, EngineRow)
    assert list(table) == ["mine"]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert re.search(warning, caplog.text)
    add_rows(table, group, EngineRow)  # asked again, it is silent
    assert len(caplog.records) == 1


def test_a_name_that_is_taken_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    text = "from rtstyle.engines.registry import EngineRow\nrow = EngineRow('x:Y')\n"
    install(tmp_path, "[rtstyle.taken]\nmine = same_name:row\n", same_name=text)
    monkeypatch.syspath_prepend(str(tmp_path))
    own = EngineRow("a:B")
    table = {"mine": own}
    add_rows(table, "rtstyle.taken", EngineRow)
    assert table == {"mine": own}
    assert "which rtstyle uses itself" in caplog.text
