"""What the fused nets are made of, as torch operations: by Triton on a GPU, by torch elsewhere.

Pictures between convolutions are float16 in channels-last order and carry the padding of the
convolution that reads them. `parts` 4 are the pixels of an enlarged picture before they are put in
their places, `border` the rows and columns too many among them; see `torch_kernels`.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rtstyle.engines.torch_library import operation

_BLOCKS = 1024  # of a picture, at most: their statistics are merged by one program
_TILE = 1024  # values that a program holds
LAST = torch.channels_last


def power(count: int) -> int:
    """The least power of two that is not less."""
    return 1 << (count - 1).bit_length()


def tile_of(channels: int) -> dict[str, int]:
    padded = power(channels)
    return {"PADDED": padded, "PIXELS": max(1, _TILE // padded)}


def split(pixels: int, parts: int) -> tuple[int, int]:
    """Into how many blocks of how many pixels a part is split."""
    chunk = -(-pixels // min(_BLOCKS // parts, -(-pixels // 64)))
    return -(-pixels // chunk), chunk


def _channels(x: Tensor, parts: int) -> int:
    return x.shape[1] // parts


def size_of(x: Tensor, parts: int, border: int) -> tuple[int, int]:
    """Height and width of what the parts make."""
    enlarged = 2 if parts == 4 else 1
    return enlarged * (x.shape[2] - border), enlarged * (x.shape[3] - border)


def new_picture(n: int, c: int, height: int, width: int, like: Tensor) -> Tensor:
    shape = (n, c, height, width)
    return torch.empty(shape, dtype=torch.float16, device=like.device, memory_format=LAST)


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
    blocks, chunk = split(height * width, parts)
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
    blocks, _ = split((x.shape[2] - border) * (x.shape[3] - border), parts)
    return x.new_empty((2, len(x), parts * blocks, _channels(x, parts)), dtype=torch.float32)


def _run_block_statistics(module: Any, x: Tensor, parts: int, border: int) -> Tensor:
    x = x.contiguous(memory_format=LAST)
    n, c, height, width = x.shape
    c //= parts
    pixels = (height - border) * (width - border)
    blocks, chunk = split(pixels, parts)
    result = x.new_empty((2, n, parts * blocks, c), dtype=torch.float32)
    module.block_statistics[(blocks, parts, n)](
        x, result[0], result[1], width - border, pixels, chunk, blocks, width, x[0].numel(),
        C=c, PARTS=parts, BORDER=border, **tile_of(c),
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
        C=c, BLOCKS=max(16, power(parts * blocks)), CHANNELS=8, num_warps=8,
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
    result: Tensor = y.to(torch.float16, memory_format=LAST, copy=True)
    return result


def _fake_normalize(
    x: Tensor, affine: Tensor, skip: Tensor | None, parts: int, border: int, relu: bool,
    pad: int, reflect: bool, skip_pad: int,
) -> Tensor:  # fmt: skip
    height, width = size_of(x, parts, border)
    return new_picture(len(x), _channels(x, parts), height + 2 * pad, width + 2 * pad, x)


def _run_normalize(
    module: Any, x: Tensor, affine: Tensor, skip: Tensor | None, parts: int, border: int,
    relu: bool, pad: int, reflect: bool, skip_pad: int,
) -> Tensor:  # fmt: skip
    x = x.contiguous(memory_format=LAST)
    height, width = size_of(x, parts, border)
    n, c = len(x), _channels(x, parts)
    y = new_picture(n, c, height + 2 * pad, width + 2 * pad, x)
    tile = tile_of(c)
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
    return y.to(torch.float16, memory_format=LAST)


def _fake_join(fine: Tensor, coarse: Tensor, fine_pad: int, pad: int) -> Tensor:
    n, c, height, width = coarse.shape
    return new_picture(n, fine.shape[1] + c, 2 * height + 2 * pad, 2 * width + 2 * pad, fine)


def _run_join(module: Any, fine: Tensor, coarse: Tensor, fine_pad: int, pad: int) -> Tensor:
    n, c, height, width = coarse.shape
    both = fine.shape[1] + c
    y = new_picture(n, both, 2 * height + 2 * pad, 2 * width + 2 * pad, fine)
    tile = tile_of(both)
    module.join[(-(-y.shape[2] * y.shape[3] // tile["PIXELS"]), n)](
        fine, coarse, y, 2 * height, 2 * width,
        FINE=fine.shape[1], COARSE=c, FROM=fine_pad, PAD=pad, **tile,
    )  # fmt: skip
    return y


block_statistics = operation(
    _block_statistics, _fake_block_statistics, _run_block_statistics, "torch_kernels"
)
merge_statistics = operation(
    _merge_statistics, _fake_merge_statistics, _run_merge_statistics, "torch_kernels"
)
normalize = operation(_normalize, _fake_normalize, _run_normalize, "torch_kernels")
join = operation(_join, _fake_join, _run_join, "torch_kernels")
