"""The nets of lengstrom/fast-style-transfer, from TensorFlow checkpoints of any version.

Johnson's net with zero padding, transposed convolutions, a norm after the last convolution too, and
a scaled tanh at the end. TensorFlow numbers the variables in the order in which they were made: of
each convolution its weights, the norm's shift and the norm's scale.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from rtstyle.errors import ModelError
from rtstyle.importers.base import Imported, load_weights
from rtstyle.importers.files import CheckpointFile
from rtstyle.nets.layers import InstanceNorm

_EPS = 1e-3


def recognise(files: Sequence[CheckpointFile]) -> Imported | None:
    """The net in the one checkpoint, if its variables are those of such a net."""
    if len(files) != 1 or files[0].kind != "tensorflow":
        return None
    numbered = {}
    for name, value in files[0].tensors.items():
        if match := re.fullmatch(r"(?:.*/)?Variable(?:_(\d+))?", name):
            numbered[int(match[1] or 0)] = value
    layers = _layers([numbered[i] for i in sorted(numbered)])
    if not layers or layers[0][0].shape[:3] != (9, 9, 3):
        return None
    if len(layers) < 8 or len(layers) % 2:
        raise ModelError(
            f"{files[0].path.name} holds {len(layers)} convolutions; 6 and two for each residual "
            "block were expected."
        )
    net = FastStyleTransfer(width=layers[0][0].shape[3], blocks=(len(layers) - 6) // 2)
    names = [name for name, module in net.named_modules() if isinstance(module, _Layer)]
    weights: dict[str, NDArray[np.float32]] = {}
    for name, (kernel, shift, scale) in zip(names, layers, strict=True):
        # TensorFlow has (height, width, in, out), of transposed ones (height, width, out, in).
        weights[f"{name}.kernel.weight"] = kernel.transpose(3, 2, 0, 1)
        weights[f"{name}.norm.weight"] = scale
        weights[f"{name}.norm.bias"] = shift
    load_weights(net, weights, of=files[0].path.name)
    return Imported(net, "fast-style-transfer", "lengstrom/fast-style-transfer")


def _layers(values: list[NDArray[Any]]) -> list[tuple[NDArray[Any], ...]]:
    """Every kernel with the shift and the scale that follow it; other variables are passed over."""
    return [
        (values[i], values[i + 1], values[i + 2])
        for i in range(len(values) - 2)
        if values[i].ndim == 4 and values[i + 1].ndim == 1 and values[i + 2].ndim == 1
    ]


class FastStyleTransfer(nn.Module):
    """(N, 3, H, W) float RGB in [0, 1] → (N, 3, H, W) float. H and W are multiples of 4."""

    stride = 4

    def __init__(self, *, width: int = 32, blocks: int = 5) -> None:
        super().__init__()
        self.options = {"width": width, "blocks": blocks}
        deep = 4 * width
        self.down = nn.Sequential(
            _Layer(3, width, 9),
            _Layer(width, 2 * width, stride=2),
            _Layer(2 * width, deep, stride=2),
        )
        self.body = nn.ModuleList(
            nn.Sequential(_Layer(deep, deep), _Layer(deep, deep, relu=False)) for _ in range(blocks)
        )
        self.up = nn.Sequential(
            _Layer(deep, 2 * width, stride=2, transposed=True),
            _Layer(2 * width, width, stride=2, transposed=True),
            _Layer(width, 3, 9, relu=False),
        )

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        x = self.down(x * 255)
        for block in self.body:
            x = x + block(x)
        out: Tensor = self.up(x).tanh() * (150 / 255) + 0.5
        return out


class _Layer(nn.Module):
    """Convolution as TensorFlow pads it ("SAME"), norm, ReLU. Sides are multiples of `stride`."""

    def __init__(
        self,
        c_in: int,
        c_out: int,
        size: int = 3,
        *,
        stride: int = 1,
        relu: bool = True,
        transposed: bool = False,
    ) -> None:
        super().__init__()
        make = nn.ConvTranspose2d if transposed else nn.Conv2d
        self.kernel = make(c_in, c_out, size, stride, bias=False)
        self.norm = InstanceNorm(c_out, eps=_EPS)
        self.relu = relu
        self.transposed = transposed
        total = size - stride
        self.pad = (total // 2, total - total // 2) * 2

    def forward(self, x: Tensor) -> Tensor:
        # What is too much of a transposed convolution lies after the last pixel.
        y = self.kernel(x)[..., :-1, :-1] if self.transposed else self.kernel(F.pad(x, self.pad))
        x = self.norm(y)
        return F.relu(x) if self.relu else x
