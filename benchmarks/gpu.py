"""What an NVIDIA card reaches: `python -m benchmarks gpu`.

For each net and size: frames a second of the engine alone, of the pipeline in memory (a pattern in,
nothing out) and from file to file; the share of the roofline that the engine reaches; the overlap,
which is pipeline over engine; and how long the card stands idle between two launches. Works offline
with what is installed and skips the rest with the reason. Writes JSON and Markdown with the
machine's facts. `--device cpu --quick` tries the same code without a card; its figures mean nothing
for one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from rtstyle.engines.base import Batch, Engine
from rtstyle.errors import EngineError, RtstyleError
from rtstyle.frame import Frame
from rtstyle.media import WriteOptions, open_sink, open_source
from rtstyle.media.null import NullSink
from rtstyle.media.synthetic import SyntheticSource
from rtstyle.model import ModelSpec, read_model
from rtstyle.style import Style

SIZES = {"512²": (512, 512), "720p": (720, 1280), "1080p": (1080, 1920), "2160p": (2160, 3840)}
QUICK = {"64×96": (64, 96)}
NETS: dict[str, tuple[str, dict[str, Any]]] = {
    "johnson-32": ("johnson", {"width": 32}),
    "fast-cin": ("fast", {"styles": 8}),
    "adain": ("adain", {}),
}
_QUICK_NETS: dict[str, tuple[str, dict[str, Any]]] = {
    "johnson-32": ("johnson", {"width": 4, "blocks": 1}),
    "fast-cin": ("fast", {"width": 8, "deep": 8, "blocks": 1, "tail": 8, "styles": 2}),
    "adain": ("adain", {"channels": (4, 4, 4, 4)}),
}
# Dense half-precision TFLOP/s and memory TB/s as the maker states them; a card that is not here
# gets no share of the roofline.
PEAKS = {
    "H200": (989.0, 4.8), "H100": (989.0, 3.35), "A100": (312.0, 2.0), "L40S": (362.0, 0.864),
    "L4": (121.0, 0.3), "T4": (65.0, 0.32),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """One net at one size. Rates are frames a second; None was not measured."""

    net: str
    size: str
    engine: str
    engine_fps: float
    pipeline_fps: float | None
    file_fps: float | None
    overlap: float | None  # pipeline fps / engine fps
    gflop: float  # of one frame
    roofline_fps: float | None  # the larger of arithmetic and memory traffic, per frame
    roofline_share: float | None
    idle_ms: float | None  # median gap between two graphs on the card, with all slots busy


@dataclass
class Report:
    """All rows, what was skipped and why, and the machine."""

    machine: dict[str, str]
    seconds: float = 0.0
    rows: list[Row] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Plan:
    device: str
    seconds: float  # of each measurement
    file_frames: int
    sizes: dict[str, tuple[int, int]]
    nets: dict[str, tuple[str, dict[str, Any]]]
    deadline: float  # perf_counter() at which no new measurement begins


def main(argv: list[str]) -> int:
    """Measure, print the table, write gpu.json and gpu.md."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks gpu", description=__doc__)
    parser.add_argument("--device", default="0", help="the card's number, or cpu to try the code")
    parser.add_argument("--quick", action="store_true", help="tiny nets and pictures, no figures")
    parser.add_argument("--net", choices=list(NETS), action="append")
    parser.add_argument("--engine", action="append", help="torch-cuda and every other by default")
    parser.add_argument("--minutes", type=float, default=7.0, help="begin nothing after this long")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out"))
    options = parser.parse_args(argv)
    start = perf_counter()
    nets = _QUICK_NETS if options.quick else NETS
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
            print(_line(row), flush=True)
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
    plan: _Plan, name: str, models: dict[str, ModelSpec], label: str, size: str,
    shape: tuple[int, int], folder: Path, skip: Callable[[str], None],
) -> Row:  # fmt: skip
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
        fps = median(engine_rate(engine, frames, style, plan.seconds) for _ in range(3))
        idle = idle_gap(engine, frames, style) if plan.device != "cpu" else None
        chosen = Style(name, engine.model, style)
        count = max(8, int(fps * plan.seconds))
        pipeline = _where_installed(lambda: pipeline_rate(engine, chosen, shape, count), skip)
        from_file = _where_installed(
            lambda: file_rate(engine, chosen, shape, plan.file_frames, folder), skip
        )
    gflop, gbyte = cost(models[".safetensors"], height, width)
    peak = _peak(plan.device)
    roofline = None if peak is None else 1 / max(gflop / peak[0] / 1e3, gbyte / peak[1] / 1e3)
    return Row(
        net=name, size=size, engine=label, engine_fps=round(fps, 1),
        pipeline_fps=_rounded(pipeline, 1), file_fps=_rounded(from_file, 1),
        overlap=None if pipeline is None else round(pipeline / fps, 3), gflop=round(gflop, 2),
        roofline_fps=None if roofline is None else round(roofline, 1),
        roofline_share=None if roofline is None else round(fps / roofline, 3),
        idle_ms=None if idle is None else round(idle, 4),
    )  # fmt: skip


