"""Changes at exact frames, which kills and a cluster do not show, and where films are cut."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from rtstyle.errors import UsageError
from rtstyle.image import Look
from rtstyle.media import ReadOptions, open_source
from rtstyle.model.file import read_model
from rtstyle.passes import Passes
from rtstyle.rendering.api import render
from rtstyle.rendering.cuts import find_cuts
from rtstyle.rendering.timeline import Change, Timeline
from rtstyle.style.style import Style, styles_of
from tests.graphs import dimming
from tests.media.clips import Clip, make_clip, picture
from tests.serve.dim import DIM

TEN = [Fraction(n, 100) for n in (307, 710, 1200, 1804, 2499, 3001, 3648, 4216, 5000, 5604)]


@pytest.fixture(scope="module")
def dim(tmp_path_factory: pytest.TempPathFactory) -> list[Style]:
    """Bright, which copies, and dark, which paints black."""
    path = tmp_path_factory.mktemp("dim") / "dim.onnx"
    return styles_of(read_model(dimming(path, metadata={"rtstyle": json.dumps(DIM)})))


@pytest.fixture(scope="module")
def minute(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of ten frames a second."""
    clip = Clip(range(0, 600 * 1280, 1280), keyframe_every=20)
    return make_clip(tmp_path_factory.mktemp("minute") / "a.mp4", clip)


