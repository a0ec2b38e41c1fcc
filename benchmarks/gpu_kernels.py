"""The fused kernels on a GPU: `python -m benchmarks gpu-kernels`, in at most six minutes.

What `rtstyle gpu-check` does not look at: slots with a toy kernel, every fused operation against
the same by torch, the share of the memory's bandwidth that norms reach, the fused nets against the
plain half nets and against torch.compile of those, and the engine before the hardware decoder and
after it; then `rtstyle gpu-check` in the time that is left, with its own JSON beside. PASS, FAIL or
ABSENT a row. Without a GPU every row is ABSENT.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor, nn
from typer import Option

from benchmarks.gpu_bounds import GPUS
from benchmarks.options import parse
from rtstyle.bench.result import ABSENT, FAIL, PASS, Check
from rtstyle.bench.sources import make_clip
from rtstyle.engines import torch_ends as ends
from rtstyle.engines import torch_ops as ops
from rtstyle.engines.torch_engine import TorchSlot
from rtstyle.engines.torch_library import can_compile
from rtstyle.engines.torch_modules import any_net, device_net, half_net
from rtstyle.model.spec import ModelSpec
from rtstyle.nets.contract import Contract, Grain
from rtstyle.style.parse import find_style

SIZE = (1080, 1920)
GOALS = {"gallery": 1500.0, "shipwreck_johnson32": 450.0}  # frames a second on an H200
HIDDEN = 0.8  # of the time that copies could take behind a run
SHARE = 0.6  # of the memory's bandwidth, in the norms
_ORDERS = """
import sys
from rtstyle.engines import EngineOptions, open_engine
from rtstyle.media import ReadOptions, open_source
from rtstyle.frame import DeviceFrame
from rtstyle.style.parse import find_style
clip, first = sys.argv[1:]
def decode():
    with open_source(clip, ReadOptions(hwaccel="cuda")) as source:
        assert isinstance(next(source.device_frames()), DeviceFrame), "decoded by software"
def open_it():
    return open_engine(EngineOptions(name="torch-cuda"), find_style("gallery").model)
if first == "decoder":
    decode()
