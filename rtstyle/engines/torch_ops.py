"""What the fused nets are made of, as torch operations: by Triton on a GPU, by torch elsewhere.

Pictures between convolutions are float16 in channels-last order and carry the padding of the
convolution that reads them. `parts` 4 are the pixels of an enlarged picture before they are put in
their places, `border` the rows and columns too many among them; see `torch_kernels`. As operations
of torch's they can be traced, compiled, and counted on meta tensors.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.library import Library, infer_schema, register_fake

_log = logging.getLogger("rtstyle")
_BLOCKS = 1024  # of a picture, at most: their statistics are merged by one program
_TILE = 1024  # values that a program holds
_PITCH = 64  # bytes: rows of NV12 begin at multiples
_LAST = torch.channels_last
BT709 = (0.2126, 0.0722)  # weights of red and blue in luma


@cache
def kernels() -> Any:
    """The module of the kernels, or None where Triton cannot compile: it needs a C compiler."""
    if find_spec("triton") is None:
        return None
    module = import_module("rtstyle.engines.torch_kernels")
    try:
        probe = torch.zeros((1, 8, 2, 2), device="cuda", dtype=torch.float16)
        _run_block_statistics(module, probe.contiguous(memory_format=_LAST), 1, 0)
    except Exception as error:  # Triton raises what its compilers do
        lines = str(error).strip().splitlines() or [type(error).__name__]
        _log.warning(
            "Triton compiles no kernels (%s), so torch paints without them, more slowly; install a "
            "C compiler.",
            lines[0],
        )
        return None
    return module


def _power(count: int) -> int:
    return 1 << (count - 1).bit_length()


def _tile(channels: int) -> dict[str, int]:
    padded = _power(channels)
    return {"PADDED": padded, "PIXELS": max(1, _TILE // padded)}


def _split(pixels: int, parts: int) -> tuple[int, int]:
    """Into how many blocks of how many pixels a part is split."""
    chunk = -(-pixels // min(_BLOCKS // parts, -(-pixels // 64)))
    return -(-pixels // chunk), chunk


def _channels(x: Tensor, parts: int) -> int:
    return x.shape[1] // parts


def _size(x: Tensor, parts: int, border: int) -> tuple[int, int]:
    """Height and width of what the parts make."""
    enlarged = 2 if parts == 4 else 1
    return enlarged * (x.shape[2] - border), enlarged * (x.shape[3] - border)


def _new(n: int, c: int, height: int, width: int, like: Tensor) -> Tensor:
    shape = (n, c, height, width)
    return torch.empty(shape, dtype=torch.float16, device=like.device, memory_format=_LAST)


def in_place(x: Tensor, parts: int, border: int) -> Tensor:
    """The parts of every pixel put in their places."""
    if parts == 1:
        return x
    n, c = len(x), _channels(x, parts)
    x = F.pixel_shuffle(x.reshape(n, parts, c, *x.shape[2:]).transpose(1, 2).flatten(1, 2), 2)
    return x[:, :, border : x.shape[2] - border, border : x.shape[3] - border]


def _block_statistics(x: Tensor, parts: int, border: int) -> Tensor:
    """(N, parts · C, H, W) → (2, N, blocks, C) float32: means and sums of squared distances."""
    height, width = x.shape[2] - border, x.shape[3] - border
    blocks, chunk = _split(height * width, parts)
    result = x.new_empty((2, len(x), parts * blocks, _channels(x, parts)), dtype=torch.float32)
    for part, each in enumerate(x.float().chunk(parts, 1)):
        down, across = (border - border * (part // 2), border - border * (part % 2))
        inner = each[:, :, down : down + height, across : across + width].flatten(2)
        for block in range(blocks):
            values = inner[:, :, block * chunk : (block + 1) * chunk]
            mean = values.mean(2)
            result[0, :, part * blocks + block] = mean
            result[1, :, part * blocks + block] = ((values - mean[..., None]) ** 2).sum(2)
    return result


def _fake_block_statistics(x: Tensor, parts: int, border: int) -> Tensor:
    blocks, _ = _split((x.shape[2] - border) * (x.shape[3] - border), parts)
    return x.new_empty((2, len(x), parts * blocks, _channels(x, parts)), dtype=torch.float32)


def _run_block_statistics(module: Any, x: Tensor, parts: int, border: int) -> Tensor:
    x = x.contiguous(memory_format=_LAST)
    n, c, height, width = x.shape
    c //= parts
    pixels = (height - border) * (width - border)
    blocks, chunk = _split(pixels, parts)
    result = x.new_empty((2, n, parts * blocks, c), dtype=torch.float32)
    module.block_statistics[(blocks, parts, n)](
        x, result[0], result[1], width - border, pixels, chunk, blocks, width, x[0].numel(),
        C=c, PARTS=parts, BORDER=border, **_tile(c),
    )  # fmt: skip
    return result


def _merge_statistics(
    partial: Tensor, scale: Tensor, shift: Tensor, pixels: int, parts: int, eps: float
) -> Tensor:
    """Statistics of blocks of `pixels` pixels a part, (N, C) scale and shift → (2, N, C) float32:
    what a channel is multiplied by and what is added (Chan et al. 1979)."""
    blocks = partial.shape[2] // parts
    chunk = -(-pixels // blocks)
    first = torch.arange(blocks, device=partial.device) * chunk
    weight = ((pixels - first).clamp(max=chunk) / (parts * pixels)).repeat(parts)[None, :, None]
    means, squares = partial
    mean = (means * weight).sum(1)
    var = ((means - mean[:, None]) ** 2 * weight).sum(1) + squares.sum(1) / (parts * pixels)
    factor = scale * (var + eps).rsqrt()
    return torch.stack([factor, shift - mean * factor])


def _fake_merge_statistics(
    partial: Tensor, scale: Tensor, shift: Tensor, pixels: int, parts: int, eps: float
) -> Tensor:
    return partial.new_empty((2, partial.shape[1], partial.shape[3]))


def _run_merge_statistics(
    module: Any, partial: Tensor, scale: Tensor, shift: Tensor, pixels: int, parts: int, eps: float
) -> Tensor:
    _, n, blocks, c = partial.shape
    blocks //= parts
    result = partial.new_empty((2, n, c))
    module.merge_statistics[(-(-c // 8), n)](
        partial[0], partial[1], scale, shift, result[0], result[1], scale.stride(0), pixels,
        -(-pixels // blocks), blocks, parts, eps,
        C=c, BLOCKS=max(16, _power(parts * blocks)), CHANNELS=8, num_warps=8,
    )  # fmt: skip
    return result


def _normalize(
    x: Tensor, affine: Tensor, skip: Tensor | None, parts: int, border: int, relu: bool,
    pad: int, reflect: bool, skip_pad: int,
) -> Tensor:  # fmt: skip
    """(N, parts · C, h, w) float16, (2, N, C), and what is added → (N, C, H + 2 pad, W + 2 pad)
    float16, channels last: scaled, shifted, ReLU, `skip` added without its own padding, padded."""
    factor, offset = affine[..., None, None]
    y = in_place(x, parts, border).float() * factor + offset
    if relu:
        y = y.relu()
    if skip is not None:
        y = y + skip[:, :, skip_pad : skip_pad + y.shape[2], skip_pad : skip_pad + y.shape[3]]
    if pad:
        y = F.pad(y, (pad,) * 4, mode="reflect" if reflect else "replicate")
    result: Tensor = y.to(torch.float16, memory_format=_LAST, copy=True)
    return result


def _fake_normalize(
    x: Tensor, affine: Tensor, skip: Tensor | None, parts: int, border: int, relu: bool,
    pad: int, reflect: bool, skip_pad: int,
) -> Tensor:  # fmt: skip
    height, width = _size(x, parts, border)
    return _new(len(x), _channels(x, parts), height + 2 * pad, width + 2 * pad, x)


def _run_normalize(
    module: Any, x: Tensor, affine: Tensor, skip: Tensor | None, parts: int, border: int,
    relu: bool, pad: int, reflect: bool, skip_pad: int,
) -> Tensor:  # fmt: skip
    x = x.contiguous(memory_format=_LAST)
    height, width = _size(x, parts, border)
    n, c = len(x), _channels(x, parts)
    y = _new(n, c, height + 2 * pad, width + 2 * pad, x)
    tile = _tile(c)
    module.normalize[(-(-y.shape[2] * y.shape[3] // tile["PIXELS"]), n)](
        x, y, y if skip is None else skip, affine[0], affine[1], height, width, x.shape[3],
        x[0].numel(), C=c, PARTS=parts, BORDER=border, RELU=relu, PAD=pad, REFLECT=reflect,
        SKIP=skip is not None, SKIP_PAD=skip_pad, **tile,
    )  # fmt: skip
    return y


def _join(fine: Tensor, coarse: Tensor, fine_pad: int, pad: int) -> Tensor:
    """(N, A, H + 2 fine_pad, W + 2 fine_pad) and (N, B, H/2, W/2) → (N, A + B, H + 2 pad,
    W + 2 pad): the second enlarged bilinearly, both padded by reflection."""
    height, width = 2 * coarse.shape[2], 2 * coarse.shape[3]
    fine = fine[:, :, fine_pad : fine_pad + height, fine_pad : fine_pad + width].float()
    large = F.interpolate(coarse.float(), scale_factor=2.0, mode="bilinear")
    y = F.pad(torch.cat([fine, large], 1), (pad,) * 4, mode="reflect")
    return y.to(torch.float16, memory_format=_LAST)


def _fake_join(fine: Tensor, coarse: Tensor, fine_pad: int, pad: int) -> Tensor:
    n, c, height, width = coarse.shape
    return _new(n, fine.shape[1] + c, 2 * height + 2 * pad, 2 * width + 2 * pad, fine)


def _run_join(module: Any, fine: Tensor, coarse: Tensor, fine_pad: int, pad: int) -> Tensor:
    n, c, height, width = coarse.shape
    both = fine.shape[1] + c
    y = _new(n, both, 2 * height + 2 * pad, 2 * width + 2 * pad, fine)
    tile = _tile(both)
    module.join[(-(-y.shape[2] * y.shape[3] // tile["PIXELS"]), n)](
        fine, coarse, y, 2 * height, 2 * width,
        FINE=fine.shape[1], COARSE=c, FROM=fine_pad, PAD=pad, **tile,
    )  # fmt: skip
    return y


def _enter(frame: Tensor, grain: Tensor, mean: Tensor, block: int, pad: int) -> Tensor:
    """(N, H, W, 3) uint8, its (H, W) grain and (N, 3) mean colour in grey levels → (N, 3 · block²,
    H / block + 2 pad, W / block + 2 pad) float16: what a net takes, less the mean."""
    x = frame.float().permute(0, 3, 1, 2) + grain - mean[..., None, None]
    x = F.pad(F.pixel_unshuffle(x * (1 / 255), block), (pad,) * 4, mode="reflect")
    return x.to(torch.float16, memory_format=_LAST)


def _fake_enter(frame: Tensor, grain: Tensor, mean: Tensor, block: int, pad: int) -> Tensor:
    n, height, width = frame.shape[:3]
    return _new(n, 3 * block**2, height // block + 2 * pad, width // block + 2 * pad, frame)


def _run_enter(
    module: Any, frame: Tensor, grain: Tensor, mean: Tensor, block: int, pad: int
) -> Tensor:
    n, height, width = frame.shape[0], frame.shape[1] // block, frame.shape[2] // block
    y = _new(n, 3 * block**2, height + 2 * pad, width + 2 * pad, frame)
    tile = _tile(3 * block**2)
    module.enter[(-(-y.shape[2] * y.shape[3] // tile["PIXELS"]), n)](
        frame, grain, mean, y, height, width, BLOCK=block, PAD=pad, **tile
    )
    return y


def _leave(x: Tensor, bias: Tensor, parts: int, border: int) -> Tensor:
    """(N, parts · 3, h, w) float16 from the last convolution and its bias → (N, H, W, 3) uint8."""
    y = (in_place(x, parts, border).float() + bias[:, None, None]) * 255
    return y.clamp(0, 255).round().permute(0, 2, 3, 1).to(torch.uint8).contiguous()


def _fake_leave(x: Tensor, bias: Tensor, parts: int, border: int) -> Tensor:
    return x.new_empty((len(x), *_size(x, parts, border), 3), dtype=torch.uint8)


def _run_leave(module: Any, x: Tensor, bias: Tensor, parts: int, border: int) -> Tensor:
    x = x.contiguous(memory_format=_LAST)
    height, width = _size(x, parts, border)
    frame = x.new_empty((len(x), height, width, 3), dtype=torch.uint8)
    module.leave[(-(-height * width * 3 // 1024), len(x))](
        x, bias, frame, height, width, x.shape[3], x[0].numel(),
        PARTS=parts, BORDER=border, VALUES=1024,
    )  # fmt: skip
    return frame


def _nv12_to_rgb(
    luma: Tensor, chroma: Tensor, height: int, width: int, red: float, blue: float,
    full_range: bool,
) -> Tensor:  # fmt: skip
    """(H, W) and (H/2, W/2, 2) uint8, of any pitch → (1, height, width, 3) uint8 RGB, padded by
    reflection at the bottom and the right. `red` and `blue` are their weights in luma.

    Chroma is interpolated; its samples stand in the middle of their four pixels, as FFmpeg's scaler
    has it, so that a picture is the same wherever it is converted.
    """
    y = luma.float()[None, None]
    c = chroma.float().permute(2, 0, 1)[None] - 128
    c = F.interpolate(c, size=luma.shape, mode="bilinear", align_corners=False)
    low, luma_range, chroma_range = _ranges(full_range)
    y, c = (y - low) / luma_range, c / chroma_range
    r = y + 2 * (1 - red) * c[:, 1:]
    b = y + 2 * (1 - blue) * c[:, :1]
    g = (y - red * r - blue * b) / (1 - red - blue)
    bottom, right = height - luma.shape[0], width - luma.shape[1]
    rgb = F.pad(torch.cat([r, g, b], dim=1) * 255, (0, right, 0, bottom), mode="reflect")
    return rgb.clamp(0, 255).round().permute(0, 2, 3, 1).to(torch.uint8).contiguous()


def _fake_nv12_to_rgb(
    luma: Tensor, chroma: Tensor, height: int, width: int, red: float, blue: float,
    full_range: bool,
) -> Tensor:  # fmt: skip
    return luma.new_empty((1, height, width, 3))


def _run_nv12_to_rgb(
    module: Any, luma: Tensor, chroma: Tensor, height: int, width: int, red: float, blue: float,
    full_range: bool,
) -> Tensor:  # fmt: skip
    frame = luma.new_empty((1, height, width, 3))
    module.nv12_to_rgb[(-(-height * width // 256),)](
        luma, chroma, frame, *luma.shape, height, width, luma.stride(0), chroma.stride(0),
        red, blue, *map(float, _ranges(full_range)), PIXELS=256,
    )  # fmt: skip
    return frame


def _ranges(full_range: bool) -> tuple[int, int, int]:
    """Black, and how far luma and chroma reach from there."""
    return (0, 255, 255) if full_range else (16, 219, 224)


def _rgb_to_nv12(
    stylized: Tensor, original: Tensor | None, strength: Tensor, height: int, width: int
) -> Tensor:
    """(1, ≥ height, ≥ width, 3) uint8 RGB → (height · 3/2, pitch) uint8, chroma below luma.

    BT.709 of limited range. One block, as NVENC finds chroma by luma's address and height; the
    pitch is a multiple of 64 where NVENC asks for 4. With an `original`, `strength` of the stylized
    picture is mixed with it. Chroma stands as `nv12_to_rgb` says.
    """
    rgb = stylized[:, :height, :width].float()
    if original is not None:
        rgb = torch.lerp(original[:, :height, :width].float(), rgb, strength)
    red_weight, blue_weight = BT709
    red, green, blue = (rgb / 255).unbind(3)
    y = red_weight * red + (1 - red_weight - blue_weight) * green + blue_weight * blue
    c = torch.stack(
        [(blue - y) / (2 * (1 - blue_weight)), (red - y) / (2 * (1 - red_weight))], dim=1
    )
    chroma = (F.avg_pool2d(c, 2)[0] * 224 + 128).permute(1, 2, 0).flatten(1)
    rows = torch.cat([y[0] * 219 + 16, chroma]).round().clamp(0, 255).to(torch.uint8)
    return F.pad(rows, (0, -width % _PITCH))


def _fake_rgb_to_nv12(
    stylized: Tensor, original: Tensor | None, strength: Tensor, height: int, width: int
) -> Tensor:
    return stylized.new_empty((height * 3 // 2, width + -width % _PITCH))


def _run_rgb_to_nv12(
    module: Any, stylized: Tensor, original: Tensor | None, strength: Tensor, height: int,
    width: int,
) -> Tensor:  # fmt: skip
    nv12 = stylized.new_empty((height * 3 // 2, width + -width % _PITCH))
    module.rgb_to_nv12[(-(-height * width // 4 // 256),)](
        stylized, stylized if original is None else original, strength, nv12, nv12[height:],
        height, width, stylized.shape[2], nv12.stride(0), *BT709,
        BLEND=original is not None, PIXELS=256,
    )  # fmt: skip
    return nv12


def _operation(reference: Any, fake: Callable[..., Tensor], launch: Callable[..., Tensor]) -> Any:
    name = reference.__name__.lstrip("_")

    def on_gpu(*arguments: Any) -> Tensor:
        module = kernels()
        result: Tensor = reference(*arguments) if module is None else launch(module, *arguments)
        return result

    # not `custom_op`, which loads all of torch's compiler with the first call
    _library.define(name + infer_schema(reference, mutates_args=()))
    _library.impl(name, reference, "CPU")
    _library.impl(name, on_gpu, "CUDA")
    register_fake(f"rtstyle::{name}", fake, lib=_library)
    LAUNCHERS[name] = launch
    return getattr(torch.ops.rtstyle, name)


_library: Any = Library("rtstyle", "DEF")  # type: ignore[no-untyped-call]
LAUNCHERS: dict[str, Callable[..., Tensor]] = {}  # by operation; the kernels' module comes first
block_statistics = _operation(_block_statistics, _fake_block_statistics, _run_block_statistics)
merge_statistics = _operation(_merge_statistics, _fake_merge_statistics, _run_merge_statistics)
normalize = _operation(_normalize, _fake_normalize, _run_normalize)
join = _operation(_join, _fake_join, _run_join)
enter = _operation(_enter, _fake_enter, _run_enter)
leave = _operation(_leave, _fake_leave, _run_leave)
nv12_to_rgb = _operation(_nv12_to_rgb, _fake_nv12_to_rgb, _run_nv12_to_rgb)
rgb_to_nv12 = _operation(_rgb_to_nv12, _fake_rgb_to_nv12, _run_rgb_to_nv12)
