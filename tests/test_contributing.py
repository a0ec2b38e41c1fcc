"""The worked examples of CONTRIBUTING.md, executed as they stand there."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from rtstyle.cli.main import app
from rtstyle.engines import ENGINES, open_engine
from rtstyle.media import SINKS, SOURCES, open_sink, open_source
from rtstyle.media.synthetic import SyntheticSource
from rtstyle.model.spec import ModelSpec
from rtstyle.nets import ARCHITECTURES, build_net
from rtstyle.pipeline import Pipeline
from rtstyle.style.style import styles_of
from rtstyle.train.style_losses import STYLE_LOSSES, describe, style_loss, total_distance

PAGE = Path(__file__).parents[1] / "CONTRIBUTING.md"
EXAMPLES = dict(re.findall(r"^```python (\w+)\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S))
TABLES = (ENGINES, SOURCES, SINKS, ARCHITECTURES, STYLE_LOSSES)


@pytest.fixture
def example(request: pytest.FixtureRequest) -> Iterator[None]:
    """Runs the example of the test's parameter as a module; what it registered goes afterwards."""
    name = f"example_{request.param}"
    before = [dict(table) for table in TABLES]
    commands = list(app.registered_commands)
    module = sys.modules[name] = ModuleType(name)
    exec(compile(EXAMPLES[request.param], str(PAGE), "exec"), vars(module))
    yield
    del sys.modules[name]
    app.registered_commands[:] = commands
    for table, rows in zip(TABLES, before, strict=True):
        table.clear()
        table.update(rows)  # type: ignore[arg-type]


def test_every_kind_has_a_short_example() -> None:
    assert set(EXAMPLES) == {"engine", "source", "sink", "net", "loss", "command"}
    for name in ("engine", "source"):
        assert len([line for line in EXAMPLES[name].splitlines() if line.strip()]) < 30


@pytest.mark.parametrize("example", ["engine"], indirect=True)
def test_an_engine(example: None, tiny_model: ModelSpec) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (1, 32, 48, 3), np.uint8)
    with open_engine("negative", tiny_model) as engine:
        pending = engine.submit(frames)
        assert pending.wait(1.0)
        assert np.array_equal(pending.result(), 255 - frames)


@pytest.mark.parametrize("example", ["source"], indirect=True)
def test_a_source(example: None) -> None:
    with open_source("grey") as source:
        images = [frame.image for frame in source.frames()]
    assert [int(image.max()) for image in images] == list(range(0, 200, 20))


@pytest.mark.parametrize("example", ["sink"], indirect=True)
def test_a_sink(example: None, tiny_model: ModelSpec) -> None:
    (style,) = styles_of(tiny_model)
    with (
        SyntheticSource(48, 32, n_frames=3) as source,
        open_engine("identity", tiny_model) as engine,
        open_sink("count", source) as sink,
    ):
        Pipeline(source, engine, sink, style=style).run()
        sink.finish()
        assert sink.notes == ["3 frames were counted"]


@pytest.mark.parametrize("example", ["net"], indirect=True)
def test_a_net(example: None) -> None:
    assert build_net("tint")(torch.rand(1, 3, 8, 8)).shape == (1, 3, 8, 8)


@pytest.mark.parametrize("example", ["loss"], indirect=True)
def test_a_style_loss(example: None) -> None:
    loss = style_loss("mean")
    features = {"relu1_1": torch.rand(1, 4, 8, 8) + 1}
    target = describe(loss, features)
    assert float(total_distance(loss, features, target)) == 0
    assert float(total_distance(loss, {"relu1_1": 2 * features["relu1_1"]}, target)) > 0.5


@pytest.mark.parametrize("example", ["command"], indirect=True)
def test_a_command(example: None, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "one.png"), np.zeros((32, 48, 3), np.uint8))
    result = CliRunner().invoke(app, ["count", str(tmp_path / "one.png")])
    assert result.output == "1 frames\n"