with open_it():
    decode()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line."""

    minutes: float = 6.0
    out: Path = Path("benchmarks/out/gpu_kernels.json")
    no_check: Annotated[bool, Option("--no-check", help="without `rtstyle gpu-check`")] = False


class _Goal(Exception):  # noqa: N818  # a check that found a fault, as in gpu_check
    """What a check expected and got."""


def main(argv: list[str]) -> int:
    """Check, print, keep the rows; 1 where one failed."""
    options = parse(Options, argv, program="python -m benchmarks gpu-kernels", about=__doc__)
    end, rows = perf_counter() + 60 * options.minutes, []
    for name, check in checks():
        rows.append(_row(name, check, end))
        print(*asdict(rows[-1]).values(), flush=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps([asdict(row) for row in rows], indent=1), encoding="utf-8")
    print(options.out, flush=True)
    failed = any(row.status == FAIL for row in rows)
    if not options.no_check and torch.cuda.is_available():
        failed |= not _gpu_check(options.out.with_name("gpu.json"), end)
    return int(failed)


def _gpu_check(out: Path, end: float) -> bool:
    """Whether `rtstyle gpu-check` passes in the time that is left; what it knows is kept."""
    call = "from rtstyle.cli.main import main; main()"
    arguments = ["gpu-check", "--seconds", "2", "--json", str(out), "--overwrite"]
    with subprocess.Popen([sys.executable, "-c", call, *arguments]) as process:
        try:
            return process.wait(max(1.0, end - perf_counter())) == 0
        except subprocess.TimeoutExpired:
            print(f"The time is up; {out} has what gpu-check knows until here.", flush=True)
            process.terminate()  # it ends its own processes
            return False


def _row(name: str, check: Callable[[], dict[str, float]], end: float) -> Check:
    if not torch.cuda.is_available():
        return Check("torch-cuda", name, ABSENT, "torch sees no CUDA GPU")
    if perf_counter() > end:
        return Check("torch-cuda", name, ABSENT, "the time was up")
    try:
        return Check("torch-cuda", name, PASS, figures=check())
    except Exception as error:  # of any library: a row says it
        return Check(
            "torch-cuda", name, FAIL, (str(error).splitlines() or [type(error).__name__])[0]
        )


def checks() -> Iterator[tuple[str, Callable[[], dict[str, float]]]]:
    """Every check by its name, the cheapest first."""
    yield "Triton compiles", check_triton
    yield "slots with a toy kernel", check_slots
    for channels in (24, 32, 64, 96, 128):
        yield f"norm of {channels} channels", partial(check_norm, channels)
    yield "ends of Johnson's net", check_ends
    for first in ("engine", "decoder"):
        yield f"{first} first", partial(check_order, first)
    for name in GOALS:
        yield f"nets of {name}", partial(check_nets, name)


def check_triton() -> dict[str, float]:
    """That the kernels are those of Triton, not what stands in for them."""
    if not can_compile():
        raise _Goal("Triton compiles no kernels here; the log says why")
    return {}


def check_slots() -> dict[str, float]:
    """Three slots whose runs take as long as their copies: results, and what is hidden."""
    device = torch.device("cuda", 0)
    spec = ModelSpec(Path("toy.onnx"), "toy", 1, ("toy",))
    shapes = spec.input_shapes(1, *SIZE)

    def invert(inputs: Any, output: Tensor, stream: int) -> None:
        (frame,) = inputs.values()
        work = frame.float()
        for _ in range(8):
            work = work.sin().asin()
        torch.sub(255, frame, out=output)

    slots = [TorchSlot(invert, device, spec, shapes) for _ in range(3)]
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (1, *SIZE, 3), np.uint8) for _ in range(6)]
    run = median(slots[0].time_run_ms(20))
    busy: list[tuple[TorchSlot, int]] = []
    begin, count = perf_counter(), 120
    for i in range(count):
        if len(busy) == len(slots):
            slot, j = busy.pop(0)
            if not np.array_equal(slot.result(), 255 - frames[j]):
                raise _Goal("a slot gave another frame than its own")
        slots[i % 3].start({spec.frame_input: frames[i % 6]})
        busy.append((slots[i % 3], i % 6))
    for slot, _ in busy:
        slot.result()
    period = (perf_counter() - begin) * 1e3 / count
    upload, download = (
        median(_timed_ms(call) for _ in range(9))
        for call in (
            lambda: slots[0].upload({spec.frame_input: frames[0]}),
            slots[0].download,
        )
    )
    for slot in slots:
        slot.close()
    alone, longest = run + upload + download, max(run, upload, download)
    hidden = (alone - period) / (alone - longest)
    if not hidden >= HIDDEN:
        raise _Goal(
            f"{max(0.0, hidden):.0%} of the copies is hidden, {HIDDEN:.0%} is expected: run "
            f"{run:.2f} ms, upload {upload:.2f}, download {download:.2f}, {period:.2f} a frame"
        )
    return {"run_ms": round(run, 3), "period_ms": round(period, 3), "hidden": round(hidden, 3)}


def check_norm(channels: int) -> dict[str, float]:
    """Statistics, their merging and the normalizing pass at a quarter of 1080p: against torch, and
    the bytes a second of all three."""
    x = torch.randn((1, channels, SIZE[0] // 2, SIZE[1] // 2), device="cuda").half()
    x = x.contiguous(memory_format=torch.channels_last)
    scale, shift = torch.rand((2, 1, channels), device="cuda")
    pixels = x.shape[2] * x.shape[3]

    def norm() -> Tensor:
        partial_ = ops.block_statistics(x, 1, 0)
        affine = ops.merge_statistics(partial_, scale, shift, pixels, 1, 1e-3)
        result: Tensor = ops.normalize(x, affine, None, 1, 0, True, 1, True, 0)
        return result

    expected = nn.functional.instance_norm(x.float(), weight=scale[0], bias=shift[0], eps=1e-3)
    expected = nn.functional.pad(expected.relu(), (1,) * 4, mode="reflect")
    off = float((norm().float() - expected).abs().max())
    if not off <= 0.02:
        raise _Goal(f"it is off by {off:.3f} from what torch gives")
    milliseconds = _graph_ms(norm)
    rate = 3 * x.numel() * 2 / milliseconds / 1e9
    share = rate / peak[1] if (peak := _peak()) else None
    if share is not None and share < SHARE:
        raise _Goal(f"{rate:.2f} TB/s are {share:.0%} of the memory's, {SHARE:.0%} is expected")
    return {"off": round(off, 4), "ms": round(milliseconds, 4), "tb_s": round(rate, 3)}


def check_ends() -> dict[str, float]:
    """The first and the last convolution of Johnson's net at 1080p: as one kernel each, and as the
    operations in whose place it stands, which must give the same and be no faster."""
    height, width = 1088, 1920

    def values(*shape: int) -> Tensor:
        picture = torch.randn(shape, device="cuda").half()
        return picture.contiguous(memory_format=torch.channels_last)

    x, first = values(1, 3, height + 8, width + 8), values(32, 3, 9, 9) / 16
    y, last = values(1, 128, height // 2 + 1, width // 2 + 1), values(3, 32, 9, 9) / 200
    affine, bias = torch.rand((2, 1, 32), device="cuda"), torch.full((3,), 0.5, device="cuda")

    def plain_first() -> tuple[Tensor, Tensor]:
        z = nn.functional.conv2d(x, first)
        return z, ops.block_statistics(z, 1, 0)

    def plain_last() -> tuple[Tensor]:
        z = ops.normalize(y, affine, None, 4, 1, True, 4, True, 0)
        return (ends.leave(nn.functional.conv2d(z, last), bias, 1, 0),)

    figures: dict[str, float] = {}
    for name, one, parts, limit in (
        ("first", lambda: ends.first_convolution(x, first), plain_first, 0.02),
        ("last", lambda: (ends.last_convolution(y, affine, last, bias, 4, 1),), plain_last, 1.0),
    ):
        with torch.inference_mode():
            off = float((one()[0].float() - parts()[0].float()).abs().max())
        if not off <= limit:
            raise _Goal(f"the {name} one is off by {off:.3f}")
        ms = figures[f"{name}_ms"], figures[f"{name}_parts_ms"] = _graph_ms(one), _graph_ms(parts)
        if ms[0] > ms[1]:
            raise _Goal(f"the {name} one takes {ms[0]:.3f} ms, its parts take {ms[1]:.3f}")
    return {name: round(figure, 4) for name, figure in figures.items()}


def check_order(first: str) -> dict[str, float]:
    """The hardware decoder opened before the engine, and after it, in a process of its own."""
    with TemporaryDirectory(prefix="rtstyle-check-") as folder:
        clip = Path(folder) / "clip.mp4"
        make_clip(clip, SIZE[1], SIZE[0], frames=4)
        done = subprocess.run(
            [sys.executable, "-c", _ORDERS, str(clip), first],
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
    if done.returncode:
        raise _Goal((done.stderr.strip().splitlines() or ["it ended without a word"])[-1])
    return {}


def check_nets(name: str) -> dict[str, float]:
    """The fused net against the plain half one and torch.compile of that, as CUDA graphs."""
    net, spec = any_net(find_style(name).model)
    height, width = (-(-side // spec.stride) * spec.stride for side in SIZE)
    grain = Grain()(height, width).cuda()
    frame = torch.randint(0, 256, (1, height, width, 3), dtype=torch.uint8, device="cuda")
    style = [torch.eye(spec.style_size, device="cuda")[:1]] if spec.style_size else []
    plain = Contract(half_net(net)).eval().cuda()
    forms: dict[str, Any] = {
        "fused": device_net(net).cuda(),
        "plain": plain,
        "compiled": torch.compile(plain, dynamic=False),
    }
    figures: dict[str, float] = {}
    for form, run in forms.items():
        figures[form] = round(1e3 / _graph_ms(partial(run, frame, *style, grain=grain)), 1)
    with torch.inference_mode():
        painted = [forms[form](frame, *style, grain=grain).int() for form in ("fused", "plain")]
    off = float((painted[0] - painted[1]).abs().float().mean())
    figures["off"] = round(off, 3)
    if not off <= 1:
        raise _Goal(f"fused and plain net differ by {off:.1f} grey levels in the mean")
    if "H200" in torch.cuda.get_device_name() and figures["fused"] < GOALS[name]:
        raise _Goal(f"{figures['fused']:.0f} frames a second, {GOALS[name]:.0f} are expected")
    return figures


def _graph_ms(work: Callable[[], object], count: int = 50) -> float:
    """The median time of `work` as a CUDA graph, between events."""
    with torch.inference_mode():
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        with torch.cuda.stream(stream):
            for _ in range(3):
                work()
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            work()
    times = []
    for _ in range(count):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(float(begin.elapsed_time(end)))
    return median(times)


def _timed_ms(call: Callable[[], object]) -> float:
    begin = perf_counter()
    call()
    return (perf_counter() - begin) * 1e3


def _peak() -> tuple[float, float] | None:
    words = re.split(r"[^A-Za-z0-9]+", torch.cuda.get_device_name())
    models = {key.removeprefix("RTX ").split()[0]: peak for key, peak in GPUS.items()}
    return next((peak for model, peak in models.items() if model in words), None)
