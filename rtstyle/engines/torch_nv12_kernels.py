"""The Triton kernels of `torch_nv12`. Pixels are addressed in 32 bit."""

# ruff: noqa: N803  # Triton's constants are capital
# mypy: disable-error-code="untyped-decorator, no-untyped-def, no-untyped-call"

from __future__ import annotations

import triton
import triton.language as tl

from rtstyle.engines.torch_end_kernels import byte
from rtstyle.engines.torch_kernels import mirror


@triton.jit
def nv12_to_rgb(
    luma, chroma, frame, height, width, padded_height, padded_width, luma_pitch, chroma_pitch,
    red_weight, blue_weight, low, luma_range, chroma_range, PIXELS: tl.constexpr,
):  # fmt: skip
    """NV12 of height × width as RGB, padded at the bottom and the right by reflection."""
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    inside = pixel < padded_height * padded_width
    down = mirror(pixel // padded_width, height, True)
    across = mirror(pixel % padded_width, width, True)
    y = tl.load(luma + down * luma_pitch + across, mask=inside, other=0).to(tl.float32)
    blue, red = tl.zeros((PIXELS,), tl.float32), tl.zeros((PIXELS,), tl.float32)
    for i in tl.static_range(4):  # the four samples around; the nearer weighs three quarters
        near_row, near_column = i // 2, i % 2
        row = down // 2 + (1 - near_row) * (down % 2 * 2 - 1)
        column = across // 2 + (1 - near_column) * (across % 2 * 2 - 1)
        row = mirror(row, height // 2, False)
        column = mirror(column, width // 2, False)
        place = chroma + row * chroma_pitch + column * 2
        weight = (0.25 + 0.5 * near_row) * (0.25 + 0.5 * near_column)
        blue += weight * (tl.load(place, mask=inside, other=128).to(tl.float32) - 128)
        red += weight * (tl.load(place + 1, mask=inside, other=128).to(tl.float32) - 128)
    y = (y - low) / luma_range
    r = y + 2 * (1 - red_weight) * red / chroma_range
    b = y + 2 * (1 - blue_weight) * blue / chroma_range
    g = (y - red_weight * r - blue_weight * b) / (1 - red_weight - blue_weight)
    tl.store(frame + pixel * 3, byte(r * 255), mask=inside)
    tl.store(frame + pixel * 3 + 1, byte(g * 255), mask=inside)
    tl.store(frame + pixel * 3 + 2, byte(b * 255), mask=inside)


@triton.jit
def rgb_to_nv12(
    stylized, original, strength, luma, chroma, height, width, row, pitch,
    red_weight, blue_weight, BLEND: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    """RGB in rows of `row` pixels as NV12 of limited range; one lane makes 2 × 2 pixels.

    Where it is to BLEND, `strength` of the stylized picture is mixed with the original.
    """
    lane = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    inside = lane < (height // 2) * (width // 2)
    down, across = lane // (width // 2) * 2, lane % (width // 2) * 2
    sums_red, sums_blue = tl.zeros((PIXELS,), tl.float32), tl.zeros((PIXELS,), tl.float32)
    share = tl.load(strength)
    for i in tl.static_range(4):
        place = ((down + i // 2) * row + across + i % 2) * 3
        r = tl.load(stylized + place, mask=inside, other=0).to(tl.float32)
        g = tl.load(stylized + place + 1, mask=inside, other=0).to(tl.float32)
        b = tl.load(stylized + place + 2, mask=inside, other=0).to(tl.float32)
        if BLEND:
            r0 = tl.load(original + place, mask=inside, other=0).to(tl.float32)
            g0 = tl.load(original + place + 1, mask=inside, other=0).to(tl.float32)
            b0 = tl.load(original + place + 2, mask=inside, other=0).to(tl.float32)
            r, g, b = r0 + share * (r - r0), g0 + share * (g - g0), b0 + share * (b - b0)
        y = red_weight * r + (1 - red_weight - blue_weight) * g + blue_weight * b
        target = luma + (down + i // 2) * pitch + across + i % 2
        tl.store(target, byte(y * (219 / 255) + 16), mask=inside)
        sums_red += r - y
        sums_blue += b - y
    target = chroma + (down // 2) * pitch + across
    blue = sums_blue * (224 / 255 / 8) / (1 - blue_weight) + 128
    red = sums_red * (224 / 255 / 8) / (1 - red_weight) + 128
    tl.store(target, byte(blue), mask=inside)
    tl.store(target + 1, byte(red), mask=inside)
