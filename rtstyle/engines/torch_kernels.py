"""The Triton kernels of `torch_ops`, over pictures in channels-last order.

A convolution after an enlargement runs before it instead (`nets.fold_upsampling`): its result holds
every pixel of the enlarged picture as one of four parts, (N, h, w, PARTS × C). With a BORDER the
parts of a row and a column more are there than are used. Kernels read the parts where they are.
Pixels are addressed in 32 bit within a picture, whose start is in 64 bit.
"""

# ruff: noqa: N803, N806  # Triton's constants are capital
# mypy: disable-error-code="untyped-decorator, no-untyped-def, no-untyped-call"

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def mirror(i, size, REFLECT: tl.constexpr):
    """The place inside `size` that stands for place `i` of the padded picture."""
    if REFLECT:
        i = tl.abs(i)
        return tl.minimum(i, 2 * size - 2 - i)
    return tl.minimum(tl.maximum(i, 0), size - 1)


@triton.jit
def block_statistics(
    x, means, squares, width, pixels, chunk, blocks, row, picture,
    C: tl.constexpr, PADDED: tl.constexpr, PIXELS: tl.constexpr, PARTS: tl.constexpr,
    BORDER: tl.constexpr,
):  # fmt: skip
    """Mean and sum of squared distances of each channel over `chunk` pixels of one part.

    Every lane keeps its own mean and squares (Welford 1962); they are merged at the end (Chan et
    al. 1979), so that no large sums are subtracted from each other. `row` is the width of `x` and
    `picture` its number of values.
    """
    block, part, n = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    channels = tl.arange(0, PADDED)
    lanes = tl.arange(0, PIXELS)
    down, across = 0, 0
    if BORDER:
        down, across = 1 - part // 2, 1 - part % 2
    x += n.to(tl.int64) * picture + part * C
    mean = tl.zeros((PIXELS, PADDED), tl.float32)
    square = tl.zeros((PIXELS, PADDED), tl.float32)
    count = tl.zeros((PIXELS,), tl.float32)
    end = tl.minimum(block * chunk + chunk, pixels)
    for start in range(block * chunk, end, PIXELS):
        pixel = start + lanes
        here = pixel < end
        place = (pixel // width + down) * row + pixel % width + across
        inside = here[:, None] & (channels < C)[None, :]
        places = place[:, None] * (PARTS * C) + channels[None, :]
        value = tl.load(x + places, mask=inside, other=0.0).to(tl.float32)
        count += here.to(tl.float32)
        distance = tl.where(inside, value - mean, 0.0)
        mean += distance / tl.maximum(count, 1.0)[:, None]
        square += distance * tl.where(inside, value - mean, 0.0)
    total = tl.sum(count, axis=0)
    whole = tl.sum(mean * count[:, None], axis=0) / total
    distance = mean - whole[None, :]
    square += distance * distance * count[:, None]
    result = ((n * PARTS + part) * blocks + block) * C + channels
    tl.store(means + result, whole, mask=channels < C)
    tl.store(squares + result, tl.sum(square, axis=0), mask=channels < C)


@triton.jit
def merge_statistics(
    means, squares, scale, shift, factor, offset, scale_row, pixels, chunk, blocks, parts, eps,
    C: tl.constexpr, BLOCKS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """What a norm multiplies each channel by and adds to it, from the statistics of all blocks."""
    channels = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    n = tl.program_id(1)
    block = tl.arange(0, BLOCKS)
    there = block < parts * blocks
    count = tl.minimum(pixels - block % blocks * chunk, chunk).to(tl.float32)
    count = tl.where(there, count, 0.0)[:, None] / (parts * pixels)
    inside = there[:, None] & (channels < C)[None, :]
    places = (n * parts * blocks + block[:, None]) * C + channels[None, :]
    each = tl.load(means + places, mask=inside, other=0.0)
    mean = tl.sum(each * count, axis=0)
    distance = each - mean[None, :]
    between = tl.sum(distance * distance * count, axis=0)
    within = tl.sum(tl.load(squares + places, mask=inside, other=0.0), axis=0) / (parts * pixels)
    used = channels < C
    times = tl.load(scale + n * scale_row + channels, mask=used, other=0.0)
    times = times / tl.sqrt(between + within + eps)
    plus = tl.load(shift + n * scale_row + channels, mask=used, other=0.0) - mean * times
    tl.store(factor + n * C + channels, times, mask=used)
    tl.store(offset + n * C + channels, plus, mask=used)


@triton.jit
def normalize(
    x, y, skip, factor, offset, height, width, row, picture,
    C: tl.constexpr, PADDED: tl.constexpr, PIXELS: tl.constexpr, PARTS: tl.constexpr,
    BORDER: tl.constexpr, RELU: tl.constexpr, PAD: tl.constexpr, REFLECT: tl.constexpr,
    SKIP: tl.constexpr, SKIP_PAD: tl.constexpr,
):  # fmt: skip
    """y = x × factor + offset of each channel, ReLU and a padded `skip` added to it, padded.

    `height` and `width` are those of the result without its padding.
    """
    n = tl.program_id(1)
    channels = tl.arange(0, PADDED)
    wide = width + 2 * PAD
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    inside = (pixel < wide * (height + 2 * PAD))[:, None] & (channels < C)[None, :]
    down = mirror(pixel // wide - PAD, height, REFLECT)
    across = mirror(pixel % wide - PAD, width, REFLECT)
    if PARTS == 1:
        place = down * row + across
    else:
        first, second = down + BORDER, across + BORDER
        part = first % 2 * 2 + second % 2
        place = ((first // 2) * row + second // 2) * PARTS + part
    x += n.to(tl.int64) * picture
    places = place[:, None] * C + channels[None, :]
    value = tl.load(x + places, mask=inside, other=0.0).to(tl.float32)
    times = tl.load(factor + n * C + channels, mask=channels < C, other=0.0)
    plus = tl.load(offset + n * C + channels, mask=channels < C, other=0.0)
    value = value * times[None, :] + plus[None, :]
    if RELU:
        value = tl.maximum(value, 0.0)
    if SKIP:
        around: tl.constexpr = 2 * SKIP_PAD
        skip += n.to(tl.int64) * (height + around) * (width + around) * C
        place = (down + SKIP_PAD) * (width + around) + across + SKIP_PAD
        value += tl.load(skip + place[:, None] * C + channels[None, :], mask=inside, other=0.0)
    y += n.to(tl.int64) * (height + 2 * PAD) * wide * C
    places = pixel[:, None] * C + channels[None, :]
    tl.store(y + places, value.to(y.dtype.element_ty), mask=inside)


@triton.jit
def join(
    fine, coarse, y, height, width,
    FINE: tl.constexpr, COARSE: tl.constexpr, PADDED: tl.constexpr, PIXELS: tl.constexpr,
    FROM: tl.constexpr, PAD: tl.constexpr,
):  # fmt: skip
    """The channels of `fine` and then those of `coarse`, enlarged by two between its pixels, padded
    by reflection. `fine` comes padded by FROM, `coarse` as it is; `height` and `width` are fine's.
    """
    n = tl.program_id(1)
    C: tl.constexpr = FINE + COARSE
    channels = tl.arange(0, PADDED)
    wide = width + 2 * PAD
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    there = pixel < wide * (height + 2 * PAD)
    down = mirror(pixel // wide - PAD, height, True)
    across = mirror(pixel % wide - PAD, width, True)
    around: tl.constexpr = 2 * FROM
    fine += n.to(tl.int64) * (height + around) * (width + around) * FINE
    place = (down + FROM) * (width + around) + across + FROM
    first = there[:, None] & (channels < FINE)[None, :]
    value = tl.load(fine + place[:, None] * FINE + channels[None, :], mask=first, other=0.0)
    value = value.to(tl.float32)
    coarse += n.to(tl.int64) * (height // 2) * (width // 2) * COARSE
    second = there[:, None] & ((channels >= FINE) & (channels < C))[None, :]
    for i in tl.static_range(4):  # the four pixels around; the nearer weighs three quarters
        near_row, near_column = i // 2, i % 2
        row = down // 2 + (1 - near_row) * (down % 2 * 2 - 1)
        column = across // 2 + (1 - near_column) * (across % 2 * 2 - 1)
        row = mirror(row, height // 2, False)
        column = mirror(column, width // 2, False)
        place = row * (width // 2) + column
        places = place[:, None] * COARSE + channels[None, :] - FINE
        weight = (0.25 + 0.5 * near_row) * (0.25 + 0.5 * near_column)
        value += weight * tl.load(coarse + places, mask=second, other=0.0).to(tl.float32)
    y += n.to(tl.int64) * (height + 2 * PAD) * wide * C
    places = pixel[:, None] * C + channels[None, :]
    tl.store(
        y + places, value.to(y.dtype.element_ty), mask=there[:, None] & (channels < C)[None, :]
    )
