"""How live painting keeps up: `python -m benchmarks live`.

A synthetic camera at 30 pictures a second, of 640×360 by default, each with its number and capture
time as a bar code, is painted by the fast net and read back at the sink. First the net alone; then
a steady run, whose latency at its end is compared with that at its beginning, and its memory with
it; then a run with style switches, and one of the same length without, so that what a switch costs
shows. `--seconds 600` is the ten minutes that a claim of "no growing lag" needs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Annotated

import typer

from benchmarks.options import parse
from rtstyle.bench.case import parse_size
from rtstyle.bench.levels import latencies_ms
from rtstyle.engines import EngineOptions
from rtstyle.engines.base import Engine
from rtstyle.frame import Frame
from rtstyle.image import Look, geometry, prepare
from rtstyle.live import barcode
from rtstyle.live.barcode import MeterSink
from rtstyle.live.controls import Controls
from rtstyle.live.engine_pool import Canvas, EnginePool
from rtstyle.live.options import LiveOptions
from rtstyle.live.session import Figures, Session
from rtstyle.live.settings import Settings
from rtstyle.media import open_source
from rtstyle.metrics import Latencies
from rtstyle.model.zoo import PRECISIONS, VARIANTS
from rtstyle.style.parse import find_style
from rtstyle.style.style import Style, can_mix, find_styles
from rtstyle.upscale import upscaled

CAMERA = "lavfi:testsrc2=size={}x{}:rate=30"
FRAME_MS = 1e3 / 30


@dataclass(frozen=True, slots=True)
class Run:
    """One live run. Latencies in milliseconds, from bar codes; memory in MB."""

    seconds: float
    fps: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    p95_first_quarter_ms: float
    p95_last_quarter_ms: float
    camera_frames: int
    dropped: int
    memory_early_mb: float | None
    memory_end_mb: float | None
    switches: int = 0
    dropped_after_switches: int = 0  # of the pictures that came in the two frames after one


@dataclass(frozen=True, slots=True)
class Result:
    """`p95_limit_ms` is what is wanted: two frame times and the net's own time."""

    style: str
    net_ms: float
    p95_limit_ms: float
    steady: Run
    with_switches: Run
    without_switches: Run
    switched_within: str
    dropped_by_switches: int
    engine: str
    precision: str
    machine: str


class _Quarters(MeterSink):
    """A meter that also keeps the first and the last quarter of the run apart."""

    def __init__(self, clock: Callable[[], float], seconds: float) -> None:
        super().__init__(clock)
        self.first, self.last = Latencies(), Latencies()
        self._seconds, self._began = seconds, clock()

    def write(self, frame: Frame) -> None:
        super().write(frame)
        share = (self._clock() - self._began) / self._seconds
        if share < 0.25 and barcode.read(frame.image):
            self.first.record(self.latency.latest_ms)
        elif share > 0.75:
            self.last.record(self.latency.latest_ms)


