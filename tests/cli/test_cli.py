"""The command line as a user meets it: a process of its own, exit status, stdout and stderr."""

from __future__ import annotations

import ast
import fcntl
import io
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from contextlib import suppress
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from rtstyle.cli.terminal import Terminal, _lines
from rtstyle.model.spec import ModelSpec
from tests import graphs
from tests.media.clips import Clip, make_clip
from tests.train.materials import make_loss_net, make_painting, make_photos

ROOT = Path(__file__).parents[2]


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rtstyle", *map(str, arguments)],
        capture_output=True, text=True, timeout=120, env=os.environ | environment, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "in.mp4")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, rtstyle.cli.main\n"
        "heavy = {'numpy', 'cv2', 'av', 'openvino', 'onnxruntime', 'torch'} & set(sys.modules)\n"
        "sys.exit(' '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    done = run("--help")
    assert done.returncode == 0
    for command in ("render", "demo", "styles", "engines", "train", "paint"):
        assert command in done.stdout


def test_an_older_python_is_told_what_it_lacks() -> None:
    code = (
        "import runpy, sys\n"
        "sys.version_info = (3, 10, 2, 'final', 0)\n"
        "runpy.run_module('rtstyle', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("rtstyle needs Python 3.11 or newer, not 3.10;")
    assert done.stderr.count("\n") == 1
    for name in ("__init__.py", "__main__.py"):  # what it reads before it can say so
        ast.parse((ROOT / "rtstyle" / name).read_text(), feature_version=(3, 8))


def test_render_ends_in_one_line_and_a_video(
    clip: Path, tmp_path: Path, tiny_model: ModelSpec
) -> None:
    out = tmp_path / "out.mp4"
    done = run("render", "-i", clip, "-o", out, "-s", tiny_model.path, "--engine", "onnxruntime")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(
        r"(\d+) frames in, \1 out, [\d.]+ s, [\d.]+ fps \(decode .*paint .*encode .* a frame\)"
        r"; by onnxruntime fp32 on CPU\n",
        done.stdout,
    )
    assert out.stat().st_size > 0
    assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"]


def test_every_option_of_ffmpeg_s_users_is_taken(
    clip: Path, tmp_path: Path, tiny_model: ModelSpec
) -> None:
    out = tmp_path / "new" / "folders" / "out.mkv"
    done = run(
        "render", clip, out, "-s", tiny_model.path, "-ss", "0:00:00.1", "-to", "0.3",
        "-c:v", "libx264", "-b:v", "300k", "-pix_fmt", "yuv444p",
        "--preset", "ultrafast", "-e", "tune=zerolatency", "-an",
        "--strength", "0.5", "--preserve-color", "--height", "32", "--threads", "1", "-q",
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    with av.open(str(out)) as made:
        assert made.streams.video[0].codec_context.pix_fmt == "yuv444p"
        assert sum(1 for _ in made.decode(video=0)) == 5  # of 0.2 s


def test_one_damaged_file_does_not_end_a_batch(
    clip: Path, tmp_path: Path, tiny_model: ModelSpec
) -> None:
    broken, picture, out = tmp_path / "broken.mp4", tmp_path / "c.png", tmp_path / "out"
    broken.write_text("This is a text.")
    cv2.imwrite(str(picture), np.full((37, 53, 3), 90, np.uint8))
    arguments = ("-o", out, "-s", tiny_model.path, "-q")
    done = run("render", broken, clip, picture, tmp_path / "no.mp4", *arguments)
    assert done.returncode == 1
    first, second, summary = done.stderr.splitlines()
    assert "broken.mp4 is not a video" in first
    assert "There is no file" in second
    assert summary.startswith("rtstyle: 2 of 4 inputs failed")
    assert sorted(path.name for path in out.iterdir()) == sorted([clip.name, "c.png"])


def test_a_folder_or_glob_of_videos_is_painted_file_by_file(
    clip: Path, tmp_path: Path, tiny_model: ModelSpec
) -> None:
    films = tmp_path / "films"
    films.mkdir()
    for name in ("a.mp4", "b.mp4"):
        (films / name).write_bytes(clip.read_bytes())
    cv2.imwrite(str(films / "c.png"), np.full((37, 53, 3), 90, np.uint8))
    (films / "text.txt").write_text("This is a text.")
    for source, names in (
        (films, ["a.mp4", "b.mp4", "c.png"]),
        (films / "*.mp4", ["a.mp4", "b.mp4"]),
    ):
        out = tmp_path / f"out{len(names)}"
        done = run("render", source, out, "-s", tiny_model.path, "-q")
        assert (done.returncode, done.stderr) == (0, "")
        assert sorted(path.name for path in out.iterdir()) == names


def test_a_batch_of_everything_survives_what_is_damaged(
    clip: Path, tmp_path: Path, tiny_model: ModelSpec
) -> None:
    """200 files in folders of folders, 20 of them damaged."""
    rng = np.random.default_rng(0)
    frames = [Pillow.fromarray(rng.integers(0, 255, (24, 32, 3), np.uint8)) for _ in range(3)]
    many = {"save_all": True, "append_images": frames[1:], "duration": 40}
    made: dict[str, bytes] = {"mp4": clip.read_bytes()}
    for suffix, options in {
        "jpg": {}, "png": {}, "webp": {}, "avif": {}, "gif": many, "apng": many, "tif": {},
    }.items():  # fmt: skip
        buffer = io.BytesIO()
        kind = {"jpg": "jpeg", "apng": "png", "tif": "tiff"}.get(suffix, suffix)
        frames[0].save(buffer, kind, **options)
        made[suffix] = buffer.getvalue()
    films, out = tmp_path / "films", tmp_path / "out"
    suffixes, damaged = list(made), set(range(0, 200, 10))
    for number in range(200):
        suffix = suffixes[number % len(suffixes)]
        path = films / f"{number % 3}" / f"{number}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(made[suffix][:40] if number in damaged else made[suffix])
    command = ("render", films, out, "-s", tiny_model.path, "--recursive", "--engine", "identity")
    done = run(*command)
    assert done.returncode == 1, done.stderr
    *told, summary = [line for line in done.stderr.splitlines() if line.startswith("rtstyle: ")]
    assert summary == "rtstyle: 20 of 200 inputs failed, see above."
    assert len(told) == 20
    assert {int(re.findall(r"/(\d+)\.", line)[0]) for line in told} == damaged
    assert len([path for path in out.rglob("*") if path.is_file()]) == 180
    assert (out / "1" / "1.jpg").is_file()
    assert done.stdout.splitlines()[-1] == "180 of 200 inputs are painted."
    again = run(*command, "--skip-existing", "-q")
    assert again.returncode == 1
    assert again.stderr.splitlines()[-1] == "rtstyle: 20 of 20 inputs failed, see above."


def test_a_folder_of_pictures_survives_a_damaged_one(tmp_path: Path, tiny_model: ModelSpec) -> None:
    pictures, out = tmp_path / "in", tmp_path / "out"
    pictures.mkdir()
    for name in ("a.png", "b.png", "c.png"):
        cv2.imwrite(str(pictures / name), np.full((37, 53, 3), 90, np.uint8))
    (pictures / "b.png").write_bytes(b"no picture")
    done = run("render", pictures, out, "-s", tiny_model.path, "-q")
    assert done.returncode == 1
    assert "1 of 3 pictures failed" in done.stderr
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "c.png"]


def test_a_picture_becomes_a_picture(tmp_path: Path, tiny_model: ModelSpec) -> None:
    cv2.imwrite(str(tmp_path / "in.png"), np.full((37, 53, 3), 90, np.uint8))
    done = run("render", tmp_path / "in.png", tmp_path / "out.png", "-s", tiny_model.path)
    assert done.returncode == 0, done.stderr
    assert cv2.imread(str(tmp_path / "out.png")).shape == (37, 53, 3)


def test_a_picture_is_a_style_and_listed(tmp_path: Path) -> None:
    graphs.tinting(tmp_path / "any.onnx")
    environment = {"RTSTYLE_MODELS": str(tmp_path), "RTSTYLE_CACHE": str(tmp_path / "cache")}
    cv2.imwrite(str(tmp_path / "red.png"), np.full((64, 64, 3), (0, 0, 200), np.uint8))
    cv2.imwrite(str(tmp_path / "in.png"), np.full((37, 53, 3), 100, np.uint8))
    done = run(
        "render", tmp_path / "in.png", tmp_path / "out.png", "-s", tmp_path / "red.png",
        "--strength", "0.5", **environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    painted = cv2.imread(str(tmp_path / "out.png"))
    assert painted.shape == (37, 53, 3)
    assert (painted == (50, 50, 150)).all()  # blended once, by the model
    listed = run("styles", **environment)
    assert "painted by any: --style my_painting.jpg" in listed.stdout
    assert "starry_night" in listed.stdout


def test_styles_are_whole_in_a_pipe_and_as_json_and_a_line_each_on_a_terminal() -> None:
    listed = run("styles", COLUMNS="80").stdout
    assert "stylebank:composition_no_vii" in listed
    assert "…" not in listed
    document = json.loads(run("styles", "--json").stdout)
    names = [row["style"] for row in document["styles"]]
    assert [line.split()[0] for line in listed.splitlines()[: len(names)]] == names
    assert document["any_picture"] == ["any_picture"]
    assert {row["net"] for row in document["styles"]} > {"fast", "johnson"}
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    command = [sys.executable, "-m", "rtstyle", "styles"]
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    process = subprocess.Popen(command, stdout=theirs, env=environment)
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # the end of a terminal
        while part := os.read(ours, 4096):
            shown += part
    process.wait()
    os.close(ours)
    lines = shown.decode().splitlines()
    assert len(lines) == len(names) + 1
    assert max(map(len, lines)) == 80


def test_progress_has_no_total_before_there_is_one_and_lines_off_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Terminal().progress("Painting", "fps") as update:
        update(3, None, "")
    assert capsys.readouterr().err == ""
    times = iter([0.0, 2.0, 5.0, 6.0, 9.0])
    update = _lines("Training", "updates/s", 5.0, clock=lambda: next(times))
    for done in (11, 13, 16, 18, 20):
        update(done, 20, "style 1.2")
    assert capsys.readouterr().err.splitlines() == [
        "Training 11/20, 0.00 updates/s, style 1.2",
        "Training 16/20, 1.00 updates/s, style 1.2",
        "Training 20/20, 1.00 updates/s, style 1.2",
    ]
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with Terminal().progress("Painting", "fps") as update:
        time.sleep(0.3)
        update(3, None, "")
        time.sleep(0.3)
        update(4, 9, "")
        time.sleep(0.3)
    shown = capsys.readouterr().err
    assert "None" not in shown
    assert "4/9" in shown


def test_add_asks_before_it_changes_a_model(tmp_path: Path) -> None:
    model = tmp_path / "mine.onnx"
    model.write_text("precious")
    done = run(
        "train", "--add", tmp_path / "p.png", "--to", model, "--content", tmp_path,
        "--loss-net", tmp_path / "x",
    )  # fmt: skip
    assert done.returncode == 2
    assert f"--add would change {model} itself: pass --overwrite" in done.stderr
    assert model.read_text() == "precious"


def test_a_training_off_a_terminal_says_how_it_goes(tmp_path: Path) -> None:
    photos, painting = make_photos(tmp_path / "photos"), make_painting(tmp_path / "p.png")
    net, out = make_loss_net(tmp_path / "vgg.safetensors"), tmp_path / "mine.onnx"
    done = run(
        "train", painting, "-o", out, "--content", photos, "--loss-net", net, "--updates", 3,
        "--crop", 64, "--style-size", 64, "--net", "johnson", "--net-option", "width=4",
        "--net-option", "blocks=1", "--threads", 1,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Training 1/3, " in done.stderr
    assert "Training 3/3, " in done.stderr
    assert re.search(r"The model is \S+; 3 updates took \d+ s\.", done.stdout)


def test_paint_ends_in_one_line_and_a_picture(tmp_path: Path) -> None:
    photo = make_photos(tmp_path / "photos", 1) / "photo0.png"
    painting, net = make_painting(tmp_path / "p.png"), make_loss_net(tmp_path / "vgg.safetensors")
    out = tmp_path / "out.jpg"
    arguments = ("paint", photo, painting, "-o", out, "--loss-net", net, "--steps", "3")
    done = run(*arguments, "--size", "48", "--tv-weight", "0.1")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(
        rf"The painting is {re.escape(str(out))}: [\d.]+ s, content \S+ style \S+ tv \S+\.\n",
        done.stdout,
    )
    assert cv2.imread(str(out)).shape == (48, 48, 3)
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--overwrite" in done.stderr


def test_an_interrupted_paint_leaves_only_its_progress_picture(tmp_path: Path) -> None:
    photo = make_photos(tmp_path / "photos", 1) / "photo0.png"
    painting, net = make_painting(tmp_path / "p.png"), make_loss_net(tmp_path / "vgg.safetensors")
    process = subprocess.Popen(
        [
            sys.executable, "-m", "rtstyle", "paint", photo, painting, "--loss-net", net,
            "-o", tmp_path / "out.png", "--steps", "1000000", "--progress-every", "1",
            "--progress-picture", tmp_path / "far.png",
        ],
        stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    for _ in range(1200):
        if (tmp_path / "far.png").exists():
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (130, "rtstyle: Interrupted.\n")
    names = {p.name for p in tmp_path.iterdir()}
    assert names == {"photos", "p.png", "vgg.safetensors", "far.png"}
    assert cv2.imread(str(tmp_path / "far.png")) is not None


WRONG = {
    "missing input": (("render", "{tmp}/no.mp4", "{tmp}/out.mp4"), 1, "no.mp4"),
    "copied pictures": (
        ("render", "{clip}", "{tmp}/out.mp4", "-c:v", "copy"),
        2,
        "The pictures are painted",
    ),
    "another range": (("render", "{clip}", "{tmp}/out.mp4", "--hdr", "hlg"), 2, "--hdr keep"),
    "ten bits of eight": (
        ("render", "{clip}", "{tmp}/out.avi", "-pix_fmt", "yuv420p10le"),
        2,
        "no pixel format",
    ),
    "folder of nothing": (("render", "{tmp}/empty", "{tmp}/out.mp4"), 1, "empty"),
    "text as video": (("render", "{tmp}/text.mp4", "{tmp}/out.mp4"), 1, "text.mp4"),
    "cut off": (("render", "{tmp}/cut.mp4", "{tmp}/out.mp4"), 1, "cut.mp4"),
    "no folder to write to": (("render", "{clip}", "{tmp}/text.mp4/out.mp4"), 1, "cannot be made"),
    "two ends": (("render", "{clip}", "{tmp}/out.mp4", "-t", "1", "-to", "2"), 2, "not by both"),
    "end before start": (
        ("render", "{clip}", "{tmp}/out.mp4", "-ss", "3", "-to", "2"),
        2,
        "not after the start",
    ),
    "quality and rate": (
        ("render", "{clip}", "{tmp}/out.mp4", "--crf", "20", "-b:v", "1M"),
        2,
        "not both",
    ),
    "bit rate": (("render", "{clip}", "{tmp}/out.mp4", "-b:v", "fast"), 2, "800k"),
    "pixel format": (
        ("render", "{clip}", "{tmp}/out.mp4", "-pix_fmt", "yuv000p"),
        2,
        "it has yuv420p",
    ),
    "bit rate of what has none": (
        ("render", "{clip}", "{tmp}/out.mkv", "-c:v", "ffv1", "-b:v", "1M"),
        2,
        "lossless",
    ),
    "unknown style": (("render", "{clip}", "{tmp}/out.mp4", "-s", "stary_nigt"), 2, "starry_night"),
    "model that is none": (
        ("render", "{clip}", "{tmp}/out.mp4", "-s", "{tmp}/text.onnx"),
        1,
        "text.onnx",
    ),
    "unknown engine": (("render", "{clip}", "{tmp}/out.mp4", "--engine", "abacus"), 2, "abacus"),
    "strength": (("render", "{clip}", "{tmp}/out.mp4", "--strength", "2"), 2, "between 0 and 1"),
    "one style at 2": (("render", "{clip}", "{tmp}/o.mp4", "-s", "udnie=2"), 2, "--strength"),
    "time": (("render", "{clip}", "{tmp}/out.mp4", "--start", "noon"), 2, "HH:MM:SS"),
    "codec": (("render", "{clip}", "{tmp}/out.mp4", "--codec", "libnothing"), 2, "libnothing"),
    "output exists": (("render", "{clip}", "{tmp}/there.mp4"), 2, "--overwrite"),
    "no arguments": (("render",), 2, "INPUT"),
    "unknown option": (("render", "--sytle", "x"), 2, "--sytle"),
    "16k": (("render", "{tmp}/huge.png", "{tmp}/out.png"), 1, "--height"),
    "no loss net": (("paint", "{tmp}/a", "{tmp}/b", "-o", "{tmp}/o.png"), 2, "--loss-net FILE"),
    "stroke": (("render", "{clip}", "{tmp}/out.mp4", "--stroke", "0"), 2, "shorter side"),
    "steady": (("render", "{clip}", "{tmp}/out.mp4", "--steady", "2"), 2, "0 to 1"),
    "live stroke": (("live", "{clip}", "--to", "{tmp}/out.mp4", "--stroke", "0"), 2, "shorter"),
    "live steady": (("live", "{clip}", "--to", "{tmp}/out.mp4", "--steady", "-1"), 2, "0 to 1"),
    "nothing to compare by": (("train", "{tmp}/no.jpg", "-o", "{tmp}/m.onnx"), 2, "vgg16 fetches"),
    "no such photograph": (
        ("paint", "{tmp}/no.jpg", "{tmp}/b", "-o", "{tmp}/o.png", "--loss-net", "{tmp}/x"),
        1,
        "no.jpg",
    ),
    "no painting": (
        (
            "train",
            "{tmp}/no.jpg",
            "-o",
            "{tmp}/m.onnx",
            "--content",
            "{tmp}/empty",
            "--loss-net",
            "{tmp}/x",
        ),
        1,
        "no.jpg",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_in_one_sentence(
    case: str, clip: Path, tmp_path: Path, tiny_model: ModelSpec
) -> None:
    arguments, status, word = WRONG[case]
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.mp4").write_text("This is a text.")
    (tmp_path / "text.onnx").write_text("This is a text.")
    (tmp_path / "there.mp4").write_text("precious")
    (tmp_path / "cut.mp4").write_bytes(clip.read_bytes()[: clip.stat().st_size // 3])
    if case == "16k":
        cv2.imwrite(str(tmp_path / "huge.png"), np.zeros((16000, 16000, 3), np.uint8))
    before = sorted(p.name for p in tmp_path.iterdir())
    filled = [a.format(tmp=tmp_path, clip=clip) for a in arguments]
    if filled[0] == "render" and "-s" not in filled and "--sytle" not in filled and len(filled) > 1:
        filled += ["-s", str(tiny_model.path)]
    done = run(*filled)
    assert done.returncode == status, done.stderr
    assert word in done.stderr
    assert "Traceback" not in done.stderr
    if case != "unknown option":  # that one shows how to call the command
        assert len(done.stderr.splitlines()) == 1
        assert done.stderr.startswith("rtstyle: ")
    assert sorted(p.name for p in tmp_path.iterdir()) == before
    assert (tmp_path / "there.mp4").read_text() == "precious"


@pytest.mark.parametrize("pressed", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_a_playable_part(
    pressed: signal.Signals, tmp_path: Path, tiny_model: ModelSpec
) -> None:
    long = make_clip(tmp_path / "long.mp4", Clip(times=range(0, 5000 * 512, 512)))
    out = tmp_path / "out.mp4"
    process = subprocess.Popen(
        [sys.executable, "-m", "rtstyle", "render", long, out, "-s", tiny_model.path],
        stderr=subprocess.PIPE, text=True,
        # a shell's background jobs, which a CI may run us as, ignore SIGINT and pass that on
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    for _ in range(1200):
        # some frames; the settings beside them are written through a .part of their own
        if any(part.stat().st_size > 1000 for part in tmp_path.glob(".*/0*.part")):
            break
        time.sleep(0.05)
    process.send_signal(pressed)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    with av.open(str(out)) as container:
        n_frames = sum(1 for _ in container.decode(video=0))
    assert 0 < n_frames < 5000
    kept = ".out.mp4.resume"  # for the same command to go on
    assert sorted(p.name for p in tmp_path.iterdir()) == [kept, "long.mp4", "out.mp4"]
