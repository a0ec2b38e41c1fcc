"""Whether the report names the true bottleneck: `python -m benchmarks rigged`.

Pipelines that are slow in one known part: by sleeping, so that the truth is sure, and by real work,
so that it is like what users have. Exits 1 when another part is named. It goes to
`benchmarks/results/studies/rigged.json`.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import typer

from benchmarks.options import parse
from benchmarks.studies import Study, Table, command_line, keep, show
from rtstyle.bench.case import Case
from rtstyle.bench.levels import run_pipeline
from rtstyle.bench.result import find_bottleneck
from rtstyle.bench.sources import EndlessClip, EndlessPictures, make_clip
from rtstyle.engines import open_engine
from rtstyle.engines.identity_engine import IdentityEngine
from rtstyle.errors import UsageError
from rtstyle.frame import Frame
from rtstyle.media import WriteOptions, open_sink
from rtstyle.media.synthetic import NullSink
from rtstyle.style.parse import find_style
from rtstyle.style.style import Style

SLOW_S = 0.03  # beside a millisecond or two of everything else


class SlowSource(EndlessPictures):
    """Slow where a disk, a network or a decoder is."""

    def frames(self) -> Iterator[Frame]:
        for frame in super().frames():
            time.sleep(SLOW_S)
            yield frame


class SlowEngine(IdentityEngine):
    """Slow where a processor is: in `submit`."""

    def submit(self, *arguments: Any) -> Any:
        time.sleep(SLOW_S)
        return super().submit(*arguments)


class SlowGpu(IdentityEngine):
    """Slow where a GPU is: in `result`, in another thread."""

    def submit(self, *arguments: Any) -> Any:
        done = super().submit(*arguments)

        class Later:
            def wait(self, seconds: float) -> bool:
                return True

            def result(self) -> Any:
                time.sleep(SLOW_S)
                return done.result()

        return Later()


class SlowSink(NullSink):
    """Slow where an encoder or a disk is."""

    def write(self, frame: Frame) -> None:
        time.sleep(SLOW_S)
        super().write(frame)


@dataclass(frozen=True, slots=True)
class Rig:
    """A pipeline of which `part` is the slow one; `make` gives source, engine and sink."""

    name: str
    part: str
    width: int
    height: int
    make: Callable[[Rig, Style, Path], tuple[Any, Any, Any]]


def _sleeping(
    source: type[Any] = EndlessPictures,
    engine: type[Any] = IdentityEngine,
    sink: type[Any] = NullSink,
) -> Callable[[Rig, Style, Path], tuple[Any, Any, Any]]:
    return lambda rig, style, _: (source(rig.width, rig.height), engine(style.model), sink())


def _decoding(rig: Rig, style: Style, folder: Path) -> tuple[Any, Any, Any]:
    make_clip(folder / "clip.mp4", rig.width, rig.height, frames=12)
    return EndlessClip(folder / "clip.mp4"), IdentityEngine(style.model), NullSink()


def _painting(rig: Rig, style: Style, _: Path) -> tuple[Any, Any, Any]:
    engine = open_engine("onnxruntime", style.model)
    return EndlessPictures(rig.width, rig.height), engine, NullSink()


def _encoding(rig: Rig, style: Style, folder: Path) -> tuple[Any, Any, Any]:
    source = EndlessPictures(rig.width, rig.height)
    sink = open_sink(folder / "out.mp4", source, WriteOptions(preset="slow"))
    return source, IdentityEngine(style.model), sink


SLEEPING = (
    Rig("source that sleeps", "source", 64, 48, _sleeping(source=SlowSource)),
    Rig("engine that sleeps, as a processor", "engine", 64, 48, _sleeping(engine=SlowEngine)),
    Rig("engine that sleeps, as a GPU", "engine", 64, 48, _sleeping(engine=SlowGpu)),
    Rig("sink that sleeps", "sink", 64, 48, _sleeping(sink=SlowSink)),
)
WORKING = (
    Rig("source that decodes 1440p, nothing else to do", "source", 2560, 1440, _decoding),
    Rig("engine that paints 360p, from memory to nowhere", "engine", 640, 360, _painting),
    Rig("sink that encodes 360p with preset slow", "sink", 640, 360, _encoding),
)


def name_bottleneck(rig: Rig, style: Style, *, seconds: float) -> tuple[str, str, float]:
    """The part that the report names, the text it prints, and the frames a second."""
    case = Case(
        level="memory", style=style.name, width=rig.width, height=rig.height, seconds=seconds,
        burn_in=seconds / 4,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        source, engine, sink = rig.make(rig, style, Path(folder))
        parts: list[AbstractContextManager[Any]] = [source, engine, sink]
        for part in parts:
            stack.enter_context(part)
        timing = run_pipeline(case, source, engine, sink, style)
    found = find_bottleneck(timing.stages_ms, fps=timing.fps)
    text = str(found)
    return ("none" if text.startswith("none") else found.part), text, timing.fps


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line."""

    style: Annotated[str, typer.Option(help="of the engine that paints")] = "starry_night"
    seconds: Annotated[float, typer.Option(help="of each pipeline")] = 2.0
    sleeping_only: Annotated[bool, typer.Option("--sleeping-only", help="no real work")] = False
    out: Path | None = None


def main(argv: list[str]) -> int:
    """Run every rig, print, keep; exit status 1 for a wrong name."""
    options = parse(Options, argv, program="python -m benchmarks rigged", about=__doc__)
    if not 0 < options.seconds < 1e4:
        raise UsageError(f"A pipeline runs for more than 0 seconds, not {options.seconds}.")
    style = find_style(options.style)
    began, rows, figures = perf_counter(), [], []
    for rig in SLEEPING + (() if options.sleeping_only else WORKING):
        named, text, fps = name_bottleneck(rig, style, seconds=options.seconds)
        rows.append((rig.name, rig.part, text, f"{fps:.1f}", "yes" if named == rig.part else "NO"))
        figures.append({"rig": rig.name, "truth": rig.part, "named": named, "fps": round(fps, 3)})
        print(": ".join(rows[-1][:3]), flush=True)
    right = sum(row[-1] == "yes" for row in rows)
    study = Study(
        name="rigged",
        command=command_line("rigged", argv),
        tables=(
            Table(
                title="The slow part and what the report names",
                columns=("pipeline", "slow part", "named", "fps", "right"),
                rows=tuple(rows),
            ),
        ),
        verdicts=(f"{right} of {len(rows)} bottlenecks were named rightly.",),
        passed=right == len(rows),
        seconds=round(perf_counter() - began, 1),
        figures={"rigs": figures},
    )
    show(study)
    print(keep(study, options.out))
    return 0 if study.passed else 1