def _run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rtstyle", "render", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_ten_changes_are_each_at_the_first_frame_of_their_time(
    minute: Path, dim: list[Style], tmp_path: Path
) -> None:
    model, at = dim[0].model.path, list[str]()
    for number, time in enumerate(TEN):
        at += ["--at", f"{float(time):g}", f"style={model}:{('dark', 'bright')[number % 2]}"]
    output = tmp_path / "o.mkv"
    done = _run(minute, output, "-s", f"{model}:bright", *at,
                "--engine", "onnxruntime", "--preset", "ultrafast", "--steady", "1")  # fmt: skip
    assert done.returncode == 0, done.stderr
    with open_source(output) as source:
        dark = {frame.time: frame.image.mean() < 20 for frame in source.frames()}
    changed = [t for before, t in pairwise(dark) if dark[before] != dark[t]]
    assert len(dark) == 600
    assert changed == [Fraction(-(-int(t * 100) // 10), 10) for t in TEN]


def test_two_kills_change_no_byte(minute: Path, tmp_path: Path) -> None:
    """With fades within a model and between two, another stroke, and a filter with a memory."""
    options = [
        "-s", "udnie", "-t", "12", "--steady", "0.5", "--segment", "1", "--threads", "1",
        "--preset", "ultrafast", "--at", "2", "style=stylebank:udnie", "fade=1.5",
        "--at", "5.05", "style=scream", "strength=0.5", "--at", "7", "style=great_wave", "fade=1",
        "--at", "9", "stroke=0.6", "fade=0.4",
    ]  # fmt: skip
    whole, killed = tmp_path / "whole.mp4", tmp_path / "killed.mp4"
    assert _run(minute, whole, *options).returncode == 0
    assert _run(minute, tmp_path / "again.mp4", *options).returncode == 0
    assert (tmp_path / "again.mp4").read_bytes() == whole.read_bytes()
    for frame in (33, 40):
        code = (
            "import os, signal, sys\n"
            "from rtstyle.metrics import Report\n"
            "from rtstyle.rendering import encode\n"
            "write = encode.SegmentsSink.write\n"
            "n = 0\n"
            "def count(self, frame):\n"
            "    global n\n"
            "    n += 1\n"
            f"    os.kill(os.getpid(), signal.SIGKILL) if n == {frame} else write(self, frame)\n"
            "encode.SegmentsSink.write = count\n"
            "from rtstyle.cli.main import main; main()\n"
        )
        arguments = [sys.executable, "-c", code, "render", str(minute), str(killed), *options]
        assert subprocess.run(arguments, check=False, timeout=300).returncode == -signal.SIGKILL
    done = _run(minute, killed, *options)
    assert "going on where an earlier run ended" in done.stderr
    assert killed.read_bytes() == whole.read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_a_fade_is_one_pass_within_a_net_and_two_between_nets(
    dim: list[Style], tiny_model: object
) -> None:
    class Named:
        def __init__(self, style: Style, look: Look) -> None:
            self.key = style.model.path, look.stroke

    opened: dict[object, Named] = {}

    def engine(style: Style, look: Look) -> Named:
        return opened.setdefault((style.model.path, look.stroke), Named(style, look))

    bright, dark = dim
    (other,) = styles_of(tiny_model)  # type: ignore[arg-type]
    states = [
        Change(time=Fraction(0), style=bright, look=Look(), steady=1.0),
        Change(time=Fraction(2), style=dark, look=Look(strength=0.5), fade=Fraction(2)),
        Change(time=Fraction(6), style=other, look=Look(), fade=Fraction(9)),
        Change(time=Fraction(8), style=other, look=Look(stroke=0.1)),
    ]
    timeline = Timeline(states, engine)  # type: ignore[arg-type]

    def at(seconds: str) -> Passes:
        return timeline(Fraction(seconds))

    (before,), (half,) = at("1.99").passes, at("3").passes
    assert before.style.name == "bright"
    assert half.style.vector is not None
    assert half.style.vector.tolist() == [[0.5, 0.5]]
    assert (half.look.strength, at("3").steady) == (0.75, 0.5)
    assert [one.share for one in at("7").passes] == [0.5, 0.5]  # cut short by the next change
    assert [one.share for one in at("8").passes] == [1.0]
    assert at("8").key != at("7").key == at("6.5").key
    assert at("5").passes[0].style.name == "dark"


def test_cuts_are_found_and_pans_are_not(tmp_path: Path) -> None:
    shots = [np.full((48, 64, 3), colour, np.uint8) for colour in ((200, 30, 30), (20, 90, 200))]
    pictures = [picture(i) for i in range(20)] + [shots[0]] * 15 + [shots[1]] * 10
    frames = [av.VideoFrame.from_ndarray(one, format="rgb24") for one in pictures]
    clip = make_clip(tmp_path / "a.mkv", Clip(range(0, 45 * 40, 40), Fraction(1, 1000)), frames)
    assert find_cuts(clip, ReadOptions()) == [Fraction(20, 25), Fraction(35, 25)]
    assert find_cuts(clip, ReadOptions(start=Fraction(1))) == [Fraction(10, 25)]


def test_every_cut_changes_to_the_next_scene(tmp_path: Path, dim: list[Style]) -> None:
    scenes = tmp_path / "scenes.toml"
    path = str(dim[0].model.path).replace("\\", "/")
    scenes.write_text(f'[night]\nstyle = "{path}:dark"\n[day]\nstyle = "{path}:bright"\n')
    colours = [(200, 30, 30), (20, 90, 200), (240, 240, 240), (10, 120, 10)]
    pictures = [np.full((48, 64, 3), c, np.uint8) for c in colours for _ in range(10)]
    frames = [av.VideoFrame.from_ndarray(one, format="rgb24") for one in pictures]
    clip = make_clip(tmp_path / "a.mkv", Clip(range(0, 40 * 40, 40), Fraction(1, 1000)), frames)
    done = _run(clip, tmp_path / "o.mkv", "-s", f"{path}:bright", "--scenes", scenes,
                "--at", "cut", "--engine", "onnxruntime")  # fmt: skip
    assert done.returncode == 0, done.stderr
    with open_source(tmp_path / "o.mkv") as source:
        dark = [frame.image.mean() < 20 for frame in source.frames()]
    assert dark == [False] * 10 + [True] * 10 + [False] * 10 + [True] * 10


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--at", "0:30"], "needs what changes then"),
        (["--at", "0:30", "style=udnei"], "Did you mean udnie"),
        (["--at", "0:30 strenght=1"], "no knob 'strenght'; did you mean strength"),
        (["--at", "0:30", "styel=udnie"], "no knob 'styel'; did you mean style"),
        (["--at", "0:30", "strength=7"], "strength is a number from 0 to 1, not '7'"),
        (["--at", "0:30", "fade=-1"], "fade is a number from 0 to 3600"),
        (["--at", "0:30", "scene=night"], "no scenes; name their file"),
        (["--at", "soon", "style=udnie"], "seconds or HH:MM:SS"),
        (["--at", "-5", "style=udnie"], "from 0 on once"),
        (["--at", "1", "style=udnie", "--at", "0:01", "style=scream"], "from 0 on once"),
        (["--at", "cut"], "needs what to change to"),
        (["--at", "'"], "is written as"),
        (["--scene", "night"], "no scenes; name their file"),
        (["--scenes", "nowhere.toml"], "no file nowhere.toml"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(
    words: list[str], sentence: str, minute: Path, tmp_path: Path
) -> None:
    done = _run(minute, tmp_path / "o.mp4", *words)
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("rtstyle: ")]
    assert len(lines) == 1
    with pytest.raises(UsageError, match=sentence):
        raise UsageError(lines[0])
    assert not list(tmp_path.iterdir())


def test_a_change_beyond_the_end_is_noted(minute: Path, dim: list[Style], tmp_path: Path) -> None:
    notes: list[str] = []
    late = Change(time=Fraction(61), style=dim[1], look=Look())
    render(minute, tmp_path / "o.mp4", style=dim[0], engine="identity", changes=[late],
           on_note=notes.append, reading=ReadOptions(duration=Fraction(2)))  # fmt: skip
    assert [note for note in notes if "61 s is not seen, as the video ends at 1.998 s" in note]
