"""Whether what goes wrong in mid-run ends in one sentence: engines, disks, inputs, signals, clocks.

Every case is `rtstyle render` in a process of its own that paints a clip of four seconds. It must
end in time with the right exit status, say one sentence and show no traceback, and leave under the
final name either nothing or a file that plays to its end.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Annotated, Any

import av
import typer

from benchmarks.reliability.finding import Finding
from benchmarks.reliability.options import CheckOptions
from rtstyle.errors import RtstyleError
from rtstyle.media import open_source
from tests.media.clips import Clip, make_clip

N_FRAMES, LIMIT_SECONDS = 100, 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One fault: the settings of `faulty_run`, options of render, and what must come of it.

    `signal` is sent `after` seconds. `where` is what the output folder is: "plain", or "tiny", a
    disk of 128 KiB, or a folder that takes nothing.
    """

    name: str
    fault: dict[str, Any] = field(default_factory=dict)
    options: tuple[str, ...] = ("--engine", "faulty")
    status: tuple[int, ...] = (1,)
    says: str = ""
    signal: int | None = None
    after: float = 0.0
    where: str = "plain"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a case; `problem` is "" when it is what must be."""

    case: Case
    status: int | None
    sentence: str
    frames: int | None  # of the output under its final name, None without one
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(CheckOptions):
    """The command line."""

    signals: Annotated[int, typer.Option(help="how many SIGTERM, and SIGINT")] = 20
    seed: Annotated[int, typer.Option(help="of the moments of signals")] = 7


def measure(options: Options) -> Finding:
    """Run all cases and print a table of them."""
    start = perf_counter()
    with TemporaryDirectory(prefix="rtstyle-faults-") as folder:
        clip = make_clip(
            Path(folder) / "clip.mp4", Clip(range(0, N_FRAMES * 512, 512), audio_seconds=4)
        )
        outcomes = []
        for number, case in enumerate(cases(options.signals, options.seed)):
            outcomes.append(outcome := run(case, clip, Path(folder) / str(number)))
            print(_row(outcome), flush=True)
    bad = [o for o in outcomes if o.problem]
    left_out = [o for o in outcomes if o.status is None and not o.problem]
    return Finding(
        check="faults",
        claim="Whatever goes wrong in a run ends it in time with the right exit status and one "
        "sentence, without a traceback and without half a file under the final name.",
        figures={
            "cases": len(outcomes) - len(left_out),
            "as they must be": len(outcomes) - len(bad) - len(left_out),
            "not possible here": ", ".join(o.case.name for o in left_out) or "none",
            "otherwise": "; ".join(f"{o.case.name}: {o.problem}" for o in bad) or "none",
            **{o.case.name: _summary(o) for o in outcomes if o.case.signal is None},
        },
        passed=not bad,
        command=f"python -m benchmarks reliability faults --signals {options.signals} "
        f"--seed {options.seed}",
        seconds=round(perf_counter() - start, 1),
    )


def cases(n_signals: int, seed: int) -> list[Case]:
    """Every case, the signals at random moments last."""
    rng = Random(seed)
    # Before rtstyle has loaded what it needs, SIGTERM ends it as any program; so does Python itself
    # after Ctrl-C within an exec, as in dataclasses: a shell shows both as 128 + number.
    stopped = {
        signal.SIGINT: (130, -signal.SIGINT),
        signal.SIGTERM: (130, 143, -signal.SIGTERM),
    }
    return [
        Case(name="nothing", status=(0,)),
        Case(name="engine raises", fault={"engine": "RaisingEngine"}, says="the driver went away"),
        Case(name="engine raises late", fault={"engine": "LateRaisingEngine"}, says="fell off"),
        Case(name="engine hangs", fault={"engine": "HangingEngine", "patience": 2}, says="hangs"),
        Case(
            name="engine hangs in the result",
            fault={"engine": "HangingLateEngine", "patience": 2},
            says="hangs",
        ),
        Case(
            name="engine hangs, Ctrl-C", fault={"engine": "HangingEngine"}, signal=signal.SIGINT,
            after=4.0, status=(130,), says="Interrupted",
        ),
        Case(
            name="engine hangs at once, Ctrl-C", fault={"engine": "HangingAtOnceEngine"},
            signal=signal.SIGINT, after=4.0, status=(130,), says="Interrupted",
        ),
        Case(name="wrong shape", fault={"engine": "WrongShapeEngine"}, says="was expected"),
        Case(name="NaN in floats", fault={"engine": "WrongTypeEngine"}, says="gave float32"),
        Case(name="no picture", fault={"engine": "NothingEngine"}, says="gave None"),
        Case(name="engine without memory", fault={"engine": "StarvedEngine"}, says="--height"),
        *(
            Case(
                name=f"real lack of memory, {engine}", fault={"memory": 1_000_000_000},
                options=("--engine", engine, "--threads", "1", "--height", "5000"), says="memory",
            )
            for engine in ("openvino", "onnxruntime")
        ),
        Case(name="file too large", fault={"largest": 20_000}, says="cannot be written"),
        Case(name="disk full", where="tiny", says=r"[Nn]o space left|cannot be (written|created)"),
        Case(name="folder that takes nothing", where="/sys/kernel", says="can be written"),
        Case(name="no folder", where="/nowhere/at/all", says="does not exist"),
        Case(name="input deleted", fault={"engine": "LosingEngine"}, status=(0, 1)),
        Case(
            name="input cut off", fault={"engine": "CuttingEngine"},
            says="damaged|cannot be|changed while",
        ),
        Case(name="clock jumps", fault={"clock": True}, status=(0,)),
        *(
            Case(
                name=f"{signal.Signals(number).name} at {after:.2f} s", signal=number, after=after,
                status=(*status, 0), says="Interrupted|Stopped|Terminated|",
            )
            for _ in range(n_signals)
            for number, status in stopped.items()
            for after in [rng.uniform(0, 5)]
        ),
    ]  # fmt: skip


def run(case: Case, clip: Path, folder: Path) -> Outcome:
    """Run one case in `folder`, which it makes."""
    folder.mkdir()
    source = Path(shutil.copy(clip, folder / "in.mp4"))
    place = folder / "out"
    place.mkdir()
    if case.where.startswith("/"):
        place = Path(case.where)
    output = place / "out.mp4"
    command = [
        sys.executable, "-m", "benchmarks.reliability.faulty_run", json.dumps(case.fault),
        "render", str(source), str(output), "--no-progress", *case.options,
    ]  # fmt: skip
    if case.where == "tiny":
        if not _can_mount():
            return Outcome(case, None, "mounting is not allowed", None, "")
        # What is left on the little disk is copied out before it vanishes with its namespace.
        script = (
            f'mount -t tmpfs -o size=64k tmpfs {place} && "$@"; s=$?; '
            f"ls -A {place} > {folder}/left; cp -a {place} {folder}/kept; exit $s"
        )
        command = ["unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh", *command]
        output = folder / "kept" / "out.mp4"
    environment = os.environ | {"RTSTYLE_FAULT_INPUT": str(source)}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        start_new_session=True,
    )  # fmt: skip
    try:
        if case.signal is not None:
            assert process.stdout is not None
            process.stdout.readline()  # it has started
            with suppress(subprocess.TimeoutExpired):
                process.wait(case.after)
            with suppress(ProcessLookupError):
                process.send_signal(case.signal)
        _, errors = process.communicate(timeout=LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return Outcome(case, process.returncode, "", None, f"hangs for {LIMIT_SECONDS:.0f} s")
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    return judge(case, process.returncode, errors, output)


def judge(case: Case, status: int, errors: str, output: Path) -> Outcome:
    """What is wrong with how the case ended, if anything."""
    sentences = [line for line in errors.splitlines() if line.startswith("rtstyle: ")]
    sentence = sentences[0].removeprefix("rtstyle: ") if sentences else ""
    frames, problem = None, ""
    left = [p.name for p in output.parent.glob(".*.part*")] if output.parent.is_dir() else []
    if output.exists():
        frames = _n_frames(output)
    if "Traceback" in errors:
        problem = f"a traceback: {errors.strip().splitlines()[-1]}"
    elif "should not happen" in errors:
        problem = f"an error without a sentence of its own: {sentence}"
    elif status not in case.status:
        problem = f"exit status {status}: {sentence or errors.strip()[-200:]}"
    elif status > 0 and len(sentences) != 1:
        problem = f"{len(sentences)} sentences: {errors.strip()[-300:]}"
    elif status > 0 and not re.search(case.says, sentence):
        problem = f"it says: {sentence}"
    elif frames == -1:
        problem = "half a file under the final name"
    elif status == 0 and frames != N_FRAMES and case.signal is None:
        problem = f"{frames} of {N_FRAMES} frames"
    elif left:
        problem = f"left behind: {', '.join(left)}"
    return Outcome(case, status, sentence, frames, problem)


def _n_frames(path: Path) -> int:
    """How many frames the file plays, -1 when it does not to its end."""
    try:
        with open_source(path) as source:
            return sum(1 for _ in source.frames())
    except (RtstyleError, av.FFmpegError):
        return -1


def _can_mount() -> bool:
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", "mount -t tmpfs tmpfs /mnt"]
    try:
        return subprocess.run(command, capture_output=True, timeout=20).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _summary(outcome: Outcome) -> str:
    ended = f"{outcome.frames} frames" if outcome.frames is not None else "no file"
    return f"exit {outcome.status}, {ended}: {outcome.sentence or 'fine'}"


def _row(outcome: Outcome) -> str:
    verdict = outcome.problem and f"WRONG: {outcome.problem}"
    return f"{outcome.case.name:32} {verdict or _summary(outcome)}"
