"""Generators of CycleGAN, pix2pix and CUT: `*_net_G.pth` of junyanz/pytorch-CycleGAN-and-pix2pix
and taesungp/contrastive-unpaired-translation, with their ResNet of any number of blocks, CUT's
anti-aliased resampling (Zhang 2019), and their U-Net.

The modules are built with the names of the files, so weights load as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from rtstyle.errors import ModelError
from rtstyle.importers.base import Imported, load_weights
from rtstyle.importers.files import CheckpointFile

Weights = Mapping[str, NDArray[Any]]

_RUNNING = ("running_mean", "running_var", "num_batches_tracked")


def recognise(files: Sequence[CheckpointFile]) -> Imported | None:
    """The generator in the one file, if that is one."""
    if len(files) != 1 or files[0].kind not in ("torch", "safetensors"):
        return None
    weights = files[0].tensors
    if "model.1.weight" in weights and any(".conv_block." in name for name in weights):
        net: nn.Module = _Symmetric(_resnet(weights), stride=4)
        origin = "CUT" if any(name.endswith(".filt") for name in weights) else "CycleGAN"
    elif "model.model.0.weight" in weights and "model.model.3.weight" in weights:
        depth = max(name.count("model.") for name in weights) - 1
        net, origin = _Symmetric(_unet(weights), stride=2**depth), "pix2pix U-Net"
    else:
        return None
    wanted = net.state_dict()
    own = {f"net.{name}": value for name, value in weights.items()}
    # An old PyTorch kept statistics of instance norms that were never used.
    load_weights(net, {name: own[name] for name in wanted if name in own}, of=files[0].path.name)
    return Imported(net, "cyclegan", origin)


class _Symmetric(nn.Module):
    """A net for values from −1 to 1: (N, 3, H, W) float RGB in [0, 1] → the same."""

    grain = False  # the nets learnt without

    def __init__(self, net: nn.Module, *, stride: int) -> None:
        super().__init__()
        self.net, self.stride = net, stride
        self.options: dict[str, Any] = {}

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        y: Tensor = self.net(x * 2 - 1)
        return (y + 1) / 2


class _Block(nn.Module):
    """Residual block; with dropout in training its convolutions have other numbers."""

    def __init__(self, channels: int, second: int, norm: type[nn.Module]) -> None:
        super().__init__()
        layers = [
            nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), norm(channels), nn.ReLU(),
            *(nn.Identity() for _ in range(second - 5)), nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3), norm(channels),
        ]  # fmt: skip
        self.conv_block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.conv_block(x)
        return out


class _Downsample(nn.Module):
    """Blurs by [1 2 1] and takes every second pixel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.filt = nn.Buffer(torch.zeros(channels, 1, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        padded = F.pad(x, (1, 1, 1, 1), mode="reflect")
        return F.conv2d(padded, self.filt, stride=2, groups=x.shape[1])


class _Upsample(nn.Module):
    """Doubles and blurs by [1 3 3 1]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.filt = nn.Buffer(torch.zeros(channels, 1, 4, 4))

    def forward(self, x: Tensor) -> Tensor:
        padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
        y = F.conv_transpose2d(padded, self.filt, stride=2, padding=2, groups=x.shape[1])
        return y[:, :, 1:-1, 1:-1]


def _norm_of(weights: Weights, name: str) -> type[nn.Module]:
    """Batch norm where it has weights, else instance norm without any."""
    return nn.BatchNorm2d if f"{name}.weight" in weights else nn.InstanceNorm2d


def _resnet(weights: Weights) -> nn.Module:
    """`ResnetGenerator` of either project: its `model` in order, read off the numbers in use."""
    numbers = {int(m[1]) for name in weights if (m := re.match(r"model\.(\d+)\.", name))}
    blocks = sorted({int(m[1]) for name in weights
                     if (m := re.match(r"model\.(\d+)\.conv_block\.", name))})  # fmt: skip
    norm = _norm_of(weights, "model.2")
    width = int(weights["model.1.weight"].shape[0])
    inner = f"model.{blocks[0]}.conv_block"
    kernels = [k for k in (5, 6) if getattr(weights.get(f"{inner}.{k}.weight"), "ndim", 0) == 4]
    second = kernels[0] if kernels else 5
    is_smooth = any(name.endswith(".filt") for name in weights)
    layers: list[nn.Module] = [
        nn.ReflectionPad2d(3),
        nn.Conv2d(3, width, 7),
        norm(width),
        nn.ReLU(),
    ]
    for a in (width, 2 * width):
        layers += [nn.Conv2d(a, 2 * a, 3, 1 if is_smooth else 2, 1), norm(2 * a), nn.ReLU()]
        if is_smooth:
            layers.append(_Downsample(2 * a))
    layers += [_Block(4 * width, second, norm) for _ in blocks]
    for a in (4 * width, 2 * width):
        if is_smooth:
            layers += [_Upsample(a), nn.Conv2d(a, a // 2, 3, 1, 1)]
        else:
            layers.append(nn.ConvTranspose2d(a, a // 2, 3, 2, 1, output_padding=1))
        layers += [norm(a // 2), nn.ReLU()]
    layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Tanh()]
    if max(numbers) != len(layers) - 2:
        raise ModelError(
            f"A ResNet generator of {len(blocks)} blocks ends with model.{len(layers) - 2}, but "
            f"the file with model.{max(numbers)}; two downsamplings are expected."
        )
    return _with_bias_of(_Named(nn.Sequential(*layers)), weights)


class _Named(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.model(x)
        return out


class _Skip(nn.Module):
    """One level of the U-Net around the next: their leaky ReLU works in place, so the skip carries
    what it leaves."""

    def __init__(self, layers: Sequence[nn.Module], *, is_outermost: bool) -> None:
        super().__init__()
        self.model, self.is_outermost = nn.Sequential(*layers), is_outermost

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor
        if self.is_outermost:
            out = self.model(x)
            return out
        x = F.leaky_relu(x, 0.2)
        out = torch.cat([x, self.model(x)], 1)
        return out


def _unet(weights: Weights) -> nn.Module:
    """`UnetGenerator`: levels from the outermost in."""
    prefixes = ["model."]
    while f"{prefixes[-1]}model.{'1' if len(prefixes) == 1 else '3'}.model.1.weight" in weights:
        prefixes.append(f"{prefixes[-1]}model.{'1' if len(prefixes) == 1 else '3'}.")

    def level(i: int) -> nn.Module:
        prefix = prefixes[i]
        is_last = i == len(prefixes) - 1
        down, up = (0, 3) if i == 0 else (1, 3) if is_last else (1, 5)
        first, last = weights[f"{prefix}model.{down}.weight"], weights[f"{prefix}model.{up}.weight"]
        down_conv = nn.Conv2d(first.shape[1], first.shape[0], 4, 2, 1)
        up_conv = nn.ConvTranspose2d(last.shape[0], last.shape[1], 4, 2, 1)
        norm = _norm_of(weights, f"{prefixes[1]}model.2")
        if i == 0:
            layers = [down_conv, level(1), nn.ReLU(), up_conv, nn.Tanh()]
        elif is_last:
            # the leaky ReLU in front of each is in `_Skip`
            layers = [nn.Identity(), down_conv, nn.ReLU(), up_conv, norm(last.shape[1])]
        else:
            layers = [nn.Identity(), down_conv, norm(first.shape[0]), level(i + 1), nn.ReLU(),
                      up_conv, norm(last.shape[1])]  # fmt: skip
        return _Skip(layers, is_outermost=i == 0)

    return _with_bias_of(_Named(level(0)), weights)


def _with_bias_of(net: nn.Module, weights: Weights) -> nn.Module:
    """Take the bias from convolutions that have none in the file, as before a batch norm."""
    for name, module in net.named_modules():
        is_convolution = isinstance(module, (nn.Conv2d, nn.ConvTranspose2d))
        if is_convolution and f"{name}.bias" not in weights:
            module.bias = None
    return net
