"""Which share of this machine's peak a model reaches: `python -m benchmarks roofline`.

The work of a frame is counted from the ONNX graph: two operations a multiplication of every
convolution and matrix product, and the bytes that these read and write, which is what must move
even when all else is fused into them. The peak is measured here: matrix products, and a copy of
more than any cache holds. The roofline is the slower of the two. An engine that computes 3×3
convolutions by Winograd's method does fewer operations than are counted, and may exceed it.
"""

from __future__ import annotations

import argparse
import json
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
from rtstyle.bench import Case, Measured, run_cases
from rtstyle.bench.case import parse_size
from rtstyle.bench.document import write_text
from rtstyle.bench.machine import this_machine
from rtstyle.errors import RtstyleError, UsageError
from rtstyle.model import ModelSpec
from rtstyle.style_text import find_style

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


def main(argv: list[str]) -> int:
    """Measure peak and engine, print, write roofline.json."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks roofline", description=__doc__)
    parser.add_argument("--style", action="append")
    parser.add_argument("--engine", action="append")
    parser.add_argument("--size", action="append")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/roofline.json"))
    options = parser.parse_args(argv)
    peak = measure_peak(threads=options.threads)
    print(f"peak: {peak.gflop_s:.0f} GFLOP/s, {peak.gbyte_s:.1f} GB/s")
    rows: list[dict[str, Any]] = []
    for name in options.style or ["starry_night"]:
        model = find_style(name).model
        if model.path.suffix != ".onnx":
            raise UsageError(f"Work is counted in .onnx graphs, not in {model.path.name}.")
        for size in options.size or ["360p", "720p"]:
            width, height = parse_size(size)
            work = count_work(model, height=height, width=width)
            cases = [
                Case(
                    level="engine", style=name, engine=engine, width=width, height=height,
                    seconds=options.seconds, threads=options.threads,
                )
                for engine in options.engine or ["openvino", "onnxruntime"]
            ]  # fmt: skip
            for outcome in run_cases(cases).outcomes:
                if not isinstance(outcome, Measured):
                    print(f"not measured: {outcome.what}: {outcome.reason}")
                    continue
                row = {
                    "style": name, "engine": outcome.engine, "size": outcome.case.size,
                    "gflop": round(work.gflop, 3), "gbyte": round(work.gbyte, 4),
                    "fps": outcome.fps, "roofline_fps": round(peak.fps(work), 2),
                    "share": round(outcome.fps / peak.fps(work), 4), "bound": peak.bound(work),
                }  # fmt: skip
                rows.append(row)
                print(
                    f"{name} {row['size']} {row['engine']}: {work.gflop:.2f} GFLOP and "
                    f"{work.gbyte * 1e3:.0f} MB a frame, {outcome.fps:.1f} fps of "
                    f"{row['roofline_fps']} that the {row['bound']} allows: {row['share']:.0%}",
                    flush=True,
                )
    if not rows:
        raise RtstyleError("Nothing could be measured.")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    document = {"machine": asdict(this_machine()), "peak": asdict(peak), "rows": rows}
    write_text(options.out, json.dumps(document, indent=1, ensure_ascii=False), overwrite=True)
    return 0
