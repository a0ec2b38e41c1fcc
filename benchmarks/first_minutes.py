"""A new user's first ten minutes: `python -m benchmarks first-minutes`.

Runs the steps of the README, and of the wheel alone with OpenVINO and with ONNX Runtime, one after
the other, each as it is written there or on `docs/install.md`, in new environments. Prints how long
each took, what it wrote last, and how large the environments are. Needs the package index and git;
nothing outside a temporary folder is changed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer

from benchmarks.options import parse
from rtstyle.errors import RtstyleError

ROOT = Path(__file__).resolve().parents[1]
_BIN = ".venv/bin/"
_SETUP = "python3 -m venv .venv && .venv/bin/pip install -q"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line."""

    python: Annotated[str, typer.Option(help="to make environments with")] = sys.executable
    wheel: Annotated[Path | None, typer.Option(help="built already; else one is made")] = None
    film: Annotated[Path | None, typer.Option(help="to paint; else the demo clip")] = None


def main(argv: list[str]) -> int:
    """Run all steps, stop at the first that fails."""
    options = parse(Options, argv, program="python -m benchmarks first-minutes", about=__doc__)
    began = perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for place, title, command in _steps(folder, options):
            place.mkdir(exist_ok=True)
            command_here = command.replace("python3", options.python, 1)
            seconds, last = _run(command_here, place, cache=folder / "cache")
            print(f"{seconds:7.1f} s  {title}: {command}\n{'':11}{last}", flush=True)
        for environment in sorted(folder.glob("*/.venv")):
            files = [p for p in environment.rglob("*") if p.is_file() and "pip" not in p.parts]
            size = sum(path.lstat().st_size for path in files) / 1e6
            print(f"{size:7.0f} MB {environment.parent.name}, without pip")
    print(f"{perf_counter() - began:7.1f} s  in all")
    return 0


def _steps(folder: Path, options: Options) -> Iterator[tuple[Path, str, str]]:
    """Where each step runs, what it is, and its command."""
    clone, dist = folder / "clone", folder / "dist"
    yield folder, "clone", f"git clone -q {ROOT} clone"
    yield clone, "install and demo", f"{_SETUP} -c constraints.txt . && {_BIN}rtstyle demo"
    yield clone, "what there is", f"{_BIN}rtstyle styles"
    film = options.film.resolve() if options.film else "rtstyle-demo.mp4"
    yield clone, "a film", f"{_BIN}rtstyle render {film} painted.mp4 --style starry_night"
    photo = "rtstyle/samples/astronaut.jpg"
    yield clone, "a photograph", f"{_BIN}rtstyle render {photo} painted.png --style great_wave"
    like = "--style rtstyle/samples/coffee.jpg"
    yield clone, "like a picture", f"{_BIN}rtstyle render {photo} like_mine.png {like}"
    yield clone, "what is missing", f"{_BIN}rtstyle doctor"
    yield clone, "the extra live", f"{_BIN}pip install -q -c constraints.txt '.[live]'"
    source = "lavfi:testsrc2=size=640x360:rate=30"
    yield clone, "five seconds live", f"{_BIN}rtstyle live {source} --to live.mp4 --duration 5"
    wheel = options.wheel.resolve() if options.wheel else dist / "*.whl"
    if options.wheel is None:
        yield clone, "build a wheel", f"{_BIN}pip wheel -q --no-deps -w {dist} ."
    demo = f"{_BIN}rtstyle demo"
    yield folder / "wheel", "the wheel, by OpenVINO", f"{_SETUP} {wheel} && {demo}"
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    (packages,) = re.findall(r"^pip install ('numpy.*)$", page, re.MULTILINE)
    line = f"{_SETUP} --no-deps {wheel} && {_BIN}pip install -q {packages} && {demo}"
    yield folder / "wheel-onnxruntime", "the wheel, by ONNX Runtime alone", line


def _run(command: str, place: Path, *, cache: Path) -> tuple[float, str]:
    """The seconds that a command took, and the last line that it wrote."""
    hidden = ("PYTHON", "VIRTUAL_ENV", "RTSTYLE_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(hidden)}
    start = perf_counter()
    done = subprocess.run(
        command, shell=True, cwd=place, env=environment | {"RTSTYLE_CACHE": str(cache)},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False,
    )  # fmt: skip
    seconds = perf_counter() - start
    if done.returncode:
        raise RtstyleError(f"{command} ended with {done.returncode}: {done.stdout.strip()[-600:]}")
    lines = done.stdout.splitlines()
    return seconds, lines[-1].strip() if lines else ""
