"""The model contract around any net: pictures in, pictures out, all processing inside."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Contract(nn.Module):
    """Wraps a net so that it takes and gives uint8 pictures, as every exported model does.

    (N, H, W, 3) uint8 RGB → the same. A net that takes a style gets (N, S) float32. H and W are
    multiples of `net.stride`.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, frame: Tensor, style: Tensor | None = None) -> Tensor:
        # The type changes first and last: TensorRT refuses to transpose uint8.
        x = frame.to(torch.float32).permute(0, 3, 1, 2) * (1 / 255)
        y: Tensor = self.net(x) if style is None else self.net(x, style)
        return (y.float() * 255).clamp(0, 255).round().permute(0, 2, 3, 1).to(torch.uint8)
