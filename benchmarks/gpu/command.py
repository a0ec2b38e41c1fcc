"""What an NVIDIA GPU reaches: `python -m benchmarks gpu`.

For each net and size: frames a second of the engine alone, of the pipeline in memory (a pattern in,
nothing out) and from file to file; the share of the roofline that the engine reaches; the overlap,
which is pipeline over engine; and how long the GPU is idle between two launches. Works offline
with what is installed and skips the rest with the reason. Writes JSON and Markdown with the
machine's facts. `--device cpu --quick` tries the same code without a GPU; its figures mean nothing
for one.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.gpu.machine import machine_facts, peak_of
from benchmarks.gpu.nets import NETS, QUICK_NETS, cost, make_models
from benchmarks.gpu.rates import file_rate, idle_gap, pipeline_rate
from benchmarks.gpu.rows import Report, Row, line, markdown
from benchmarks.options import parse
from rtstyle.bench.levels import frame_rate
from rtstyle.engines.base import Engine
from rtstyle.errors import EngineError, RtstyleError, UsageError
from rtstyle.model.spec import ModelSpec
from rtstyle.style.style import Style

SIZES = {"512²": (512, 512), "720p": (720, 1280), "1080p": (1080, 1920), "2160p": (2160, 3840)}
QUICK = {"64×96": (64, 96)}


@dataclass(frozen=True, slots=True)
class _Plan:
    device: str
    seconds: float  # of each measurement
    file_frames: int
    sizes: dict[str, tuple[int, int]]
    nets: dict[str, tuple[str, dict[str, Any]]]
    deadline: float  # perf_counter() at which no new measurement begins


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line."""

    device: Annotated[str, typer.Option(help="the GPU's number, or cpu to try the code")] = "0"
    quick: Annotated[bool, typer.Option("--quick", help="tiny nets and pictures, no figures")] = (
        False
    )
    net: Annotated[list[str] | None, typer.Option(metavar="|".join(list(NETS)))] = None
    engine: Annotated[
        list[str] | None, typer.Option(help="torch-cuda and every other by default")
    ] = None
    minutes: Annotated[float, typer.Option(help="begin nothing after this long")] = 7.0
    out: Path = Path("benchmarks/out")


def main(argv: list[str]) -> int:
    """Measure, print the table, write gpu.json and gpu.md."""
    options = parse(Options, argv, program="python -m benchmarks gpu", about=__doc__)
    if unknown := set(options.net or ()) - set(NETS):
        raise UsageError(f"There is no net {min(unknown)!r}; use {', '.join(NETS)}.")
    start = perf_counter()
    nets = QUICK_NETS if options.quick else NETS
    plan = _Plan(
        device=options.device,
        seconds=0.05 if options.quick else 2.0,
        file_frames=4 if options.quick else 240,
        sizes=QUICK if options.quick else SIZES,
        nets={name: net for name, net in nets.items() if name in (options.net or nets)},
        deadline=start + options.minutes * 60,
    )
    report = Report(machine_facts(options.device))
    with tempfile.TemporaryDirectory() as folder:
        for row in measure(plan, Path(folder), options.engine, report.skipped.append):
            report.rows.append(row)
            print(line(row), flush=True)
    report.seconds = round(perf_counter() - start, 1)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "gpu.json").write_text(json.dumps(asdict(report), indent=1, ensure_ascii=False))
    (options.out / "gpu.md").write_text(markdown(report), encoding="utf-8")
    report.skipped = list(dict.fromkeys(report.skipped))  # each reason once
    for reason in report.skipped:
        print(f"skipped: {reason}")
    print(f"{options.out / 'gpu.json'} and gpu.md, {report.seconds:.0f} s")
    return 0 if report.rows else 1


def measure(
    plan: _Plan, folder: Path, engines: list[str] | None, skip: Callable[[str], None]
) -> Iterator[Row]:
    """Every row that can be measured here, the most telling first."""
    for name, (architecture, options) in plan.nets.items():
        try:
            models = make_models(folder, name, architecture, options, skip, quick=plan.seconds < 1)
        except RtstyleError as error:
            skip(f"{name}: {error}")
            continue
        for label in engines or ["torch-cuda", "tensorrt", "onnxruntime-cuda"]:
            for size, shape in plan.sizes.items():
                if perf_counter() > plan.deadline:
                    skip(f"{name} {size} by {label}: the time was up")
                    continue
                try:
                    yield measure_one(plan, name, models, label, size, shape, folder, skip)
                except (EngineError, RuntimeError, ImportError) as error:
                    skip(f"{name} {size} by {label}: {str(error).splitlines()[0]}")
                    break


def measure_one(
    plan: _Plan,
    name: str,
    models: dict[str, ModelSpec],
    label: str,
    size: str,
    shape: tuple[int, int],
    folder: Path,
    skip: Callable[[str], None],
) -> Row:
    """One net at one size by one engine."""
    model = models.get(".safetensors" if label.startswith("torch") else ".onnx")
    if model is None:
        raise EngineError(f"{name} has no model file for it")
    style = None
    if model.style_size:
        style = np.full((1, model.style_size), 1 / model.style_size, np.float32)
        if model.style_input == "statistics":
            style = np.abs(np.random.default_rng(0).normal(0.5, 0.1, style.shape))
            style = style.astype(np.float32)
    with _open(label, model, plan.device) as engine:
        stride = engine.model.stride
        height, width = (-(-side // stride) * stride for side in shape)
        rng = np.random.default_rng(0)
        frames = [rng.integers(0, 256, (1, height, width, 3), np.uint8) for _ in range(4)]
        engine.submit(frames[0], style).result()
        fps = median(frame_rate(engine, frames, style, seconds=plan.seconds) for _ in range(3))
        idle = idle_gap(engine, frames, style) if plan.device != "cpu" else None
        chosen = Style(name, engine.model, style)
        count = max(8, int(fps * plan.seconds))
        pipeline = _where_installed(lambda: pipeline_rate(engine, chosen, shape, count), skip)
        from_file = _where_installed(
            lambda: file_rate(engine, chosen, shape, plan.file_frames, folder), skip
        )
    gflop, gbyte = cost(models[".safetensors"], height, width)
    peak = peak_of(plan.device)
    roofline = None if peak is None else 1 / max(gflop / peak[0] / 1e3, gbyte / peak[1] / 1e3)
    return Row(
        net=name,
        size=size,
        engine=label,
        engine_fps=round(fps, 1),
        pipeline_fps=_rounded(pipeline, 1),
        file_fps=_rounded(from_file, 1),
        overlap=None if pipeline is None else round(pipeline / fps, 3),
        gflop=round(gflop, 2),
        roofline_fps=None if roofline is None else round(roofline, 1),
        roofline_share=None if roofline is None else round(fps / roofline, 3),
        idle_ms=None if idle is None else round(idle, 4),
    )


def _where_installed(call: Callable[[], float], skip: Callable[[str], None]) -> float | None:
    """What `call` gives; None, and the reason among the skipped, where a library is missing."""
    try:
        return call()
    except ImportError as error:
        skip(f"pipeline or files: {error}")
        return None


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _open(label: str, model: ModelSpec, device: str) -> Engine:
    from rtstyle.engines import EngineOptions, open_engine

    if device != "cpu":
        options = EngineOptions(name=label, precision="fp32", devices=(int(device),))
        return open_engine(options, model)
    if label != "torch-cuda":
        raise EngineError("it needs a GPU")
    from rtstyle.engines.torch_engine import TorchCudaEngine

    return TorchCudaEngine(model, gpu="cpu")
