"""The operations of the fused nets: what they cost, their kernels, and that all of it agrees."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import NamedTemporaryFile
from unittest.mock import patch

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from rtstyle.engines import torch_ends as ends
from rtstyle.engines import torch_library
from rtstyle.engines import torch_nv12 as nv12
from rtstyle.engines import torch_ops as ops
from rtstyle.engines.torch_library import LAUNCHERS, launch
from rtstyle.engines.torch_modules import any_net, device_net
from rtstyle.model.file import read_model
from rtstyle.nets import build_net
from rtstyle.nets.contract import Contract, Grain

ZOO = Path(ops.__file__).parents[1] / "zoo"


def half(*shape: int) -> Tensor:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))) * 2 + 3
    return values.half().contiguous(memory_format=torch.channels_last)


def byte(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def calls() -> Iterator[tuple[str, tuple[object, ...], float]]:
    """Every operation with arguments of all kinds, and how far its kernel may be from torch."""
    for n, c, parts, border in ((2, 24, 1, 0), (1, 24, 4, 0), (2, 5, 4, 1)):
        x = half(n, parts * c, 21, 13)
        pixels = (21 - border) * (13 - border)
        partial = ops.block_statistics(x, parts, border)
        scale, shift = torch.rand(2, n, c)
        yield "block_statistics", (x, parts, border), 2e-2  # sums of squares of up to 1,000
        yield "merge_statistics", (partial, scale, shift, pixels, parts, 1e-3), 1e-5
        affine = ops.merge_statistics(partial, scale, shift, pixels, parts, 1e-3)
        size = [side - border if parts == 1 else 2 * (side - border) for side in (21, 13)]
        skip = half(n, c, size[0] + 2, size[1] + 2)
        for pad, reflect, relu in ((0, True, False), (1, False, True), (4, True, True)):
            added = None if relu else skip
            yield "normalize", (x, affine, added, parts, border, relu, pad, reflect, 1), 4e-3
    yield "join", (half(2, 5, 14, 18), half(2, 7, 6, 8), 1, 1), 4e-3
    for block, pad in ((4, 1), (1, 4)):
        mean = torch.tensor([[120.0, 90, 100], [1, 2, 3]])
        yield "enter", (byte(2, 16, 24, 3), Grain()(16, 24), mean, block, pad), 1e-3
    for parts in (1, 4):
        yield "leave", (half(2, parts * 3, 7, 9) / 6, torch.rand(3), parts, 0), 1
    for n, c in ((2, 5), (1, 40)):
        yield "first_convolution", (half(n, 3, 14, 20) / 4, (half(c, 3, 9, 9) - 3) / 40), 2e-2
        affine, weight = torch.rand(2, n, c) / 4, (half(3, c, 9, 9) - 3) / 200
        for parts, border, size in ((1, 0, (5, 124)), (4, 1, (4, 64))):
            x, bias = half(n, parts * c, *size), torch.rand(3) / 4 + 0.4
            yield "last_convolution", (x, affine, weight, bias, parts, border), 1
    for full in (False, True):
        planes = byte(20, 26)[:, :24], byte(10, 14, 2)[:, :12]
        yield "nv12_to_rgb", (*planes, 24, 32, 0.2126, 0.0722, full), 1
    for original in (None, byte(1, 24, 32, 3)):
        strength = torch.tensor(0.6)
        yield "rgb_to_nv12", (byte(1, 24, 32, 3), original, strength, 20, 26), 1


def check_kernels() -> None:
    """Every kernel against the operation by torch; on a GPU, else by Triton's interpreter."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    seen = set()
    ends._MATRIX = 512  # so that the programs of small pictures take several turns, too
    for name, arguments, tolerance in calls():
        all_expected = tree_leaves(getattr(torch.ops.rtstyle, name)(*arguments))
        there = [a.to(device) if isinstance(a, Tensor) else a for a in arguments]
        all_got = tree_leaves(launch(name, *there))
        for got, expected in zip(all_got, all_expected, strict=True):
            assert got.shape == expected.shape
            assert got.stride() == expected.stride()
            difference = (got.cpu().double() - expected.double()).abs()
            if name == "rgb_to_nv12":
                difference = difference[:, :26]  # what fills the pitch is anything
            assert float(difference.max()) <= tolerance, name
            assert float(difference.mean()) <= tolerance / 8, name
        seen.add(name)
    assert seen == set(LAUNCHERS)


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton comes with torch for CUDA")
def test_kernels_do_what_torch_does() -> None:
    """In a process of its own: Triton takes its interpreter when it is loaded, or never."""
    if torch.cuda.is_available():
        with patch.object(ends, "_MATRIX"):
            check_kernels()
        return
    command = "from tests.engines.test_torch_ops import check_kernels; check_kernels()"
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", command], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_without_a_compiler_torch_does_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Triton is there and finds no C compiler: said once, and it paints all the same."""

    def fail(name: str, *arguments: object) -> Tensor:
        raise RuntimeError("Failed to find C compiler.\nPlease specify it.")

    zeros = torch.zeros
    monkeypatch.setattr(torch, "zeros", lambda *a, device=None, **k: zeros(*a, **k))
    monkeypatch.setattr(torch_library, "find_spec", lambda name: True)
    monkeypatch.setattr(torch_library, "launch", fail)
    torch_library.can_compile.cache_clear()
    assert not torch_library.can_compile()
    assert not torch_library.can_compile()
    torch_library.can_compile.cache_clear()
    (said,) = (r.getMessage() for r in caplog.records)
    assert "(Failed to find C compiler.), so torch paints without them" in said