def engine_rate(engine: Engine, frames: list[Batch], style: Any, seconds: float) -> float:
    """Frames a second with three batches on their way, results taken by this thread."""
    pending = [engine.submit(frames[i % len(frames)], style) for i in range(3)]
    start, done = perf_counter(), 0
    while (elapsed := perf_counter() - start) < seconds or done < 3:
        pending.pop(0).result()
        pending.append(engine.submit(frames[done % len(frames)], style))
        done += 1
    for waiting in pending:
        waiting.result()
    return done / elapsed


def pipeline_rate(engine: Engine, style: Style, shape: tuple[int, int], count: int) -> float:
    """Frames a second of the whole pipeline without files: pictures in memory in, nothing out."""
    from rtstyle.pipeline import Pipeline

    with _InMemory(shape, count) as source, NullSink() as sink:
        return Pipeline(source, engine, sink, style=style, capacity=4).run().fps


class _InMemory(SyntheticSource):
    """Four pictures of the pattern over and over, which costs no time of their own."""

    def __init__(self, shape: tuple[int, int], count: int) -> None:
        super().__init__(shape[1], shape[0], n_frames=4)
        self._ready = [frame.image for frame in super().frames()]
        self.info = replace(self.info, n_frames=count)

    def frames(self) -> Iterator[Frame]:
        step = 1 / self.info.rate
        for i in range(self.info.n_frames or 0):
            yield Frame(self._ready[i % 4], i * step, i, step)


def file_rate(
    engine: Engine, style: Style, shape: tuple[int, int], count: int, folder: Path
) -> float:
    """Frames a second from an H.264 file to another, by the encoder's fastest preset."""
    from rtstyle.pipeline import Pipeline

    clip = folder / f"clip-{shape[0]}x{shape[1]}.mp4"
    fast = WriteOptions(preset="ultrafast", overwrite=True)
    if not clip.exists():
        pattern = SyntheticSource(shape[1], shape[0], n_frames=count)
        with pattern, open_sink(clip, pattern, fast) as sink:
            for frame in pattern.frames():
                sink.write(frame)
            sink.finish()
    with open_source(clip) as source, open_sink(folder / "out.mp4", source, fast) as sink:
        report = Pipeline(source, engine, sink, style=style, capacity=4).run()
        sink.finish()
    return report.fps