def live_run(
    style: Style,
    gallery: list[Style],
    pool: EnginePool,
    *,
    size: tuple[int, int],
    look: Look,
    seconds: float,
    switches: int = 0,
) -> Run:
    """Paint a camera of `size`, (width, height), for `seconds`, switching to the next of `gallery`
    so many times, evenly spread."""
    options = LiveOptions(measure=True, upscale=look.upscale)
    controls = Controls(gallery, Settings(style=style))
    memory: list[float] = []
    switched = dropped = dropped_after = since = 0
    with open_source(CAMERA.format(*size), live=True) as source:
        meter = _Quarters(source.clock, seconds)
        session = Session(source, meter, controls, pool, options=options)
        began = perf_counter()

        def shown(figures: Figures) -> None:
            nonlocal switched, dropped, dropped_after, since
            passed = perf_counter() - began
            if switched and since < 2:  # what a switch delays shows in the frames right after it
                dropped_after += session.pipeline.report.dropped - dropped
            dropped, since = session.pipeline.report.dropped, since + 1
            if passed >= seconds:
                session.stop()
            elif switched < switches * passed / seconds:
                controls.do("next")
                switched, since = switched + 1, 0
            due = passed > 0.1 * seconds + len(memory) * seconds / 200
            if due and (now := _resident_mb()) is not None:
                memory.append(now)

        report = session.run(shown)
    slice_ = max(1, len(memory) // 20)
    return Run(
        seconds=round(report.seconds, 1),
        fps=round(report.fps, 2),
        p50_ms=round(meter.latency.quantile_ms(0.5), 1),
        p95_ms=round(meter.latency.quantile_ms(0.95), 1),
        p99_ms=round(meter.latency.quantile_ms(0.99), 1),
        p95_first_quarter_ms=round(meter.first.quantile_ms(0.95), 1),
        p95_last_quarter_ms=round(meter.last.quantile_ms(0.95), 1),
        camera_frames=report.frames_in,
        dropped=report.dropped,
        memory_early_mb=round(median(memory[:slice_]), 1) if memory else None,
        memory_end_mb=round(median(memory[-slice_:]), 1) if memory else None,
        switches=switched,
        dropped_after_switches=dropped_after,
    )


def net_alone_ms(
    style: Style, pool: EnginePool, *, size: tuple[int, int], look: Look, count: int = 60
) -> float:
    """The median time of one picture of `size`, (width, height), nothing else running; with the
    enlargement, where there is one."""
    import numpy as np

    picture = np.random.default_rng(0).integers(0, 255, (*size[::-1], 3)).astype(np.uint8)
    engine = pool.lease(_canvas(style, size, look))
    batch = prepare(picture, model=engine.model, look=look)
    times = latencies_ms(engine, [batch], style.vector, seconds=0.0, count=count)
    painted = engine.submit(batch, style.vector).result()
    pool.release(engine)
    enlarging = []
    for _ in range(count):
        began = perf_counter()
        upscaled(painted, picture, model=engine.model, look=look)
        enlarging.append(1e3 * (perf_counter() - began))
    return median(times) + median(enlarging)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line."""

    style: str = "starry_night"
    engine: str = "auto"
    precision: Annotated[str, typer.Option(metavar="|".join(PRECISIONS), help="as live has it")] = (
        "fastest"
    )
    threads: int | None = None
    size: Annotated[str, typer.Option(metavar="WxH", help="of the camera")] = "640x360"
    upscale: Annotated[int, typer.Option(help="2 paints at half of that size, as in live")] = 1
    seconds: Annotated[float, typer.Option(help="of the steady run")] = 60.0
    switches: int = 500
    switch_seconds: float = 60.0
    out: Path = Path("benchmarks/out/live.json")


def main(argv: list[str]) -> None:
    """Print the table and write it as JSON."""
    options = parse(Options, argv, program="python -m benchmarks live", about=__doc__)
    style = find_style(options.style)
    relatives = [other for other in find_styles() if can_mix(style, other)]
    gallery = relatives if len(relatives) > 1 else find_styles()
    size, look = parse_size(options.size), Look(upscale=options.upscale)
    chosen = EngineOptions(
        name=options.engine, threads=options.threads, precision=options.precision
    )
    with EnginePool(chosen, keep=32) as pool:
        if gallery is not relatives:
            _open_all(gallery, pool, size, look)
        net_ms = net_alone_ms(style, pool, size=size, look=look)
        run = partial(live_run, style, gallery, pool, size=size, look=look)
        steady = run(seconds=options.seconds)
        without = run(seconds=options.switch_seconds)
        switching = run(seconds=options.switch_seconds, switches=options.switches)
        engine = pool.lease(_canvas(style, size, look))
        result = Result(
            style=style.name,
            net_ms=round(net_ms, 1),
            p95_limit_ms=round(2 * FRAME_MS + net_ms, 1),
            steady=steady,
            with_switches=switching,
            without_switches=without,
            switched_within="one model" if gallery is relatives else f"{len(gallery)} models",
            dropped_by_switches=switching.dropped_after_switches,
            engine=engine.name,
            precision=_precision_of(engine),
            machine=f"{engine.device}, {time.strftime('%Y-%m-%d')}",
        )
        pool.release(engine)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(asdict(result), indent=1))
    print(json.dumps(asdict(result), indent=1))
    print(table(result))


def table(result: Result) -> str:
    """The same as a Markdown table."""
    steady = result.steady
    grown = ""
    if steady.memory_early_mb and steady.memory_end_mb:
        grown = f"{100 * (steady.memory_end_mb / steady.memory_early_mb - 1):+.1f} %"
    rows = [
        ("frames shown a second (camera: 30)", f"{steady.fps:.1f}"),
        ("latency p50 / p95 / p99", f"{steady.p50_ms} / {steady.p95_ms} / {steady.p99_ms} ms"),
        ("p95 allowed: two frame times + the net", f"{result.p95_limit_ms} ms"),
        (
            "p95 in the first and last quarter",
            f"{steady.p95_first_quarter_ms} and {steady.p95_last_quarter_ms} ms",
        ),
        (f"memory over {steady.seconds:g} s", grown),
        (
            f"dropped with {result.with_switches.switches} switches within "
            f"{result.switched_within}, without",
            f"{result.with_switches.dropped} (right after one: {result.dropped_by_switches}), "
            f"{result.without_switches.dropped}",
        ),
    ]
    lines = [f"| {what} | {value} |" for what, value in rows]
    return "\n".join(
        [f"| {result.style}, {result.engine}, {result.precision} | |", "|---|---|", *lines]
    )


def _precision_of(engine: Engine) -> str:
    """Of the model file that it paints with."""
    folder = engine.model.path.parent.name
    return folder if folder in VARIANTS else "fp32"


def _open_all(gallery: list[Style], pool: EnginePool, size: tuple[int, int], look: Look) -> None:
    """As a user's second round through the gallery finds them."""
    for style in gallery:
        pool.release(pool.lease(_canvas(style, size, look)))


def _canvas(style: Style, size: tuple[int, int], look: Look) -> Canvas:
    width, height = size
    return Canvas(style.model, geometry(height, width, model=style.model, look=look).padded)


def _resident_mb() -> float | None:
    """Memory in use now; None where /proc is missing."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024 / 1e6