def kernel_arguments(name: str, c: int) -> dict[str, object]:
    """Types of what a kernel is started with, and its constants, as `torch_ops` gives them."""
    tile, matrix = ops.tile_of(c), {"C": c, "SIDE": 9}
    common = {"C": c, **tile, "PARTS": 4 if c == 24 else 1, "BORDER": 0}
    pad = {"PAD": 1, "REFLECT": True}
    constants = {
        "block_statistics": common,
        "merge_statistics": {"C": 32, "BLOCKS": 1024, "CHANNELS": 8},
        "normalize": {**common, **pad, "RELU": False, "SKIP": True, "SKIP_PAD": 1},
        "join": {"FINE": c, "COARSE": 3 * c, "FROM": 1, "PAD": 1, **ops.tile_of(4 * c)},
        "enter": {"BLOCK": 4 if c > 24 else 1, "PAD": 1, **ops.tile_of(48 if c > 24 else 3)},
        "leave": {"PARTS": 4, "BORDER": 0, "VALUES": 1024},
        "first_convolution": {**matrix, **ends._matrix(c)},
        "last_convolution": {
            **matrix,
            "CHANNELS": 32,
            "COLUMNS": ends._COLUMNS,
            "PARTS": 4,
            "BORDER": 1,
        },
        "nv12_to_rgb": {"PIXELS": 256},
        "rgb_to_nv12": {"BLEND": True, "PIXELS": 256},
    }[name]
    return dict(constants)


WARPS = {"merge_statistics": 8, "first_convolution": 8, "last_convolution": 16}
HALF = {"x", "y", "skip", "fine", "coarse", "weight"}
BYTES = {"frame", "luma", "chroma", "stylized", "original"}
FLOATS = {"means", "squares", "scale", "shift", "factor", "offset", "grain", "mean", "bias"}
NUMBERS = {"eps", "red_weight", "blue_weight", "low", "luma_range", "chroma_range"}


def type_of(argument: str) -> str:
    if argument in HALF:
        return "*fp16"
    if argument in BYTES:
        return "*u8"
    if argument in FLOATS or argument == "strength":
        return "*fp32"
    return "fp32" if argument in NUMBERS else "i32"


