"""The most that GPUs could reach: `python -m benchmarks gpu-bounds`, which writes a page.

No frame is painted and no GPU needed. The work of a frame is counted: operations in the
convolutions and products of the half-precision graph, and the bytes that the kernels read and write
which TensorRT for RTX's builder chooses (launches and what a cache saves are left out). A GPU is
bounded by the slower of the two at its maker's figures, so no row is a measurement.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx

from benchmarks.gmac import count_macs
from benchmarks.markdown import table_lines
from benchmarks.options import parse
from benchmarks.plan_cost import plan_kernels
from benchmarks.roofline import Peak, Work
from rtstyle.bench.case import parse_size
from rtstyle.engines.half import to_half
from rtstyle.errors import UsageError
from rtstyle.files import atomic_write
from rtstyle.model.file import read_model
from rtstyle.model.zoo import shipped_folder

SIZES = ("720p", "1080p", "2160p")
# Dense half-precision TFLOP/s, summed in single precision, and memory TB/s, as the makers say.
GPUS = {
    "H200": (989.0, 4.8),
    "H100 SXM": (989.0, 3.35),
    "A100 80 GB": (312.0, 2.04),
    "L40S": (362.0, 0.864),
    "L4": (121.0, 0.3),
    "T4": (65.0, 0.32),
    "RTX 5090": (209.5, 1.792),
    "RTX 5080": (112.6, 0.96),
    "RTX 4090": (165.2, 1.008),
    "RTX 4070": (58.3, 0.504),
    "RTX 4060": (30.2, 0.272),
    "RTX 3090": (71.2, 0.936),
    "RTX 3060": (25.5, 0.36),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line."""

    model: list[str] | None = None
    size: list[str] | None = None
    out: Path = Path("docs/gpu_bounds.md")


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one frame of one model."""

    model: str
    size: str
    kernels: int
    work: Work


def cost_of(path: Path, size: str) -> Cost:
    """The work of a frame by the builder's plan of the half-precision graph."""
    spec, half = read_model(path), to_half(onnx.load_model(path), norms="split")
    width, height = (-(-side // spec.stride) * spec.stride for side in parse_size(size))
    kernels = plan_kernels(half.SerializeToString(), spec.input_shapes(1, height, width))
    gflop = 2 * count_macs(half, height=height, width=width) / 1e9
    return Cost(
        path.stem, size, len(kernels), Work(gflop, sum(kernel.bytes for kernel in kernels) / 1e9)
    )


def page(costs: list[Cost]) -> str:
    """The page in Markdown."""
    fps = []
    for cost in costs:
        bounds = [Peak(flops * 1e3, bytes_ * 1e3).fps(cost.work) for flops, bytes_ in GPUS.values()]
        fps.append((cost.model, cost.size, *(f"{bound:,.0f}" for bound in bounds)))
    work = [
        (c.model, c.size, f"{c.work.gflop:,.0f}", f"{c.work.gbyte:.2f}", str(c.kernels))
        for c in costs
    ]
    peaks = [(name, f"{flops:,.0f}", f"{size:.2f}") for name, (flops, size) in GPUS.items()]
    return "\n".join((
        "# The most that GPUs could reach\n",
        "Written by `python -m benchmarks gpu-bounds`. **These are bounds, no measurements**: what",
        "a GPU does at its maker's peak of arithmetic or of memory, whichever is slower, with the",
        "operations of the half-precision graph and the bytes of the kernels that TensorRT for RTX",
        "plans for compute capability 8.9. Launches are left out, and so is what caches save.\n",
        "## The work of a frame\n",
        *table_lines(("model", "size", "GFLOP", "GB moved", "kernels"), work),
        "\n## Frames a second at most\n",
        *table_lines(("model", "size", *GPUS), fps),
        "\n## What the makers say\n",
        *table_lines(("GPU", "TFLOP/s, dense half precision", "TB/s"), peaks),
        "",
    ))  # fmt: skip


def main(argv: list[str]) -> int:
    """Count, print, write the page."""
    options = parse(Options, argv, program="python -m benchmarks gpu-bounds", about=__doc__)
    models = {path.stem: path for path in sorted(shipped_folder().glob("*.onnx"))}
    if unknown := set(options.model or ()) - set(models):
        raise UsageError(f"There is no model {min(unknown)!r}; use {', '.join(models)}.")
    costs = []
    for name in options.model or models:
        for size in options.size or SIZES:
            costs.append(cost_of(models[name], size))
            print(f"{name} {size}: {costs[-1].work.gbyte:.2f} GB", flush=True)
    with atomic_write(options.out, parents=True) as part:
        part.write_text(page(costs), encoding="utf-8")
    print(options.out)
    return 0
