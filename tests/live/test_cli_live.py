"""`rtstyle live`, `serve` and `devices` as a user meets them: processes of their own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import av
import pytest

from rtstyle.model.spec import ModelSpec

PATTERN = "lavfi:testsrc2=size=160x96:rate=25"


def _start(*arguments: object, code: str = "", **environment: str) -> subprocess.Popen[str]:
    program = (
        ["-c", f"{code}\nfrom rtstyle.cli.main import main; main()"] if code else ["-m", "rtstyle"]
    )
    return subprocess.Popen(
        [sys.executable, *program, *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"SDL_VIDEODRIVER": "dummy", "DISPLAY": ":0"} | environment,
        # a shell's background jobs, which a CI may run us as, ignore SIGINT and pass that on
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip


def _wait_for(what: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)


def _filmed(folder: Path) -> list[Path]:
    """The films on their way that have some frames, which encoders hold back at first."""
    return [path for path in folder.glob(".*") if path.stat().st_size > 1000]


def test_a_live_painting_obeys_stdin(tmp_path: Path, dim: ModelSpec) -> None:
    pytest.importorskip("pygame", reason="pygame-ce is not installed")
    film = tmp_path / "film.mp4"
    process = _start(
        "live", PATTERN, "--to", "window", "--to", film, "-s", dim.path, "--control",
        "--folder", tmp_path, "--engine", "onnxruntime", "--measure",
        "--fps-target", 20, "--adaptive", "--max-latency", 500, "--threads", 1,
    )  # fmt: skip
    assert process.stdin is not None
    for command in ("# a remark", "next", "dance", "blend 0.5", "split", "snapshot", "record"):
        process.stdin.write(command + "\n")
    process.stdin.flush()
    _wait_for(lambda: any(tmp_path.glob("rtstyle-*.png")) and len(_filmed(tmp_path)) == 2)
    stdout, stderr = process.communicate("quit\n", timeout=60)
    assert process.returncode == 0, stderr
    assert re.search(r"\d+ frames in, \d+ out.*latency p50 \d+ ms, p95 \d+ ms, p99 \d+ ms", stdout)
    assert re.search(r"bar codes: \d+ read, \d+ frames dropped", stdout)
    assert "no command 'dance'" in stderr
    assert "Traceback" not in stderr
    names = sorted(path.suffix for path in tmp_path.iterdir())
    assert names == [".mp4", ".mp4", ".png"]
    for path in tmp_path.glob("*.mp4"):
        with av.open(str(path)) as container:
            assert container.streams.video[0].start_time == 0
            assert sum(1 for _ in container.decode(video=0)) > 5


def test_an_interrupt_completes_what_was_recorded(tmp_path: Path, dim: ModelSpec) -> None:
    film = tmp_path / "film.mp4"
    process = _start("live", PATTERN, "--to", film, "-s", dim.path, "--engine", "onnxruntime")
    _wait_for(lambda: _filmed(tmp_path))
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "frames in" in stdout
    assert "Traceback" not in stderr
    with av.open(str(film)) as container:
        assert sum(1 for _ in container.decode(video=0)) > 5


WRONG = {
    "no camera": (("live", "--to", "null", "webcam:nowhere"), 1, "camera"),
    "two sources": (("live", "a.mp4", "--from", "b.mp4", "--to", "null"), 2, "twice"),
    "two windows": (("live", PATTERN, "--to", "window", "--to", "window"), 2, "twice"),
    "no such sink": (("live", PATTERN, "--to", "hologram"), 2, "virtualcam"),
    "no such style": (("live", PATTERN, "--to", "null", "-s", "no such"), 2, "no such"),
    "strength": (("live", PATTERN, "--to", "null", "--strength", "7"), 2, "between 0 and 1"),
    "folder": (("live", PATTERN, "--to", "null", "--folder", "/no/such"), 1, "/no/such"),
    "GPUs": (("live", PATTERN, "--to", "null", "--devices", "x"), 2, "GPUs are numbers"),
    "no cards": (
        ("live", PATTERN, "--to", "null", "--engine", "openvino", "--devices", "0"),
        2,
        "does not run on a GPU",
    ),
    "hwaccel": (("demo", "/no/such/o.mp4", "--hwaccel", "gpu"), 2, "no hwaccel"),
    "demo on GPUs": (("demo", "/no/such/o.mp4", "--devices", "x"), 2, "GPUs are numbers"),
    "served by GPUs": (("serve", "--devices", "x"), 2, "GPUs are numbers"),
    "port": (("serve", "--port", "99999"), 2, "65535"),
    "half of a certificate": (("serve", "--tls-cert", __file__), 2, "--tls-key"),
    "no certificate": (("serve", "--tls-cert", __file__, "--tls-key", __file__), 2, "certificate"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_in_one_sentence(case: str) -> None:
    arguments, status, word = WRONG[case]
    if arguments[0] == "serve":
        pytest.importorskip("aiortc", reason="aiortc is not installed")
    process = _start(*arguments)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == status, stderr
    assert word in stderr
    assert "Traceback" not in stderr
    assert stderr.startswith("rtstyle: ")
    assert len(stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("library", "arguments"),
    [("pygame", ("live", PATTERN, "--to", "window")), ("aiohttp", ("serve",)),
     ("pyvirtualcam", ("live", PATTERN, "--to", "virtualcam"))],
)  # fmt: skip
def test_without_the_extra_it_says_how_to_install_it(
    library: str, arguments: tuple[str, ...]
) -> None:
    process = _start(*arguments, code=f"import sys; sys.modules[{library!r}] = None")
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "pip install 'rtstyle[live]'" in stderr
    assert library in stderr
    assert "Traceback" not in stderr


def test_devices_lists_cameras_or_says_what_to_do_without() -> None:
    stdout, stderr = _start("devices").communicate(timeout=60)
    assert "webcam:0" in stdout or "lavfi:testsrc2" in stdout
    assert stderr == ""
