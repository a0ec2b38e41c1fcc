"""A StyleBank that paints every region of the frame in a style of its own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from rtstyle.nets import build_net


class Regions(nn.Module):
    """The net `bank`, made with `options`, and a map of which styles paint where (Chen et al. 2017,
    §4.3, region-specific fusion). Encoder and decoder see the frame as a whole, so no seam shows.

    `maps` (S, height, width) holds the weights of the styles in every place and is stretched over
    frames of any size: (N, 3, H, W) → (N, 3, H, W) float, not clamped.
    """

    def __init__(self, *, bank: str, options: dict[str, Any], height: int, width: int) -> None:
        super().__init__()
        self.options = {"bank": bank, "options": options, "height": height, "width": width}
        self.net = build_net(bank, **options)
        self.stride = self.net.stride
        self.maps = nn.Buffer(torch.zeros(int(options["styles"]), height, width))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x, self.maps.expand(len(x), -1, -1, -1))
        return out
