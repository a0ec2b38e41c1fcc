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

from rtstyle.errors import ModelError
from rtstyle.importers.base import Imported
from rtstyle.importers.files import CheckpointFile
from rtstyle.importers.torch7_file import Torch7Object
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
    return Imported(
        net.eval().requires_grad_(False), "fast-neural-style", "jcjohnson/fast-neural-style"
    )


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


def _module(layer: Torch7Object) -> nn.Module:
    kind = layer.type_name.removeprefix("nn.").removeprefix("cudnn.")
    if kind not in _KINDS:
        raise ModelError(f"The Torch7 net has the module {layer.type_name}, which is not known.")
    try:
        return _KINDS[kind](layer)
    except (KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ModelError(
            f"The Torch7 module {layer.type_name} does not hold what it should ({error})."
        ) from None


def _children(layer: Torch7Object) -> list[Torch7Object]:
    held = layer["modules"]
    return [held[i] for i in sorted(held)]


def _sequential(layer: Torch7Object) -> nn.Module:
    return nn.Sequential(*(_module(m) for m in _children(layer) if m.type_name != "nn.CAddTable"))


def _sum(layer: Torch7Object) -> nn.Module:
    return _Sum([_module(m) for m in _children(layer)])


def _convolution(layer: Torch7Object) -> nn.Module:
    size, stride, pad = _sizes(layer)
    c_in, c_out = int(layer["nInputPlane"]), int(layer["nOutputPlane"])
    conv = nn.Conv2d(c_in, c_out, size, stride, pad)  # type: ignore[arg-type]
    return _with_weights(conv, layer, (c_out, c_in, *size))


def _full_convolution(layer: Torch7Object) -> nn.Module:
    size, stride, pad = _sizes(layer)
    c_in, c_out = int(layer["nInputPlane"]), int(layer["nOutputPlane"])
    extra = (int(layer.get("adjH", 0)), int(layer.get("adjW", 0)))
    conv = nn.ConvTranspose2d(c_in, c_out, size, stride, pad, extra)  # type: ignore[arg-type]
    return _with_weights(conv, layer, (c_in, c_out, *size))


def _sizes(layer: Torch7Object) -> tuple[tuple[int, ...], ...]:
    pairs = (("kH", "kW"), ("dH", "dW"), ("padH", "padW"))
    return tuple(tuple(int(layer.get(name, 0)) for name in pair) for pair in pairs)


def _with_weights(module: nn.Module, layer: Torch7Object, shape: Sequence[int]) -> nn.Module:
    bias = layer.get("bias")
    module.weight = _parameter(layer["weight"].reshape(shape))
    module.bias = None if bias is None else _parameter(bias)  # type: ignore[assignment]
    return module


def _instance_norm(layer: Torch7Object) -> nn.Module:
    weight = layer["weight"]
    norm = InstanceNorm(len(weight), eps=float(layer.get("eps", 1e-5)))
    norm.weight, norm.bias = _parameter(weight), _parameter(layer["bias"])
    return norm


def _batch_norm(layer: Torch7Object) -> nn.Module:
    mean, variance = layer["running_mean"], layer.get("running_var")
    if variance is None:  # what very old versions kept
        variance = 1 / np.asarray(layer["running_std"]) ** 2
    norm = nn.BatchNorm2d(len(mean), eps=float(layer.get("eps", 1e-5)))
    norm.running_mean, norm.running_var = _parameter(mean).data, _parameter(variance).data
    if layer.get("weight") is not None:
        norm.weight, norm.bias = _parameter(layer["weight"]), _parameter(layer["bias"])
    return norm


def _padding(layer: Torch7Object) -> tuple[int, int, int, int]:
    left, right, top, bottom = (int(layer[f"pad_{side}"]) for side in "lrtb")
    return left, right, top, bottom


def _parameter(value: NDArray[Any]) -> nn.Parameter:
    array = np.array(value, np.float32)
    if not np.isfinite(array).all():
        raise ModelError("The Torch7 net holds weights that are no numbers.")
    return nn.Parameter(torch.from_numpy(array))


_KINDS: dict[str, Callable[[Torch7Object], nn.Module]] = {
    "Sequential": _sequential,
    "ConcatTable": _sum,
    "Identity": lambda layer: nn.Identity(),
    "TotalVariation": lambda layer: nn.Identity(),  # a loss, which only trains
    "SpatialConvolution": _convolution,
    "SpatialConvolutionMM": _convolution,
    "SpatialFullConvolution": _full_convolution,
    "InstanceNormalization": _instance_norm,
    "SpatialBatchNormalization": _batch_norm,
    "ReLU": lambda layer: nn.ReLU(),
    "Tanh": lambda layer: nn.Tanh(),
    "MulConstant": lambda layer: _Scale(float(layer["constant_scalar"])),
    "ShaveImage": lambda layer: _Shave(int(layer["size"])),
    "SpatialReflectionPadding": lambda layer: nn.ReflectionPad2d(_padding(layer)),
    "SpatialReplicationPadding": lambda layer: nn.ReplicationPad2d(_padding(layer)),
    "SpatialUpSamplingNearest": lambda layer: nn.Upsample(
        scale_factor=float(layer["scale_factor"]), mode="nearest"
    ),
}
