"""A new user's first ten minutes: `python -m benchmarks first-minutes`.

Runs the README's steps one after the other in a new clone and a new environment, then those of the
wheel alone, each as it is written there, and prints how long each took and how large the
environment is. Needs the package index and git; nothing outside a temporary folder is changed.
"""

from __future__ import annotations

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


def main(argv: list[str]) -> int:
    """Run all steps, stop at the first that fails."""
    options = parse(Options, argv, program="python -m benchmarks first-minutes", about=__doc__)
    began = perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for place, title, command in _steps(folder, options):
            place.mkdir(exist_ok=True)
            seconds = _run(command.replace("python3", options.python, 1), place)
            print(f"{seconds:7.1f} s  {title}: {command}", flush=True)
        for environment in sorted(folder.glob("*/.venv")):
            files = (path for path in environment.rglob("*") if path.is_file())
            size = sum(path.lstat().st_size for path in files) / 1e6
            print(f"{size:7.0f} MB {environment.parent.name}")
    print(f"{perf_counter() - began:7.1f} s  in all")
    return 0


def _steps(folder: Path, options: Options) -> Iterator[tuple[Path, str, str]]:
    """Where each step runs, what it is, and its command."""
    clone, alone, dist = folder / "clone", folder / "wheel", folder / "dist"
    yield folder, "clone", f"git clone -q {ROOT} clone"
    yield clone, "install and demo", f"{_SETUP} -c constraints.txt . && {_BIN}rtstyle demo"
    yield clone, "what there is", f"{_BIN}rtstyle styles"
    yield clone, "one photograph", f"{_BIN}rtstyle render rtstyle/samples/astronaut.jpg me.png"
    yield clone, "what is missing", f"{_BIN}rtstyle doctor"
    yield clone, "the extra live", f"{_BIN}pip install -q -c constraints.txt '.[live]'"
    source = "lavfi:testsrc2=size=640x360:rate=30"
    yield clone, "five seconds live", f"{_BIN}rtstyle live {source} --to live.mp4 --duration 5"
    wheel = options.wheel.resolve() if options.wheel else dist / "*.whl"
    if options.wheel is None:
        yield clone, "build a wheel", f"{_BIN}pip wheel -q --no-deps -w {dist} ."
    yield alone, "the wheel and its demo", f"{_SETUP} {wheel} && {_BIN}rtstyle demo"


def _run(command: str, place: Path) -> float:
    start = perf_counter()
    done = subprocess.run(
        command, shell=True, cwd=place, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RtstyleError(f"{command} ended with {done.returncode}: {done.stderr.strip()[-600:]}")
    return perf_counter() - start
