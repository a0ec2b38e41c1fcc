"""NV12, which video decoders give and encoders take, to RGB and back, by torch on any device."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

BT709 = (0.2126, 0.0722)  # weights of red and blue in luma


def nv12_to_rgb(
    luma: Tensor, chroma: Tensor, weights: tuple[float, float], *, full_range: bool
) -> Tensor:
    """(H, W) and (H/2, W/2, 2) uint8 → (1, 3, H, W) float32 RGB from 0 to 255.

    Chroma is interpolated; its samples stand in the middle of their four pixels, as FFmpeg's scaler
    has it, so that a picture is the same wherever it is converted.
    """
    y = luma.float()[None, None]
    c = chroma.float().permute(2, 0, 1)[None] - 128
    c = F.interpolate(c, size=luma.shape, mode="bilinear", align_corners=False)
    if full_range:
        y, c = y / 255, c / 255
    else:
        y, c = (y - 16) / 219, c / 224
    red_weight, blue_weight = weights
    red = y + 2 * (1 - red_weight) * c[:, 1:]
    blue = y + 2 * (1 - blue_weight) * c[:, :1]
    green = (y - red_weight * red - blue_weight * blue) / (1 - red_weight - blue_weight)
    return (torch.cat([red, green, blue], dim=1) * 255).clamp(0, 255)


def rgb_to_nv12(rgb: Tensor) -> Tensor:
    """(1, 3, H, W) float RGB from 0 to 255 → (H + H/2, W) uint8, chroma below luma.

    BT.709 of limited range. One block, as NVENC finds chroma by luma's address and height. Chroma
    stands as `nv12_to_rgb` says.
    """
    red_weight, blue_weight = BT709
    red, green, blue = (rgb.float() / 255).unbind(1)
    y = red_weight * red + (1 - red_weight - blue_weight) * green + blue_weight * blue
    c = torch.stack(
        [(blue - y) / (2 * (1 - blue_weight)), (red - y) / (2 * (1 - red_weight))], dim=1
    )
    c = F.avg_pool2d(c, 2)
    chroma = (c[0] * 224 + 128).permute(1, 2, 0).flatten(1)
    return torch.cat([y[0] * 219 + 16, chroma]).round().clamp(0, 255).to(torch.uint8)
