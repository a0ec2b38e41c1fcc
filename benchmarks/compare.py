"""Whether B is slower than A: `python -m benchmarks compare A B`.

A and B are git refs, or folders with a checkout each; `.` is the working tree. Both are loaded at
once and measured in turn (A B, B A, …), each launch anew so that no lucky memory layout decides.
Prints the ratio of speeds with its confidence interval; exits 1 when B is surely slower by more
than the stated loss. `--self-check 10` tries the comparison itself: ten times this tree against
itself, which must raise no alarm, and ten times against itself slowed down by a fifth on purpose,
which must; see `benchmarks/self_check.py`. `--level host` compares what a frame costs this computer
where a GPU paints, Python and copies, by TensorRT's engine on a GPU that needs no time; at 64x64
it is Python alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any, Literal

import typer

from benchmarks.options import parse
from benchmarks.pairs import Comparison, compare, interleave
from benchmarks.self_check import Tried, judge, try_all
from benchmarks.studies import command_line, keep, show
from rtstyle.bench.case import parse_size
from rtstyle.closing import Closing
from rtstyle.errors import EngineError, RtstyleError, UsageError

ROOT = Path(__file__).resolve().parents[1]
SLOWDOWN = 0.25  # more time a picture, which is a fifth of the speed lost


@dataclass(frozen=True, slots=True)
class Plan:
    """What both sides paint, and how often."""

    painting: dict[str, Any]
    pairs: int
    launches: int
    loss: float  # that raises an alarm


class Side(Closing):
    """A process that paints with the code of one tree."""

    def __init__(self, tree: Path, painting: dict[str, Any], *, slower: float = 0.0) -> None:
        self._name = tree
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(ROOT / "benchmarks" / "probe.py"),
             json.dumps(painting | {"slower": slower})],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=os.environ | {"PYTHONPATH": str(tree)}, cwd=tree,
        )  # fmt: skip

    def wait(self) -> None:
        """Until it is ready. Raises `EngineError`."""
        self._read("ready")

    def measure(self) -> float:
        """Seconds a picture, of one round. Raises `EngineError`."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._read(""))

    def _read(self, beginning: str) -> str:
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        line = self._process.stdout.readline().strip()
        if not line or not line.startswith(beginning):
            self._process.kill()
            said = self._process.stderr.read().strip().splitlines()[-1:] or ["it said nothing"]
            raise EngineError(f"The code of {self._name} cannot be measured: {said[0]}")
        return line

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


def compare_trees(a: Path, b: Path, plan: Plan, *, slower_b: float = 0.0) -> Comparison:
    """Measure both trees in turn. `slower_b` slows B on purpose by that share of its time."""
    times: list[tuple[float, float]] = []
    for _ in range(plan.launches):
        with Side(a, plan.painting) as one, Side(b, plan.painting, slower=slower_b) as other:
            one.wait()
            other.wait()
            times += interleave(one.measure, other.measure, pairs=plan.pairs)
    return compare(times)


@contextmanager
def tree_of(text: str) -> Iterator[Path]:
    """The folder with the code that `text` names: a folder as it is, a git ref checked out beside
    the working tree for as long as it is needed. Raises `UsageError`."""
    if (Path(text) / "rtstyle").is_dir():
        yield Path(text).resolve()
        return
    with tempfile.TemporaryDirectory(prefix="rtstyle-compare-") as name:
        tree = Path(name)
        command = ["git", "-C", str(ROOT), "archive", "--format=tar", f"{text}^{{commit}}"]
        packed = subprocess.run(command, capture_output=True, check=False)
        if packed.returncode:
            raise UsageError(
                f"{text!r} is neither a folder with rtstyle in it nor a git ref here; see git log."
            )
        subprocess.run(["tar", "-x", "-C", name], input=packed.stdout, check=True)
        yield tree


def self_check(
    times: int, plan: Plan, *, command: str, quick: bool, minutes: float, out: Path | None
) -> int:
    """Try the comparison itself, print, keep the study; the exit status. After Ctrl-C what was
    tried is kept, and does not pass."""
    began, tried, interrupted = perf_counter(), Tried(), False

    def compare_once(slowed: bool) -> Comparison:
        return compare_trees(ROOT, ROOT, plan, slower_b=SLOWDOWN if slowed else 0.0)

    try:
        try_all(tried, compare_once, times=times, quick=quick, minutes=minutes)
    except KeyboardInterrupt:
        tried.missing.append("what came after Ctrl-C")
        interrupted = True
    study = judge(
        tried, command=command, times=times, loss=plan.loss, quick=quick,
        seconds=perf_counter() - began,
    )  # fmt: skip
    show(study)
    print(keep(study, out))
    return 130 if interrupted else 0 if study.passed else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line."""

    a: Annotated[str | None, typer.Argument(help="git ref or folder")] = None
    b: Annotated[str, typer.Argument(help="git ref or folder; here by default")] = "."
    loss: Annotated[float, typer.Option(help="that is stated; 0.05 is 5%")] = 0.05
    level: Literal["engine", "memory", "host"] = "engine"
    style: str = "starry_night"
    engine: str = "auto"
    size: str = "360p"
    threads: int | None = None
    pictures: Annotated[int, typer.Option(help="a round")] = 4
    pairs: Annotated[int, typer.Option(help="of rounds, each launch")] = 12
    launches: int = 3
    self_check: Annotated[int | None, typer.Option(metavar="TIMES", help="10 take 7 minutes")] = (
        None
    )
    no_quick: Annotated[
        bool, typer.Option("--no-quick", help="self-check without bench --quick")
    ] = False
    minutes: Annotated[float, typer.Option(help="that a self-check may take")] = 9.5
    out: Annotated[Path | None, typer.Option(help="where the study of a self-check goes")] = None


def main(argv: list[str]) -> int:
    """Compare and print; exit status 1 for a loss."""
    options = parse(Options, argv, program="python -m benchmarks compare", about=__doc__)
    if not 0 < options.loss < 1 or options.pictures < 1 or options.pairs * options.launches < 2:
        raise UsageError("A loss lies between 0 and 1, and at least 2 pairs of 1 picture are due.")
    width, height = parse_size(options.size)
    painting = {
        "style": options.style, "engine": options.engine, "threads": options.threads,
        "width": width, "height": height, "level": options.level, "pictures": options.pictures,
    }  # fmt: skip
    plan = Plan(painting, options.pairs, options.launches, options.loss)
    if options.self_check is not None:
        if options.self_check < 1 or not options.minutes > 0:
            raise UsageError("A self-check is done at least once, in more than 0 minutes.")
        return self_check(
            options.self_check, plan, command=command_line("compare", argv),
            quick=not options.no_quick, minutes=options.minutes, out=options.out,
        )  # fmt: skip
    if options.a is None:
        raise UsageError("Two trees are compared: python -m benchmarks compare main .")
    with ExitStack() as stack:
        a, b = (stack.enter_context(tree_of(text)) for text in (options.a, options.b))
        try:
            found = compare_trees(a, b, plan)
        except KeyboardInterrupt:
            raise RtstyleError("Interrupted; nothing is known yet.") from None
    print(found)
    if found.is_loss(options.loss):
        print(f"That is a loss of more than {options.loss:.0%}.")
        return 1
    return 0
