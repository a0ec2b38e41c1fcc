"""The nets of jcjohnson/fast-neural-style: Torch7's modules, one for one.

Whatever the architecture string and the padding were, the file holds the tree of modules; each kind
becomes its torch counterpart. The nets take BGR with VGG's mean subtracted, and give the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.importers.base import Imported
from export.importers.files import CheckpointFile
from export.importers.torch7_file import Torch7Object
from rtstyle.errors import ModelError
from rtstyle.nets.layers import InstanceNorm

_BGR_MEAN = (103.939, 116.779, 123.68)


def recognise(files: Sequence[CheckpointFile]) -> Imported | None:
    """The net in the one file: a module, or a training's table with `model` in it."""
    if len(files) != 1 or files[0].kind != "torch7":
        return None
    held: Any = files[0].content
    options: dict[Any, Any] = {}
    if isinstance(held, dict):
        options = held.get("opt") or {}
        held = held.get("model")
    if not isinstance(held, Torch7Object) or not held.type_name.startswith("nn."):
        return None
    kind = options.get("preprocessing", "vgg")
    if kind != "vgg":
        raise ModelError(f"{files[0].path.name} was trained with {kind!r} colours; only vgg is.")
    net = Torch7Net(_module(held))
    return Imported(net.eval().requires_grad_(False), "fast-neural-style",
                    "jcjohnson/fast-neural-style")  # fmt: skip


class Torch7Net(nn.Module):
    """(N, 3, H, W) float RGB in [0, 1] → (N, 3, H, W) float.

    H and W are multiples of the stride, a multiple of 4 beyond what the net reflects at
    its borders.
    """

    def __init__(self, tree: nn.Module) -> None:
        super().__init__()
        self.tree = tree
        self.options: dict[str, Any] = {}
        reflected = [max(m.padding) for m in tree.modules() if isinstance(m, nn.ReflectionPad2d)]
        self.stride = max(reflected, default=0) // 4 * 4 + 4
        self.mean: Tensor
        self.register_buffer("mean", torch.tensor(_BGR_MEAN).reshape(1, 3, 1, 1))

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        y = self.tree(x.flip(1) * 255 - self.mean)
        out: Tensor = ((y + self.mean) / 255).flip(1)
        return out


class _Shave(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        return x[..., self.size : -self.size, self.size : -self.size]


class _Sum(nn.Module):
    """`nn.ConcatTable` and the `nn.CAddTable` after it: branches of one input, added."""

    def __init__(self, branches: Sequence[nn.Module]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([branch(x) for branch in self.branches]).sum(0)


class _Scale(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


def _module(told: Torch7Object) -> nn.Module:
    kind = told.type_name.removeprefix("nn.").removeprefix("cudnn.")
    if kind not in _KINDS:
        raise ModelError(f"The Torch7 net has the module {told.type_name}, which is not known.")
    try:
        return _KINDS[kind](told)
    except (KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ModelError(
            f"The Torch7 module {told.type_name} does not hold what it should ({error})."
        ) from None


def _children(told: Torch7Object) -> list[Torch7Object]:
    held = told["modules"]
    return [held[i] for i in sorted(held)]


def _sequential(told: Torch7Object) -> nn.Module:
    return nn.Sequential(*(_module(m) for m in _children(told) if m.type_name != "nn.CAddTable"))


def _sum(told: Torch7Object) -> nn.Module:
    return _Sum([_module(m) for m in _children(told)])


def _convolution(told: Torch7Object) -> nn.Module:
    size, stride, pad = _sizes(told)
    c_in, c_out = int(told["nInputPlane"]), int(told["nOutputPlane"])
    conv = nn.Conv2d(c_in, c_out, size, stride, pad)  # type: ignore[arg-type]
    return _with_weights(conv, told, (c_out, c_in, *size))


def _full_convolution(told: Torch7Object) -> nn.Module:
    size, stride, pad = _sizes(told)
    c_in, c_out = int(told["nInputPlane"]), int(told["nOutputPlane"])
    extra = (int(told.get("adjH", 0)), int(told.get("adjW", 0)))
    conv = nn.ConvTranspose2d(c_in, c_out, size, stride, pad, extra)  # type: ignore[arg-type]
    return _with_weights(conv, told, (c_in, c_out, *size))


def _sizes(told: Torch7Object) -> tuple[tuple[int, ...], ...]:
    pairs = (("kH", "kW"), ("dH", "dW"), ("padH", "padW"))
    return tuple(tuple(int(told.get(name, 0)) for name in pair) for pair in pairs)


def _with_weights(module: nn.Module, told: Torch7Object, shape: Sequence[int]) -> nn.Module:
    bias = told.get("bias")
    module.weight = _parameter(told["weight"].reshape(shape))
    module.bias = None if bias is None else _parameter(bias)  # type: ignore[assignment]
    return module


def _instance_norm(told: Torch7Object) -> nn.Module:
    weight = told["weight"]
    norm = InstanceNorm(len(weight), eps=float(told.get("eps", 1e-5)))
    norm.weight, norm.bias = _parameter(weight), _parameter(told["bias"])
    return norm


def _batch_norm(told: Torch7Object) -> nn.Module:
    mean, variance = told["running_mean"], told.get("running_var")
    if variance is None:  # what very old versions kept
        variance = 1 / np.asarray(told["running_std"]) ** 2
    norm = nn.BatchNorm2d(len(mean), eps=float(told.get("eps", 1e-5)))
    norm.running_mean, norm.running_var = _parameter(mean).data, _parameter(variance).data
    if told.get("weight") is not None:
        norm.weight, norm.bias = _parameter(told["weight"]), _parameter(told["bias"])
    return norm


def _padding(told: Torch7Object) -> tuple[int, int, int, int]:
    left, right, top, bottom = (int(told[f"pad_{side}"]) for side in "lrtb")
    return left, right, top, bottom


def _parameter(value: NDArray[Any]) -> nn.Parameter:
    array = np.array(value, np.float32)
    if not np.isfinite(array).all():
        raise ModelError("The Torch7 net holds weights that are no numbers.")
    return nn.Parameter(torch.from_numpy(array))


_KINDS: dict[str, Callable[[Torch7Object], nn.Module]] = {
    "Sequential": _sequential,
    "ConcatTable": _sum,
    "Identity": lambda told: nn.Identity(),
    "TotalVariation": lambda told: nn.Identity(),  # a loss, which only trains
    "SpatialConvolution": _convolution,
    "SpatialConvolutionMM": _convolution,
    "SpatialFullConvolution": _full_convolution,
    "InstanceNormalization": _instance_norm,
    "SpatialBatchNormalization": _batch_norm,
    "ReLU": lambda told: nn.ReLU(),
    "Tanh": lambda told: nn.Tanh(),
    "MulConstant": lambda told: _Scale(float(told["constant_scalar"])),
    "ShaveImage": lambda told: _Shave(int(told["size"])),
    "SpatialReflectionPadding": lambda told: nn.ReflectionPad2d(_padding(told)),
    "SpatialReplicationPadding": lambda told: nn.ReplicationPad2d(_padding(told)),
    "SpatialUpSamplingNearest": lambda told: nn.Upsample(
        scale_factor=float(told["scale_factor"]), mode="nearest"
    ),
}
