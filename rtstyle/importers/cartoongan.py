"""CartoonGAN (Chen et al., CVPR 2018) of Yijunmaverick/CartoonGAN-Test-Pytorch-Torch.

The generators take and give BGR from −1 to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rtstyle.importers.base import Imported, load_weights
from rtstyle.importers.files import CheckpointFile

_BLOCKS = range(4, 12)
_EPS = 1e-9


def recognise(files: Sequence[CheckpointFile]) -> Imported | None:
    """The generator in the one file, if that is one."""
    if len(files) != 1 or files[0].kind not in ("torch", "safetensors"):
        return None
    weights = files[0].tensors
    if not {"conv01_1.weight", "in01_1.scale", "deconv03_1.weight"} <= set(weights):
        return None
    net = CartoonGan(width=int(weights["conv01_1.weight"].shape[0]))
    load_weights(net, weights, of=files[0].path.name)
    return Imported(net, "cartoongan", "Yijunmaverick/CartoonGAN-Test-Pytorch-Torch")


class CartoonGan(nn.Module):
    """(N, 3, H, W) float RGB in [0, 1] → the same. H and W are multiples of 4."""

    stride = 4
    grain = False

    def __init__(self, *, width: int = 64) -> None:
        super().__init__()
        self.options: dict[str, Any] = {"width": width}
        w = width
        self.conv01_1, self.in01_1 = nn.Conv2d(3, w, 7), _Norm(w)
        for i, (a, b) in enumerate(((w, 2 * w), (2 * w, 4 * w)), start=2):
            setattr(self, f"conv0{i}_1", nn.Conv2d(a, b, 3, 2, 1))
            setattr(self, f"conv0{i}_2", nn.Conv2d(b, b, 3, 1, 1))
            setattr(self, f"in0{i}_1", _Norm(b))
        for i in _BLOCKS:
            for k in (1, 2):
                setattr(self, f"conv{i:02d}_{k}", nn.Conv2d(4 * w, 4 * w, 3))
                setattr(self, f"in{i:02d}_{k}", _Norm(4 * w))
        for i, (a, b) in enumerate(((4 * w, 2 * w), (2 * w, w)), start=1):
            up = nn.ConvTranspose2d(a, b, 3, 2, 1, output_padding=1)
            setattr(self, f"deconv0{i}_1", up)
            setattr(self, f"deconv0{i}_2", nn.Conv2d(b, b, 3, 1, 1))
            setattr(self, f"in{11 + i}_1", _Norm(b))
        self.deconv03_1 = nn.Conv2d(w, 3, 7)

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        parts = self._modules
        x = x.flip(1) * 2 - 1
        x = F.relu(self.in01_1(self.conv01_1(_reflected(x, 3))))
        for i in (2, 3):
            x = parts[f"conv0{i}_2"](parts[f"conv0{i}_1"](x))  # type: ignore[misc]
            x = F.relu(parts[f"in0{i}_1"](x))  # type: ignore[misc]
        for i in _BLOCKS:
            y = x
            for k in (1, 2):
                y = parts[f"conv{i:02d}_{k}"](_reflected(y, 1))  # type: ignore[misc]
                y = parts[f"in{i:02d}_{k}"](y)  # type: ignore[misc]
                y = F.relu(y) if k == 1 else y
            x = x + y
        for i in (1, 2):
            x = parts[f"deconv0{i}_2"](parts[f"deconv0{i}_1"](x))  # type: ignore[misc]
            x = F.relu(parts[f"in{11 + i}_1"](x))  # type: ignore[misc]
        out = torch.tanh(self.deconv03_1(_reflected(x, 3)))
        return ((out + 1) / 2).flip(1)


class _Norm(nn.Module):
    """Instance norm whose weights are called `scale` and `shift`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.instance_norm(x, weight=self.scale, bias=self.shift, eps=_EPS)


def _reflected(x: Tensor, by: int) -> Tensor:
    return F.pad(x, (by,) * 4, mode="reflect")
