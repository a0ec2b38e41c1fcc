"""Pictures between NV12, which decoders give and encoders take, and RGB: one operation each way."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rtstyle.engines.torch_library import operation

_PITCH = 64  # bytes: rows of NV12 begin at multiples
BT709 = (0.2126, 0.0722)  # weights of red and blue in luma


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


nv12_to_rgb = operation(_nv12_to_rgb, _fake_nv12_to_rgb, _run_nv12_to_rgb, "torch_nv12_kernels")
rgb_to_nv12 = operation(_rgb_to_nv12, _fake_rgb_to_nv12, _run_rgb_to_nv12, "torch_nv12_kernels")
