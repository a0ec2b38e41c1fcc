"""Which share of this machine's peak a model reaches: `python -m benchmarks roofline`.

The work of a frame is counted from the ONNX graph: two operations a multiplication of every
convolution and matrix product, and the bytes that these read and write, which is what must move
even when all else is fused into them. The peak is measured here: matrix products, and a copy of
more than any cache holds. The roofline is the slower of the two. An engine that computes 3×3
convolutions by Winograd's method does fewer operations than are counted, and may exceed it. It goes
to `benchmarks/results/studies/roofline.json`; Ctrl-C keeps what was measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.gmac import count_macs, products
from benchmarks.options import parse
from benchmarks.studies import Study, Table, command_line, keep, show
from rtstyle.bench import Case, Measured, Missing, run_cases
from rtstyle.bench.case import parse_size
from rtstyle.errors import RtstyleError, UsageError
from rtstyle.model.spec import ModelSpec
from rtstyle.style.parse import find_style

_FLOAT = 4  # bytes: engines on a processor compute in single precision
_SIDES = (512, 1024, 2048)  # of the matrices: a short one also fits between two neighbours' turns
_COPIED = 256 * 2**20  # bytes


@dataclass(frozen=True, slots=True)
class Work:
    """Of one frame."""

    gflop: float
    gbyte: float


@dataclass(frozen=True, slots=True)
class Peak:
    """What the machine reached at its best."""

    gflop_s: float
    gbyte_s: float

    def fps(self, work: Work) -> float:
        """The most frames a second that the machine can do of that work."""
        return 1 / max(work.gflop / self.gflop_s, work.gbyte / self.gbyte_s)

    def bound(self, work: Work) -> str:
        """What limits it."""
        by_arithmetic = work.gflop / self.gflop_s >= work.gbyte / self.gbyte_s
        return "arithmetic" if by_arithmetic else "memory"


def count_work(model: ModelSpec, *, height: int, width: int) -> Work:
    """The work of a frame of `height` × `width`. Raises `ModelError` where it cannot be counted."""
    stride = model.stride
    size = {"height": -(-height // stride) * stride, "width": -(-width // stride) * stride}
    values = sum(
        math.prod(x) + math.prod(weight) + math.prod(out)
        for _, x, weight, out in products(model.path, **size)
    )
    return Work(2 * count_macs(model.path, **size) / 1e9, _FLOAT * values / 1e9)


def measure_peak(*, seconds: float = 2.0, threads: int | None = None) -> Peak:
    """The best of repeated runs, by numpy and, where it is installed, by torch."""
    part = seconds / (2 * (len(_SIDES) + 1))
    torch = _torch(threads)
    source = np.ones(_COPIED // 8, np.float64)
    target = np.empty_like(source)
    copies = [_best(lambda: np.copyto(target, source), part)]
    if torch:
        there, here = torch.from_numpy(source), torch.from_numpy(target)
        copies.append(_best(lambda: here.copy_(there), part))
    speed = 0.0
    for side in _SIDES:
        a = np.random.default_rng(0).random((side, side), np.float32)
        out = np.empty_like(a)
        products_s = [_best(partial(np.matmul, a, a, out=out), part)]
        if torch:
            x, y = torch.from_numpy(a), torch.from_numpy(out)
            products_s.append(_best(partial(torch.mm, x, x, out=y), part))
        speed = max(speed, 2 * side**3 / min(products_s) / 1e9)
    return Peak(speed, 2 * _COPIED / min(copies) / 1e9)


def _torch(threads: int | None) -> Any:
    """torch where it is installed, with its threads set; else None."""
    try:
        torch: Any = import_module("torch")
    except ImportError:
        return None
    if threads:
        torch.set_num_threads(threads)
    return torch


def _best(call: Callable[[], object], seconds: float) -> float:
    """The shortest time of `call`, repeated for that long."""
    call()
    times: list[float] = []
    end = perf_counter() + seconds
    while perf_counter() < end or not times:
        start = perf_counter()
        call()
        times.append(perf_counter() - start)
    return min(times)


@dataclass(frozen=True, slots=True)
class Row:
    """One engine at one size."""

    style: str
    engine: str
    size: str
    work: Work
    fps: float
    roofline_fps: float
    bound: str

    @property
    def share(self) -> float:
        """Of what the machine allows."""
        return self.fps / self.roofline_fps


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line."""

    style: list[str] | None = None
    engine: list[str] | None = None
    size: list[str] | None = None
    seconds: float = 5.0
    threads: int | None = None
    out: Path | None = None


def main(argv: list[str]) -> int:
    """Measure peak and engines, print, keep."""
    options = parse(Options, argv, program="python -m benchmarks roofline", about=__doc__)
    began = perf_counter()
    works: list[Work] = []
    cases: list[Case] = []
    for name in options.style or ["starry_night"]:
        model = find_style(name).model
        if model.path.suffix != ".onnx":
            raise UsageError(f"Work is counted in .onnx graphs, not in {model.path.name}.")
        for size in options.size or ["360p", "720p", "1080p"]:
            width, height = parse_size(size)
            for engine in options.engine or ["openvino", "onnxruntime"]:
                works.append(count_work(model, height=height, width=width))
                cases.append(
                    Case(
                        level="engine", style=name, engine=engine, width=width, height=height,
                        seconds=options.seconds, threads=options.threads,
                    )
                )  # fmt: skip
    peak = measure_peak(threads=options.threads)
    print(f"peak: {peak.gflop_s:.0f} GFLOP/s, {peak.gbyte_s:.1f} GB/s", flush=True)
    run = run_cases(cases)
    rows = [
        Row(
            outcome.case.style, outcome.engine, outcome.case.size, work, outcome.fps,
            round(peak.fps(work), 2), peak.bound(work),
        )
        for work, outcome in zip(works, run.outcomes, strict=True)
        if isinstance(outcome, Measured)
    ]  # fmt: skip
    missing = [f"{row.what}: {row.reason}" for row in run.outcomes if isinstance(row, Missing)]
    if not rows:
        raise RtstyleError(f"Nothing could be measured: {missing[0]}")
    study = _study(command_line("roofline", argv), peak, rows, missing, perf_counter() - began)
    show(study)
    print(keep(study, options.out))
    return 130 if run.interrupted else 0


def _study(command: str, peak: Peak, rows: list[Row], missing: list[str], seconds: float) -> Study:
    table = Table(
        title=f"Of {peak.gflop_s:.0f} GFLOP/s and {peak.gbyte_s:.1f} GB/s, this machine's peak",
        columns=(
            "style", "engine", "size", "GFLOP a frame", "MB a frame", "fps", "peak allows",
            "share", "bound by",
        ),
        rows=tuple(
            (
                row.style, row.engine, row.size.replace("x", "×"), f"{row.work.gflop:.2f}",
                f"{row.work.gbyte * 1e3:.0f}", f"{row.fps:.2f}", f"{row.roofline_fps:.1f}",
                f"{row.share:.0%}", row.bound,
            )
            for row in rows
        ),
    )  # fmt: skip
    figures = [asdict(row) | {"share": round(row.share, 4)} for row in rows]
    return Study(
        name="roofline", command=command, tables=(table,), missing=tuple(missing),
        seconds=round(seconds, 1), figures={"peak": asdict(peak), "rows": figures},
    )  # fmt: skip
