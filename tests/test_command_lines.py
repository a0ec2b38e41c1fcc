"""Every command line of the pages runs here on small material, runs in a test that is named below,
or is marked on its page as needing what is not here.

A mark is for readers, too: `# needs a GPU` in a line of code, `(needs a GPU)` or "not run" in the
row of a table or the line of a text, "not run here" in the heading of a section.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import cv2
import numpy as np
import pytest
import typer
from click import Group
from typer.testing import CliRunner

import rtstyle.demo
from benchmarks.__main__ import BENCHMARKS
from rtstyle.cli.main import app
from rtstyle.media.devices import webcam
from rtstyle.media.devices.cameras import Camera
from rtstyle.media.options import CameraMode
from rtstyle.model.spec import ModelSpec
from rtstyle.style.parse import find_style
from rtstyle.web.runtime import BACKENDS, stored
from tests.media.clips import Clip, make_clip
from tests.media.test_live_contract import pattern_device
from tests.test_docs import PAGES
from tests.train.materials import make_loss_net, make_painting, make_photos

ROOT = Path(__file__).parents[1]
STYLES_OF_USERS = (".onnx", ".jpg", ".png")
_BLOCK = re.compile(r"^(?:\.venv/bin/|\$ )?(rtstyle .*|python -m (?:benchmarks|export) .*)$")
_INLINE = re.compile(r"`(rtstyle (?:--?[a-z]+|[a-z-]+ [^`]+))`")  # `rtstyle live` is but a name
_MARK = re.compile(r"(?:# |\()needs |\bnot run\b")

# What makes seconds out of a command that takes minutes; command and material stay the same.
SHORT = {
    "bench": "--style mine.onnx --engine openvino --size 64x48 --level engine --seconds 0.05",
    "export": "-o written.onnx",
    "live": "--duration 0.3 --port 0",
    "paint": "--steps 2 --size 64 --style-size 64 -q --threads 1",
    "render": "-q -y --threads 1",
}
STAND_INS = {
    "MODEL": "mine.onnx", "DIR": "photos", "CHECKPOINT": "checkpoint.safetensors",
}  # fmt: skip
# What other tests run, with options of their own or by the library.
ELSEWHERE = {
    "rtstyle render --cluster auto": "cluster/test_cluster.py several_videos_without_a_shared_disk",
    "rtstyle render - -": "cli/test_pipes.py pipes_at_both_ends_give_what_a_file_does",
    "rtstyle serve": "serve/test_running.py sigterm_says_goodbye_and_ends_well",
    "rtstyle gpu-check": "bench/test_gpu_check.py the_command_without_a_gpu",
    "rtstyle regions map.png -o sky": "train/test_regions.py each_region_is_painted_in_its_style",
    "rtstyle regions map.png -o half": "train/test_regions.py "
    "regions_take_nets_of_several_models_and_the_picture_itself",
    "rtstyle train painting.jpg": "test_systems.py the_command_runs",
    "rtstyle train --teacher": "train/test_ways.py what_a_teacher_fails_at_is_told_and_tried_again",
    "rtstyle train --distil": "train/test_ways.py a_smaller_net_learns_every_style_of_a_larger_one",
    "rtstyle train --keyframe": "train/test_ways.py a_painted_frame_teaches_the_rest_of_the_video",
    "rtstyle train --unpaired": "train/test_ways.py a_collection_is_learnt_without_pairs",
    "rtstyle import candy.pth": "importers/test_command.py a_checkpoint_becomes_a_model_file",
    "rtstyle import decoder.pth": "importers/test_parity.py an_import_paints_as_the_original",
    "rtstyle import net.onnx": "importers/test_command.py onnx_files_of_any_range",
    "python -m benchmarks results": "benchmarks/test_catalogue.py the_page_shows_one_machine",
    "python -m export variants": "export/test_command.py writes_every_variant_of_a_zoo",
}


@dataclass(frozen=True)
class Line:
    """A command line of a page, and whether it is marked as needing what is not here."""

    page: str
    text: str
    is_marked: bool

    @property
    def words(self) -> list[str]:
        """Its arguments: without a comment, and what it is piped into."""
        words = shlex.split(self.text, comments=True)
        ends = [n for n, word in enumerate(words) if word in ("|", "&", ">", "…")]
        return words[: min(ends, default=len(words))]


def command_lines(page: str) -> Iterator[Line]:
    """Those of code blocks, fenced or indented, and those between backticks."""
    fenced, heading = False, ""
    text = (ROOT / page).read_text(encoding="utf-8")
    # what is between backticks may go on in the next line
    text = re.sub(r"`rtstyle [^`\n]*\n[^`\n]*`", lambda m: m[0].replace("\n", " "), text)
    for line in text.splitlines():
        is_marked = bool(_MARK.search(line) or "not run here" in heading)
        if line.startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            parts = re.split(r" && | \| ", line.strip())
            found = [m[1] for part in parts if (m := _BLOCK.match(part))]
            yield from (Line(page, command, is_marked) for command in found)
        else:
            heading = line if line.startswith("#") else heading
            yield from (Line(page, command, is_marked) for command in _INLINE.findall(line))


LINES = [line for page in PAGES for line in command_lines(page)]
# docs/systems.md has a test of its own, tests/test_systems.py.
TO_RUN = {
    line.text: line for line in LINES if line.page != "docs/systems.md" and not line.is_marked
}


def _elsewhere(text: str) -> str | None:
    return next((test for start, test in ELSEWHERE.items() if text.startswith(start)), None)


def test_there_are_command_lines() -> None:
    assert sum(line.text.startswith("rtstyle ") for line in LINES) > 100
    assert len(TO_RUN) > 50


@pytest.mark.parametrize(("start", "test"), ELSEWHERE.items())
def test_what_is_run_elsewhere_is(start: str, test: str) -> None:
    assert any(text.startswith(start) for text in TO_RUN), "no page has it"
    file, _, name = test.partition(" ")
    assert f"def test_{name}(" in (ROOT / "tests" / file).read_text(encoding="utf-8")


@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{line.page}: {line.text}")
def test_a_command_line_is_what_the_program_takes(line: Line) -> None:
    words = line.words
    if words[0] == "python":
        names = set(BENCHMARKS) if words[2] == "benchmarks" else _exports()
        assert words[3] in names
        return
    command = typer.main.get_command(app)
    if words[1].startswith("-"):  # what acts while it is read, as --install-completion does
        assert words[1] in {"--help", *(name for known in command.params for name in known.opts)}
        return
    context, rest = command.make_context("rtstyle", words[1:]), []
    while hasattr(command, "commands"):
        name, command, rest = cast("Group", command).resolve_command(
            context, [*context._protected_args, *context.args]
        )
        context = command.make_context(name, rest, parent=context)
    style = context.params.get("style")
    if isinstance(style, str) and not style.endswith(STYLES_OF_USERS):
        find_style(style)


def _exports() -> set[str]:
    from export.__main__ import app as export_app

    return set(cast("Group", typer.main.get_command(export_app)).commands)


@pytest.fixture(scope="module")
def material(
    tmp_path_factory: pytest.TempPathFactory, tiny_model: ModelSpec, tiny_checkpoint: Path
) -> Path:
    """All that the commands read, as small as it can be."""
    folder = tmp_path_factory.mktemp("pages")
    second = 12_800
    for name in ("holiday.mp4", "holiday.mov", "film.mp4"):
        make_clip(folder / name, Clip(times=range(0, 100 * second, second)))
    (folder / "films").mkdir()
    for name in ("me.mp4", "in.mp4", "a.mp4", "films/b.mkv"):
        make_clip(folder / name)
    photo = cv2.imread(str(make_photos(folder / "photos") / "photo0.png"))
    for name in ("portrait.jpg", "photo.jpg", *(f"frames_{n:05d}.png" for n in range(3))):
        cv2.imwrite(str(folder / name), photo)
    painting = cv2.imread(str(make_painting(folder / "painting.png")))
    for name in ("painting.jpg", "my_painting.jpg"):
        cv2.imwrite(str(folder / name), painting)
    cv2.imwrite(str(folder / "map.png"), np.repeat(np.uint8([[0], [255]]), 32, 0).repeat(48, 1))
    for name in ("vgg.safetensors", "vgg19_16x.safetensors"):
        make_loss_net(folder / name)
    for name in ("mine.onnx", "sky.onnx", "bold.onnx", "monet.onnx"):
        shutil.copy(tiny_model.path, folder / name)
    shutil.copy(tiny_checkpoint, folder / "checkpoint.safetensors")
    page = (ROOT / "docs" / "scenes.md").read_text(encoding="utf-8")
    (scenes,) = re.findall(r"^```toml\n(\[day\].*?)^```$", page, re.MULTILINE | re.DOTALL)
    (folder / "scenes.toml").write_text(scenes, encoding="utf-8")
    (folder / "runtime").mkdir()  # in place of onnxruntime-web, which npm would fetch
    for name in chain.from_iterable(BACKENDS.values()):
        (folder / "runtime" / stored(name)).write_bytes(b"")
    return folder


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """A camera, a virtual camera and a display, which the machine need not have."""
    camera = Camera("/dev/video0", "Camera", (CameraMode(64, 48, 25),))
    monkeypatch.setattr(webcam, "find_cameras", lambda: [camera])
    monkeypatch.setattr(webcam, "AvDevice", pattern_device)
    virtual = SimpleNamespace(device="/dev/video9", send=lambda image: None, close=lambda: None)
    library = SimpleNamespace(
        Camera=lambda **options: virtual, PixelFormat=SimpleNamespace(RGB="rgb")
    )
    monkeypatch.setitem(sys.modules, "pyvirtualcam", library)  # type: ignore[arg-type]
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setenv("DISPLAY", ":0")


@pytest.mark.parametrize("text", [text for text in TO_RUN if _elsewhere(text) is None])
def test_a_command_line_runs(
    text: str,
    material: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    stand_in = re.compile("|".join(STAND_INS))
    words = [stand_in.sub(lambda m: STAND_INS[m[0]], word) for word in TO_RUN[text].words]
    if words[1] == "live":
        request.getfixturevalue("devices")
    outputs = [after for word, after in pairwise(words) if word == "-o"]
    for path in material.iterdir():
        if path.name not in outputs:
            (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RTSTYLE_QUEUE_FILE", str(material.with_name("queue.db")))
    monkeypatch.setattr("rtstyle.web.runtime.fetch_runtime", lambda _: material / "runtime")
    monkeypatch.setattr("shellingham.detect_shell", lambda: ("bash", "/bin/bash"))
    for name, value in {"WIDTH": 64, "HEIGHT": 48, "SECONDS_EACH": 0.5, "FADE": 0.1}.items():
        monkeypatch.setattr(rtstyle.demo, name, value)
    done = CliRunner().invoke(app, [*words[1:], *shlex.split(SHORT.get(words[1], ""))])
    assert done.exit_code == 0, f"{done.output}\n{done.exception}"
