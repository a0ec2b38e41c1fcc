"""The two Triton kernels of `torch_modules.norm_relu`, over pictures in channels-last order."""

# ruff: noqa: N803  # Triton's constants are capital

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit  # type: ignore[untyped-decorator]
def block_statistics(  # type: ignore[no-untyped-def]
    x, means, squares, pixels, blocks, c, PADDED: tl.constexpr, PIXELS: tl.constexpr
):
    """Mean and sum of squared distances of each channel over one block of pixels."""
    block, n = tl.program_id(0), tl.program_id(1)
    rows = block * PIXELS + tl.arange(0, PIXELS)
    channels = tl.arange(0, PADDED)
    inside = (rows < pixels)[:, None] & (channels < c)[None, :]
    start = n.to(tl.int64) * pixels * c
    places = start + rows[:, None].to(tl.int64) * c + channels[None, :]
    values = tl.load(x + places, mask=inside, other=0.0).to(tl.float32)
    count = tl.minimum(pixels - block * PIXELS, PIXELS).to(tl.float32)
    mean = tl.sum(values, axis=0) / count
    distance = tl.where(inside, values - mean[None, :], 0.0)
    result = (n * blocks + block) * c + channels
    tl.store(means + result, mean, mask=channels < c)
    tl.store(squares + result, tl.sum(distance * distance, axis=0), mask=channels < c)


@triton.jit  # type: ignore[untyped-decorator]
def apply(  # type: ignore[no-untyped-def]
    x, y, factor, offset, pixels, c, PADDED: tl.constexpr, PIXELS: tl.constexpr, RELU: tl.constexpr
):
    """y = x * factor + offset for each channel, and ReLU."""
    block, n = tl.program_id(0), tl.program_id(1)
    rows = block * PIXELS + tl.arange(0, PIXELS)
    channels = tl.arange(0, PADDED)
    inside = (rows < pixels)[:, None] & (channels < c)[None, :]
    start = n.to(tl.int64) * pixels * c
    places = start + rows[:, None].to(tl.int64) * c + channels[None, :]
    values = tl.load(x + places, mask=inside, other=0.0).to(tl.float32)
    scales = tl.load(factor + n * c + channels, mask=channels < c, other=0.0)
    shifts = tl.load(offset + n * c + channels, mask=channels < c, other=0.0)
    values = values * scales[None, :] + shifts[None, :]
    if RELU:
        values = tl.maximum(values, 0.0)
    tl.store(y + places, values.to(y.dtype.element_ty), mask=inside)
