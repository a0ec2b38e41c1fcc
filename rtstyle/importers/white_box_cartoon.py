"""White-box Cartoon (Wang & Yu, CVPR 2020): the U-Net of SystemErrorWang/White-box-Cartoonization,
a TensorFlow checkpoint, and the guided filter that its own demo puts behind it.

Their weights are for non-commercial use; bring your own copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from rtstyle.importers.base import Imported, load_weights
from rtstyle.importers.files import CheckpointFile

_SCOPE = "generator/"
_RADIUS, _EPS = 1, 5e-3  # of the demo's guided filter


def recognise(files: Sequence[CheckpointFile]) -> Imported | None:
    """The net in the one checkpoint, if that is it."""
    if len(files) != 1 or files[0].kind != "tensorflow":
        return None
    theirs = files[0].tensors
    if not {f"{_SCOPE}Conv/weights", f"{_SCOPE}block_0/Conv_1/weights"} <= set(theirs):
        return None
    blocks = len({name.split("/")[1] for name in theirs if name.startswith(f"{_SCOPE}block_")})
    net = WhiteBoxCartoon(width=int(theirs[f"{_SCOPE}Conv/weights"].shape[3]), blocks=blocks)
    weights: dict[str, NDArray[Any]] = {}
    for name, value in theirs.items():
        if not name.startswith(_SCOPE) or name.count("/") < 2:
            continue
        *scopes, part = name.removeprefix(_SCOPE).split("/")
        numbers = [scope.partition("_")[2] or "0" for scope in scopes]
        layer = f"convs.{numbers[0]}" if len(scopes) == 1 else "blocks." + ".".join(numbers)
        if part == "weights":
            weights[f"{layer}.weight"] = np.transpose(value, (3, 2, 0, 1))
        elif part == "biases":
            weights[f"{layer}.bias"] = value
    load_weights(net, weights, of=files[0].path.name)
    return Imported(net, "white-box-cartoon", "SystemErrorWang/White-box-Cartoonization")


class WhiteBoxCartoon(nn.Module):
    """(N, 3, H, W) float RGB in [0, 1] → the same. H and W are multiples of 4."""

    stride = 4
    grain = False

    def __init__(self, *, width: int = 32, blocks: int = 4) -> None:
        super().__init__()
        self.options: dict[str, Any] = {"width": width, "blocks": blocks}
        w = width
        sizes = [(3, w, 7), (w, w, 3), (w, 2 * w, 3), (2 * w, 2 * w, 3), (2 * w, 4 * w, 3),
                 (4 * w, 2 * w, 3), (2 * w, 2 * w, 3), (2 * w, w, 3), (w, w, 3),
                 (w, 3, 7)]  # fmt: skip
        self.convs = nn.ModuleList(nn.Conv2d(*size) for size in sizes)
        self.blocks = nn.ModuleList(
            nn.ModuleList(nn.Conv2d(4 * w, 4 * w, 3) for _ in range(2)) for _ in range(blocks)
        )

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        photo = x * 2 - 1
        x0 = self._conv(photo, 0)
        x1 = self._conv(self._conv(x0, 1, stride=2), 2)
        x2 = self._conv(self._conv(x1, 3, stride=2), 4)
        for block in self.blocks:
            first, second = block.children()
            x2 = x2 + _same(F.leaky_relu(_same(x2, first), 0.2), second)
        x3 = _doubled(self._conv(x2, 5))
        x3 = self._conv(self._conv(x3 + x1, 6), 7)
        x4 = self._conv(_doubled(x3) + x0, 8)
        out = guided_filter(photo, _same(x4, self.convs[9]))
        return (out.clamp(-1, 1) + 1) / 2

    def _conv(self, x: Tensor, number: int, *, stride: int = 1) -> Tensor:
        return F.leaky_relu(_same(x, self.convs[number], stride=stride), 0.2)


def _same(x: Tensor, conv: nn.Module, *, stride: int = 1) -> Tensor:
    """TensorFlow's SAME padding by zeros: at stride 2 of even sizes none above and on the left."""
    weight: Tensor = conv.weight  # type: ignore[assignment]
    bias: Tensor = conv.bias  # type: ignore[assignment]
    total = weight.shape[2] - stride
    before = total // 2
    padded = F.pad(x, (before, total - before) * 2)
    return F.conv2d(padded, weight, bias, stride)


def _doubled(x: Tensor) -> Tensor:
    """TensorFlow 1's bilinear enlargement, whose even pixels are the small picture's: a bilinear
    one with corners aligned over one more, repeated pixel."""
    height, width = x.shape[2:]
    padded = F.pad(x, (0, 1, 0, 1), mode="replicate")
    size = (2 * height + 1, 2 * width + 1)
    y = F.interpolate(padded, size, mode="bilinear", align_corners=True)
    return y[..., :-1, :-1]


def guided_filter(guide: Tensor, x: Tensor) -> Tensor:
    """`x` smoothed within the edges of `guide` (He et al. 2013), each channel by its own."""
    side = 2 * _RADIUS + 1

    def mean(y: Tensor) -> Tensor:
        return F.avg_pool2d(y, side, 1, _RADIUS, count_include_pad=False)

    mean_guide, mean_x = mean(guide), mean(x)
    covariance = mean(guide * x) - mean_guide * mean_x
    a = covariance / (mean(guide * guide) - mean_guide * mean_guide + _EPS)
    return mean(a) * guide + mean(mean_x - a * mean_guide)
