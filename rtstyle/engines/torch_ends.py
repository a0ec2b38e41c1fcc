"""The two ends of the fused nets, from a uint8 picture and back to one; otherwise as `torch_ops`.

Johnson's nets begin and end with convolutions of a large window and three colours, at full
resolution. The first gives the statistics of its result as well; the last normalizes what it reads
and writes bytes, so that the largest pictures are not written and read once more.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rtstyle.engines.torch_library import operation
from rtstyle.engines.torch_ops import (
    LAST,
    block_statistics,
    in_place,
    new_picture,
    normalize,
    power,
    size_of,
    split,
    tile_of,
)

WIDEST = 10  # window, whose three colours of a row are 32 values at most
_MATRIX = 2048  # values of a product that a program holds
_COLUMNS = 128  # of a row that the last convolution reads at once


def _matrix(channels: int) -> dict[str, int]:
    padded = max(16, power(channels))
    return {"PADDED": padded, "PIXELS": max(16, _MATRIX // padded)}


def _enter(frame: Tensor, grain: Tensor, mean: Tensor, block: int, pad: int) -> Tensor:
    """(N, H, W, 3) uint8, its (H, W) grain and (N, 3) mean colour in grey levels → (N, 3 · block²,
    H / block + 2 pad, W / block + 2 pad) float16: what a net takes, less the mean."""
    x = frame.float().permute(0, 3, 1, 2) + grain - mean[..., None, None]
    x = F.pad(F.pixel_unshuffle(x * (1 / 255), block), (pad,) * 4, mode="reflect")
    return x.to(torch.float16, memory_format=LAST)


def _fake_enter(frame: Tensor, grain: Tensor, mean: Tensor, block: int, pad: int) -> Tensor:
    n, height, width = frame.shape[:3]
    return new_picture(n, 3 * block**2, height // block + 2 * pad, width // block + 2 * pad, frame)


def _run_enter(
    module: Any, frame: Tensor, grain: Tensor, mean: Tensor, block: int, pad: int
) -> Tensor:
    n, height, width = frame.shape[0], frame.shape[1] // block, frame.shape[2] // block
    y = new_picture(n, 3 * block**2, height + 2 * pad, width + 2 * pad, frame)
    tile = tile_of(3 * block**2)
    module.enter[(-(-y.shape[2] * y.shape[3] // tile["PIXELS"]), n)](
        frame, grain, mean, y, height, width, BLOCK=block, PAD=pad, **tile
    )
    return y


def _leave(x: Tensor, bias: Tensor, parts: int, border: int) -> Tensor:
    """(N, parts · 3, h, w) float16 from the last convolution and its bias → (N, H, W, 3) uint8."""
    y = (in_place(x, parts, border).float() + bias[:, None, None]) * 255
    return y.clamp(0, 255).round().permute(0, 2, 3, 1).to(torch.uint8).contiguous()


def _fake_leave(x: Tensor, bias: Tensor, parts: int, border: int) -> Tensor:
    return x.new_empty((len(x), *size_of(x, parts, border), 3), dtype=torch.uint8)


def _run_leave(module: Any, x: Tensor, bias: Tensor, parts: int, border: int) -> Tensor:
    x = x.contiguous(memory_format=LAST)
    height, width = size_of(x, parts, border)
    frame = x.new_empty((len(x), height, width, 3), dtype=torch.uint8)
    module.leave[(-(-height * width * 3 // 1024), len(x))](
        x, bias, frame, height, width, x.shape[3], x[0].numel(),
        PARTS=parts, BORDER=border, VALUES=1024,
    )  # fmt: skip
    return frame


def _first_convolution(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """(N, 3, H + 8, W + 8) float16 and (C, 3, 9, 9) weights → (N, C, H, W), and its statistics as
    `block_statistics` gives them."""
    y = F.conv2d(x, weight).contiguous(memory_format=LAST)
    return y, block_statistics(y, 1, 0)


def _fake_first_convolution(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    n, c, side = len(x), len(weight), weight.shape[2]
    y = new_picture(n, c, x.shape[2] - side + 1, x.shape[3] - side + 1, x)
    blocks, _ = split(y.shape[2] * y.shape[3], 1)
    return y, y.new_empty((2, n, blocks, c), dtype=torch.float32)


def _run_first_convolution(module: Any, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    y, partial = _fake_first_convolution(x, weight)
    n, c, height, width = y.shape
    blocks, chunk = split(height * width, 1)
    module.first_convolution[(blocks, n)](
        x, weight, y, partial[0], partial[1], width, height * width, chunk, blocks, x.shape[3],
        x[0].numel(), C=c, SIDE=weight.shape[2], num_warps=8, **_matrix(c),
    )  # fmt: skip
    return y, partial


def _last_convolution(
    x: Tensor, affine: Tensor, weight: Tensor, bias: Tensor, parts: int, border: int
) -> Tensor:
    """What the convolution before gave, (N, parts · C, h, w) float16, its norm's (2, N, C) scale
    and shift, (3, C, 9, 9) weights and the bias → (N, H, W, 3) uint8. Between the norm and the
    convolution are a ReLU and a padding by reflection."""
    pad = weight.shape[2] // 2
    y = normalize(x, affine, None, parts, border, True, pad, True, 0)
    return _leave(F.conv2d(y, weight), bias, 1, 0)


def _fake_last_convolution(
    x: Tensor, affine: Tensor, weight: Tensor, bias: Tensor, parts: int, border: int
) -> Tensor:
    return _fake_leave(x, bias, parts, border)


def _run_last_convolution(
    module: Any, x: Tensor, affine: Tensor, weight: Tensor, bias: Tensor, parts: int, border: int
) -> Tensor:
    x = x.contiguous(memory_format=LAST)
    frame = _fake_leave(x, bias, parts, border)
    n, height, width = frame.shape[:3]
    c, side = weight.shape[1:3]
    module.last_convolution[(-(-width // (_COLUMNS - side + 1)), height, n)](
        x, affine[0], affine[1], weight, bias, frame, height, width, x.shape[3], x[0].numel(),
        C=c, CHANNELS=min(32, max(16, power(c))), SIDE=side, COLUMNS=_COLUMNS, PARTS=parts,
        BORDER=border, num_warps=16,
    )  # fmt: skip
    return frame


enter = operation(_enter, _fake_enter, _run_enter, "torch_end_kernels")
leave = operation(_leave, _fake_leave, _run_leave, "torch_end_kernels")
first_convolution = operation(
    _first_convolution, _fake_first_convolution, _run_first_convolution, "torch_end_kernels"
)
last_convolution = operation(
    _last_convolution, _fake_last_convolution, _run_last_convolution, "torch_end_kernels"
)
