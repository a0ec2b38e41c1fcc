"""What painting a file costs: `python -m benchmarks end-to-end`.

In one run, on one clip: the fast net end to end (decode → paint → encode), the engine alone on the
same frames, and Johnson-32 under eager torch end to end in the same role, interleaved so that a
machine whose speed drifts moves all of them. The clip is played four times over, so that starting
up, a quarter of a second, does not count as painting. Then the peak memory of the clip once and
four times over.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Annotated

import typer

from benchmarks.options import parse
from rtstyle.bench.levels import frame_rate
from rtstyle.demo import make_clip
from rtstyle.engines import EngineOptions, open_engine
from rtstyle.image import Look, prepare
from rtstyle.media import WriteOptions, open_source
from rtstyle.metrics import Report
from rtstyle.model.file import read_model
from rtstyle.model.spec import ModelSpec
from rtstyle.model.zoo import PRECISIONS
from rtstyle.rendering.api import render
from rtstyle.style.parse import find_style
from rtstyle.style.style import Style, styles_of


@dataclass(frozen=True, slots=True)
class Result:
    """Frames a second, medians over the rounds; ratios are medians of each round's ratio."""

    clip: str
    precision: str
    fast_fps: float
    engine_alone_fps: float
    johnson_fps: float
    fast_over_johnson: float
    end_to_end_over_engine: float
    rounds: int
    stages_ms: dict[str, float]
    peak_mb_short: float | None
    peak_mb_long: float | None  # of the same clip four times over
    machine: str


def engine_alone(clip: Path, style: Style, engine: EngineOptions) -> float:
    """Frames a second of prepare-free inference on the clip's own frames, two in flight as the
    pipeline has them."""
    with open_source(clip) as source:
        frames = [frame.image for frame in source.frames()]
    with open_engine(engine, style.model) as loaded:
        batches = [prepare(image, model=loaded.model, look=Look()) for image in frames]
        loaded.submit(batches[0], style.vector).result()  # compiles for this size
        return frame_rate(loaded, batches, style.vector, count=len(batches), in_flight=2)


def end_to_end(clip: Path, folder: Path, style: Style, engine: EngineOptions) -> Report:
    """One whole rendering with default settings."""
    writing = WriteOptions(overwrite=True)
    return render(clip, folder / "out.mp4", style=style, engine=engine, writing=writing)


def johnson32(folder: Path) -> ModelSpec:
    """A checkpoint of the paper's net with random weights: speed does not depend on them."""
    import torch

    from rtstyle.nets import build_net
    from rtstyle.nets.checkpoint import write_checkpoint
    from rtstyle.train.recipe import Recipe

    torch.manual_seed(0)
    recipe = Recipe(architecture="johnson", options={"width": 32})
    path = folder / "johnson32.safetensors"
    write_checkpoint(path, build_net("johnson", width=32), asdict(recipe))
    return read_model(path)


def peak_memory_mb(clip: Path, style: str, threads: int | None) -> float | None:
    """Peak resident memory of a rendering in a process of its own; None where /proc is missing.

    `ru_maxrss` would not do: it starts from the peak of the process that forked.
    """
    if not Path("/proc/self/status").exists():
        return None
    code = (
        "import sys\n"
        "from rtstyle.engines import EngineOptions\n"
        "from rtstyle.media import WriteOptions\n"
        "from rtstyle.rendering.api import render\n"
        "render(sys.argv[1], sys.argv[2], style=sys.argv[3], writing=WriteOptions(overwrite=True),"
        " engine=EngineOptions(threads=int(sys.argv[4]) or None))\n"
        "print(*(line for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", code, str(clip), f"{folder}/out.mp4", style, str(threads or 0)],
            check=True,
            capture_output=True,
            text=True,
        )
    return round(int(done.stdout.split()[1]) * 1024 / 1e6, 1)  # "VmHWM:  12345 kB"


def repeated(clip: Path, folder: Path, times: int) -> Path:
    """The clip `times` over in one file, without encoding it again."""
    import av

    path = folder / "long.mp4"
    with av.open(str(path), "w") as out:
        stream = None
        shift = 0
        for _ in range(times):
            with av.open(str(clip)) as container:
                video = container.streams.video[0]
                if stream is None:
                    stream = out.add_stream_from_template(video)
                    stream.time_base = video.time_base
                for packet in container.demux(video):
                    if packet.dts is None:
                        continue
                    packet.pts, packet.dts = (packet.pts or 0) + shift, packet.dts + shift
                    packet.stream = stream
                    out.mux(packet)
                shift += video.duration or 0
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line."""

    clip: Annotated[Path | None, typer.Option(help="a 640×360 clip; the demo's by default")] = None
    style: str = "starry_night"
    engine: str = "auto"
    precision: Annotated[str, typer.Option(metavar="|".join(PRECISIONS))] = "auto"
    threads: int | None = None
    rounds: int = 5
    out: Path = Path("benchmarks/out/end-to-end.json")


def main(argv: list[str]) -> None:
    """Print the table and write it as JSON."""
    options = parse(Options, argv, program="python -m benchmarks end-to-end", about=__doc__)
    style = find_style(options.style)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = options.clip
        if clip is None:
            clip = folder / "demo.mp4"
            make_clip(clip)
        long = repeated(clip, folder, 4)
        reference = styles_of(johnson32(folder))[0]
        short = folder / "johnson-part.mp4"
        _first_frames(clip, short, 24)
        engine = EngineOptions(
            name=options.engine, threads=options.threads, precision=options.precision
        )
        eager = EngineOptions(name="torch", threads=options.threads)
        fast, alone, johnson, reports = [], [], [], []
        for n in range(options.rounds):
            reports.append(end_to_end(long, folder, style, engine))
            fast.append(reports[-1].fps)
            alone.append(engine_alone(long, style, engine))
            slow = end_to_end(short, folder, reference, eager)
            johnson.append(slow.fps)
            print(
                f"round {n + 1}: fast {fast[-1]:.1f} fps, engine alone {alone[-1]:.1f}, "
                f"Johnson-32 eager {johnson[-1]:.2f}",
                flush=True,
            )
        result = Result(
            clip=options.clip.name if options.clip else "demo",
            precision=options.precision,
            fast_fps=round(median(fast), 2),
            engine_alone_fps=round(median(alone), 2),
            johnson_fps=round(median(johnson), 3),
            fast_over_johnson=round(median(a / b for a, b in zip(fast, johnson, strict=True)), 2),
            end_to_end_over_engine=round(
                median(a / b for a, b in zip(fast, alone, strict=True)), 3
            ),
            rounds=options.rounds,
            stages_ms={k: round(v.mean_ms, 2) for k, v in reports[-1].stages.items()},
            peak_mb_short=peak_memory_mb(clip, options.style, options.threads),
            peak_mb_long=peak_memory_mb(repeated(clip, folder, 8), options.style, options.threads),
            machine=_machine(),
        )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(asdict(result), indent=1))
    for key, value in asdict(result).items():
        print(f"{key}: {value}")


def _first_frames(clip: Path, path: Path, count: int) -> None:
    """A part of the clip for the slow net, painted by nobody."""
    from fractions import Fraction

    from rtstyle.media import ReadOptions, open_sink

    with open_source(clip) as whole:
        seconds = Fraction(count) / whole.info.rate
    with (
        open_source(clip, ReadOptions(start=Fraction(0), duration=seconds)) as source,
        open_sink(path, source, WriteOptions(preset="ultrafast")) as sink,
    ):
        for frame in source.frames():
            sink.write(frame)
        sink.finish()


def _machine() -> str:
    import os

    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    return (
        f"{model}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
    )