def check_compiled(architecture: int) -> None:
    """Every kernel by Triton and NVIDIA's assembler, which need no GPU."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.backends.nvidia import __file__ as backend
    from triton.compiler import ASTSource

    tool = Path(backend).parent / "bin" / "cuobjdump"
    for name, (_, module) in LAUNCHERS.items():
        kernel = getattr(import_module(module), name)
        done: list[dict[str, object]] = []
        for c in (24, 32, 64, 96, 128):
            constants = kernel_arguments(name, c)
            if constants in done:
                continue
            done.append(constants)
            signature = {a: "constexpr" if a in constants else type_of(a) for a in kernel.arg_names}
            aligned = {
                (i,): [["tt.divisibility", 16]]
                for i, a in enumerate(kernel.arg_names)
                if signature[a].startswith("*")
            }
            source = ASTSource(kernel, signature, constants, aligned)
            warps = {"num_warps": WARPS.get(name, 4)}
            target = GPUTarget("cuda", architecture, 32)
            compiled = triton.compile(source, target=target, options=warps)
            with NamedTemporaryFile(suffix=".cubin") as file:
                file.write(compiled.asm["cubin"])
                file.flush()
                usage = subprocess.run(
                    [tool, "--dump-resource-usage", file.name], capture_output=True, text=True
                ).stdout
            registers = int(re.search(r"REG:(\d+)", usage)[1])
            stack, local = (int(re.search(rf"{w}:(\d+)", usage)[1]) for w in ("STACK", "LOCAL"))
            assert registers <= 128, (name, c)
            assert stack == local == 0, f"{name} spills at {c} channels"


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton comes with torch for CUDA")
@pytest.mark.parametrize("architecture", [80, 89, 90, 120])
def test_kernels_fit_into_registers(architecture: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", "1")  # as unset, which version 3.9 warns of
    check_compiled(architecture)


class Counting(TorchDispatchMode):
    """Counts the kernels that operations on meta tensors would start and the bytes they move."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels, self.bytes = 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        made = [t for t in tree_leaves(result) if isinstance(t, Tensor)]
        memory = {t.untyped_storage()._cdata for t in given}
        if not all(t.untyped_storage()._cdata in memory for t in made):  # else a view
            assert func.overloadpacket.__name__ != "convolution" or len(args) < 3 or args[2] is None
            self.kernels += 1
            self.bytes += sum(t.numel() * t.element_size() for t in (*given, *made))
        return result


def count(net: torch.nn.Module, *conditions: Tensor) -> Counting:
    """The cost of a frame of 1088 × 1920."""
    net = net.to("meta")
    frame = torch.zeros((1, 1088, 1920, 3), dtype=torch.uint8, device="meta")
    grain = torch.zeros((1088, 1920), device="meta")
    with torch.inference_mode(), Counting() as counting:
        net(frame, *(c.to("meta") for c in conditions), grain=grain)
    return counting


def test_a_frame_moves_few_bytes() -> None:
    gallery, spec = any_net(read_model(ZOO / "gallery.onnx"))
    cost = count(device_net(gallery), torch.zeros(1, spec.style_size))
    assert cost.kernels <= 110
    assert cost.bytes <= 0.9e9
    cost = count(device_net(build_net("johnson")))
    assert cost.kernels <= 110
    assert cost.bytes <= 3.8e9


def test_nv12_both_ways_moves_few_bytes() -> None:
    """What `FrameSlot` does to a frame of 1080p besides the net, blended by a strength."""
    luma, chroma, frame = (
        torch.zeros(shape, dtype=torch.uint8, device="meta")
        for shape in ((1080, 1920), (540, 960, 2), (1, 1080, 1920, 3))
    )
    with torch.inference_mode(), Counting() as cost:
        planes = luma.clone(), chroma.clone()
        given = nv12.nv12_to_rgb(*planes, 1080, 1920, *nv12.BT709, False)
        strength = torch.zeros((), device="meta")
        nv12.rgb_to_nv12(frame, given, strength, 1080, 1920).clone()
    assert cost.bytes <= 40e6


def picture() -> Tensor:
    """(1, 96, 128, 3) uint8, as smooth as photographs are."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand((1, 3, 12, 16), generator=generator) * 255
    fine = torch.nn.functional.interpolate(coarse, (96, 128), mode="bicubic")
    return fine.clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous()


@pytest.mark.parametrize("path", sorted(ZOO.glob("*.onnx")), ids=lambda path: path.stem)
def test_half_precision_changes_nothing_that_is_seen(path: Path) -> None:
    """Every model in every style, fused and in half precision, against its float net."""
    net, spec = any_net(read_model(path))
    conditions = [] if not spec.style_size else [torch.eye(spec.style_size)]
    if spec.style_input == "statistics":  # of any style image
        generator = torch.Generator().manual_seed(1)
        scale = torch.rand((2, spec.style_size), generator=generator) + 0.5
        conditions = [net.center + net.spread * (scale - 1)]
    if spec.takes_strength:
        conditions.append(torch.linspace(0.5, 1, len(conditions[0])))
    frames = picture().expand(len(conditions[0]) if conditions else 1, -1, -1, -1).contiguous()
    with torch.inference_mode():
        expected = Contract(net).eval()(frames, *conditions)
        got = device_net(net)(frames, *conditions, grain=Grain()(96, 128))
    difference = (expected.int() - got.int()).abs().float()
    assert float(difference.mean()) <= 0.1
    assert float(difference.quantile(0.999)) <= 2
