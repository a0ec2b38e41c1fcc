"""A net as a card likes it: half precision, channels last, norms fused with their ReLU."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from rtstyle.engines.torch_fused_norm import norm_relu
from rtstyle.nets.fast import Fast
from rtstyle.nets.johnson import Johnson
from rtstyle.nets.layers import ConvNorm, InstanceNorm


def half_net(net: nn.Module) -> nn.Module:
    """A copy of `net` for a card: float16 in channels-last order, each norm fused with its ReLU.

    Norms keep their own parameters in float32. Where a norm follows the first convolution the
    picture's mean is taken off before it becomes half, which changes nothing but the rounding.
    """
    net = copy.deepcopy(net).eval().requires_grad_(False)
    centred = isinstance(net, (Johnson, Fast)) and not any(
        isinstance(module, nn.BatchNorm2d) for module in net.modules()
    )
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.half()
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, ConvNorm) and isinstance(child.norm, InstanceNorm):
                setattr(parent, name, _FusedConvNorm(child))
    return _Half(net, centred)


class _Half(nn.Module):
    """Turns float pictures into half ones, and the net's half ones back."""

    def __init__(self, net: nn.Module, centred: bool) -> None:
        super().__init__()
        self.net, self.centred = net, centred

    def forward(self, x: Tensor, *told: Tensor) -> Tensor:
        if self.centred:
            x = x - x.mean((2, 3), keepdim=True)
        x = x.half().contiguous(memory_format=torch.channels_last)
        out: Tensor = self.net(x, *told).float()
        return out


class _FusedConvNorm(nn.Module):
    def __init__(self, layer: ConvNorm) -> None:
        super().__init__()
        assert isinstance(layer.norm, InstanceNorm)
        self.conv, self.norm, self.relu = layer.conv, layer.norm, layer.relu

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        scale: Tensor = self.norm.weight
        shift: Tensor = self.norm.bias
        if style is not None:
            scale, shift = style.float() @ scale, style.float() @ shift
        y = self.conv(x).contiguous(memory_format=torch.channels_last)
        return norm_relu(y, scale, shift, eps=self.norm.eps, relu=self.relu)
