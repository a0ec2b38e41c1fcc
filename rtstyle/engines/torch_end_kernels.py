"""The Triton kernels of `torch_ends`; see `torch_kernels`."""

# ruff: noqa: N803, N806  # Triton's constants are capital
# mypy: disable-error-code="untyped-decorator, no-untyped-def, no-untyped-call"

from __future__ import annotations

import triton
import triton.language as tl

from rtstyle.engines.torch_kernels import mirror


@triton.jit
def enter(
    frame, grain, mean, y, height, width,
    BLOCK: tl.constexpr, PADDED: tl.constexpr, PIXELS: tl.constexpr, PAD: tl.constexpr,
):  # fmt: skip
    """A uint8 picture as a net takes it: with its grain, without its mean colour, BLOCK × BLOCK
    pixels to one (space-to-depth), padded by reflection. `height` and `width` are the result's."""
    n = tl.program_id(1)
    AREA: tl.constexpr = BLOCK * BLOCK
    C: tl.constexpr = 3 * AREA
    channels = tl.arange(0, PADDED)
    used = channels < C
    wide = width + 2 * PAD
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    inside = (pixel < wide * (height + 2 * PAD))[:, None] & used[None, :]
    down = mirror(pixel // wide - PAD, height, True) * BLOCK
    across = mirror(pixel % wide - PAD, width, True) * BLOCK
    colour, within = channels // AREA, channels % AREA
    place = (down[:, None] + (within // BLOCK)[None, :]) * (width * BLOCK)
    place += across[:, None] + (within % BLOCK)[None, :]
    frame += n.to(tl.int64) * height * width * C
    value = tl.load(frame + place * 3 + colour[None, :], mask=inside, other=0).to(tl.float32)
    value += tl.load(grain + place, mask=inside, other=0.0)
    value -= tl.load(mean + n * 3 + colour, mask=used, other=0.0)[None, :]
    y += n.to(tl.int64) * (height + 2 * PAD) * wide * C
    places = pixel[:, None] * C + channels[None, :]
    tl.store(y + places, (value * (1 / 255)).to(y.dtype.element_ty), mask=inside)


@triton.jit
def byte(x):
    """To the nearest of 0 to 255, halves to the even one, as torch rounds."""
    x = tl.minimum(tl.maximum(x, 0.0), 255.0)
    return ((x + 12582912.0) - 12582912.0).to(tl.uint8)  # 1.5 × 2²³: what follows is rounded off


@triton.jit
def leave(
    x, bias, frame, height, width, row, picture,
    PARTS: tl.constexpr, BORDER: tl.constexpr, VALUES: tl.constexpr,
):  # fmt: skip
    """What the last convolution gave, in three colours, as a uint8 picture of height × width."""
    n = tl.program_id(1)
    i = tl.program_id(0) * VALUES + tl.arange(0, VALUES)
    inside = i < height * width * 3
    colour, pixel = i % 3, i // 3
    down, across = pixel // width + BORDER, pixel % width + BORDER
    if PARTS == 1:
        place = down * row + across
    else:
        place = ((down // 2) * row + across // 2) * PARTS + down % 2 * 2 + across % 2
    value = tl.load(x + n.to(tl.int64) * picture + place * 3 + colour, mask=inside, other=0.0)
    value = (value.to(tl.float32) + tl.load(bias + colour, mask=inside, other=0.0)) * 255
    tl.store(frame + n.to(tl.int64) * height * width * 3 + i, byte(value), mask=inside)


@triton.jit
def first_convolution(
    x, weight, y, means, squares, width, pixels, chunk, blocks, row, picture,
    C: tl.constexpr, PADDED: tl.constexpr, PIXELS: tl.constexpr, SIDE: tl.constexpr,
):  # fmt: skip
    """A convolution of SIDE × SIDE pixels of three colours, and mean and sum of squared distances
    of each channel over `chunk` pixels of its result.

    `row` is the width of `x`, which is padded; three colours of a row of the window lie side by
    side, and so do their weights. Statistics are merged as `block_statistics` does.
    """
    block, n = tl.program_id(0), tl.program_id(1)
    ROW: tl.constexpr = 3 * SIDE
    channels = tl.arange(0, PADDED)
    taps = tl.arange(0, 32)
    used = (taps < ROW)[:, None] & (channels < C)[None, :]
    weight += channels[None, :] * (SIDE * ROW) + taps[:, None]
    x += n.to(tl.int64) * picture
    y += n.to(tl.int64) * pixels * C
    mean = tl.zeros((PADDED,), tl.float32)
    square = tl.zeros((PADDED,), tl.float32)
    count = 0.0
    end = tl.minimum(block * chunk + chunk, pixels)
    for start in range(block * chunk, end, PIXELS):
        pixel = start + tl.arange(0, PIXELS)
        here = pixel < end
        place = (pixel // width * row + pixel % width) * 3
        total = tl.zeros((PIXELS, PADDED), tl.float32)
        for i in range(SIDE):
            there = here[:, None] & (taps < ROW)[None, :]
            window = tl.load(
                x + place[:, None] + i * row * 3 + taps[None, :], mask=there, other=0.0
            )
            total = tl.dot(window, tl.load(weight + i * ROW, mask=used, other=0.0), total)
        value = total.to(y.dtype.element_ty)
        inside = here[:, None] & (channels < C)[None, :]
        tl.store(y + pixel[:, None] * C + channels[None, :], value, mask=inside)
        value = value.to(tl.float32)  # zero where no pixel is
        more = tl.sum(here.to(tl.float32), axis=0)
        own = tl.sum(value, axis=0) / more
        distance = tl.where(inside, value - own[None, :], 0.0)
        square += tl.sum(distance * distance, axis=0)
        away = own - mean
        square += away * away * (count * more / (count + more))
        mean += away * (more / (count + more))
        count += more
    result = (n * blocks + block) * C + channels
    tl.store(means + result, mean, mask=channels < C)
    tl.store(squares + result, square, mask=channels < C)


@triton.jit
def last_convolution(
    x, factor, offset, weight, bias, frame, height, width, row, picture,
    C: tl.constexpr, CHANNELS: tl.constexpr, SIDE: tl.constexpr, COLUMNS: tl.constexpr,
    PARTS: tl.constexpr, BORDER: tl.constexpr,
):  # fmt: skip
    """x × factor + offset, ReLU, padded by reflection and convolved to three colours, as bytes.

    A program makes one row. It first takes every column for itself, times each of the SIDE columns
    of the window that may meet it, which are sums over channels and rows of the window alone; then
    each pixel adds up those of its own columns. So tensor cores get 3 · SIDE results at once and
    not three, and no pixel is read for more than SIDE rows.
    """
    REACH: tl.constexpr = SIDE // 2
    INNER: tl.constexpr = COLUMNS - 2 * REACH
    across, down, n = tl.program_id(0) * INNER, tl.program_id(1), tl.program_id(2)
    columns = tl.arange(0, COLUMNS)
    results = tl.arange(0, 32)  # column of the window, then colour
    second = mirror(across + columns - REACH, width, True) + BORDER
    there = across + columns < width + 2 * REACH
    weight += (results % 3 * (SIDE * SIDE) + results // 3)[None, :] * C
    x += n.to(tl.int64) * picture
    total = tl.zeros((COLUMNS, 32), tl.float32)
    for i in range(SIDE):
        first = mirror(down + i - REACH, height, True) + BORDER
        if PARTS == 1:
            place = first * row + second
        else:
            part = first % 2 * 2 + second % 2
            place = ((first // 2) * row + second // 2) * PARTS + part
        for start in range(0, C, CHANNELS):
            channels = start + tl.arange(0, CHANNELS)
            known = channels < C
            times = tl.load(factor + n * C + channels, mask=known, other=0.0)[None, :]
            plus = tl.load(offset + n * C + channels, mask=known, other=0.0)[None, :]
            inside = there[:, None] & known[None, :]
            value = tl.load(x + place[:, None] * C + channels[None, :], mask=inside, other=0.0)
            value = tl.maximum(value.to(tl.float32) * times + plus, 0.0).to(x.dtype.element_ty)
            used = known[:, None] & (results < 3 * SIDE)[None, :]
            taps = tl.load(weight + i * SIDE * C + channels[:, None], mask=used, other=0.0)
            total = tl.dot(value, taps, total)
    from_columns = (columns[:, None] + (results // 3)[None, :]) % COLUMNS
    total = tl.gather(total, from_columns, axis=0)
    frame += ((n.to(tl.int64) * height + down) * width + across) * 3
    own = (columns < INNER) & (across + columns < width)
    for colour in tl.static_range(3):
        meant = (results % 3 == colour) & (results < 3 * SIDE)
        value = tl.sum(tl.where(meant[None, :], total, 0.0), axis=1) + tl.load(bias + colour)
        tl.store(frame + columns * 3 + colour, byte(value * 255), mask=own)