def idle_gap(engine: Engine, frames: list[Batch], style: Any) -> float | None:
    """Median milliseconds between the end of a kernel and the start of the next, over 30 batches
    with all slots busy, as torch's profiler sees the card; None where it sees nothing."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        pending = [engine.submit(frames[i % len(frames)], style) for i in range(30)]
        for waiting in pending:
            waiting.result()
    spans = sorted(
        (event.time_range.start, event.time_range.end)
        for event in seen.events()
        if "CUDA" in str(event.device_type) and "Memcpy" not in event.name
    )
    gaps, busy_until = [], None
    for begin, end in spans:
        if busy_until is not None:
            gaps.append(max(0.0, begin - busy_until))
        busy_until = end if busy_until is None else max(busy_until, end)
    return median(gaps) / 1e3 if gaps else None


def cost(model: ModelSpec, height: int, width: int) -> tuple[float, float]:
    """GFLOP of a frame's convolutions, and the GB that half-precision activations move at the
    least: each convolution and each norm reads and writes its own once."""
    import torch
    from torch import nn

    from rtstyle.train.checkpoint import load_checkpoint_net

    net, _ = load_checkpoint_net(model.path)
    side = 8 * int(net.stride)  # type: ignore[arg-type]
    total = {"flop": 0.0, "values": 0.0}

    def count(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        total["values"] += inputs[0].numel() + output.numel()
        if isinstance(module, nn.Conv2d):
            kernel = module.weight[0].numel()
            total["flop"] += 2.0 * kernel * output.numel()

    for module in net.modules():
        is_norm = type(module).__name__.endswith("Norm") and not list(module.children())
        if isinstance(module, nn.Conv2d) or is_norm:
            module.register_forward_hook(count)
    inputs = [torch.rand(1, 3, side, side)]
    if model.style_size:
        inputs.append(torch.full((1, model.style_size), 1 / model.style_size))
    with torch.inference_mode():
        net(*inputs)
    scale = height * width / side**2
    return total["flop"] * scale / 1e9, total["values"] * 2 * scale / 1e9


def make_models(
    folder: Path, name: str, architecture: str, options: dict[str, Any],
    skip: Callable[[str], None], *, quick: bool,
) -> dict[str, ModelSpec]:  # fmt: skip
    """A checkpoint with random weights, and where onnx is installed an fp16 model file: speed does
    not depend on the weights."""
    import torch

    from rtstyle.nets import build_net
    from rtstyle.train.checkpoint import write_checkpoint
    from rtstyle.train.recipe import Recipe

    torch.manual_seed(0)
    net = build_net(architecture, **options).eval()
    path = folder / f"{name}.safetensors"
    styles = [f"style {i}" for i in range(options.get("styles", 0))]
    write_checkpoint(path, net, Recipe(architecture=architecture, options=options), names=styles)
    models = {".safetensors": read_model(path)}
    if quick:
        skip(f"{name}: engines that need a model file, as --quick exports none")
        return models
    try:
        models[".onnx"] = _export(net, folder / f"{name}.onnx", models[".safetensors"])
    except (ImportError, RuntimeError, RtstyleError) as error:
        skip(f"{name}: no model file ({str(error).splitlines()[0]})")
    return models


def _export(net: Any, path: Path, spec: ModelSpec) -> ModelSpec:
    import onnx

    from export.half import to_half
    from rtstyle.train.onnx_export import to_onnx

    onnx.save_model(to_half(to_onnx(net, replace(spec, path=path))), path)
    return read_model(path)


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
    from rtstyle.engines import open_engine

    if device != "cpu":
        return open_engine(label, model, precision="fp32", devices=(int(device),))
    if label != "torch-cuda":
        raise EngineError("it needs a card")
    from rtstyle.engines.torch_cuda_engine import TorchCudaEngine

    return TorchCudaEngine(model, device="cpu")


def machine_facts(device: str) -> dict[str, str]:
    """Card, driver, processor and versions, as far as they can be told."""
    facts = {
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "processor": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
    }
    for package in (
        "torch",
        "triton",
        "tensorrt",
        "tensorrt_rtx",
        "onnxruntime-gpu",
        "av",
        "numpy",
    ):
        try:
            facts[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            facts[package] = "not installed"
    if device != "cpu":
        import torch

        if not torch.cuda.is_available():
            raise EngineError("torch sees no CUDA card; --device cpu --quick tries the code.")
        told = torch.cuda.get_device_properties(int(device))
        facts["card"] = (
            f"{told.name}, {told.total_memory / 2**30:.0f} GiB, sm {told.major}{told.minor}"
        )
        facts["cuda of torch"] = str(torch.version.cuda)
        facts["cudnn"] = str(torch.backends.cudnn.version())  # type: ignore[no-untyped-call]
    return facts


def _peak(device: str) -> tuple[float, float] | None:
    if device == "cpu":
        return None
    import torch

    name = torch.cuda.get_device_name(int(device))
    return next((peak for key, peak in PEAKS.items() if key in name), None)


def markdown(report: Report) -> str:
    """The report for a README."""
    lines = ["# What the card reaches", ""]
    lines += [f"- {name}: {value}" for name, value in report.machine.items()]
    lines += [
        "", "| net | size | engine | engine fps | pipeline fps | file fps | overlap | roofline |"
        " idle ms |", "|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for row in report.rows:
        share = "–" if row.roofline_share is None else f"{row.roofline_share:.0%}"
        idle = "–" if row.idle_ms is None else f"{row.idle_ms:.3f}"
        overlap = "–" if row.overlap is None else f"{row.overlap:.0%}"
        lines.append(
            f"| {row.net} | {row.size} | {row.engine} | {row.engine_fps} | {row.pipeline_fps} | "
            f"{row.file_fps} | {overlap} | {share} | {idle} |"
        )
    if report.skipped:
        lines += ["", "Not measured:", "", *(f"- {reason}" for reason in report.skipped)]
    return "\n".join([*lines, "", f"Took {report.seconds:.0f} s.", ""])


def _line(row: Row) -> str:
    share = "" if row.roofline_share is None else f", {row.roofline_share:.0%} of the roofline"
    idle = "" if row.idle_ms is None else f", idle {row.idle_ms:.3f} ms"
    return (
        f"{row.net} {row.size} {row.engine}: engine {row.engine_fps} fps, pipeline "
        f"{row.pipeline_fps}, file to file {row.file_fps}{share}{idle}"
    )
