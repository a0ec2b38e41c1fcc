"""The net of masks, and its teacher read into the same modules, so that each part can learn from
its counterpart.

A MobileNetV3 (Howard et al. 2019) that a decoder with gated skips follows, as MediaPipe's selfie
segmentation is built. The student is wider: beside the channels that the teacher has, each stage
has some of its own, for faces.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.numpy_helper
import torch
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from rtstyle.errors import InputNotFoundError, ModelError

_STEM = 16


@dataclass(frozen=True, slots=True)
class Row:
    """An inverted residual block (Sandler et al. 2018): channels inside, channels that the teacher
    has after it, and further ones; swish instead of ReLU; with attention to channels."""

    inner: int
    outputs: int
    extra: int = 0
    size: int = 3
    stride: int = 1
    swish: bool = False
    attends: bool = False


def _wide(inner: int, outputs: int, extra: int = 0, *, stride: int = 1) -> Row:
    """A block as they are at a sixteenth of the size."""
    return Row(inner, outputs, extra, size=5, stride=stride, swish=True, attends=True)


@dataclass(frozen=True, slots=True)
class Plan:
    """The blocks of a net, the channels between encoder and decoder, and the further channels of
    the decoder's first two stages."""

    rows: tuple[Row, ...]
    joint: int = 128
    extra: int = 0


TEACHER = Plan(
    (
        Row(16, 16, stride=2, attends=True),
        Row(72, 24, stride=2),
        Row(88, 24),
        _wide(96, 32, stride=2),
        _wide(128, 32),
        _wide(128, 32),
        _wide(96, 32),
        _wide(72, 24),
    )
)
STUDENT = Plan(
    (
        Row(16, 16, stride=2, attends=True),
        Row(72, 24, 8, stride=2),
        Row(96, 24, 8),
        _wide(128, 32, 16, stride=2),
        _wide(192, 32, 16),
        _wide(192, 32, 16),
        _wide(160, 32, 16),
        _wide(128, 24, 16),
    ),
    joint=160,
    extra=8,
)


def _conv(
    inputs: int, outputs: int, size: int = 1, stride: int = 1, groups: int = 1, act: Any = None
) -> nn.Sequential:
    """With the borders of TensorFlow's `same`: at a stride of 2, one pixel more after the picture
    than before it."""
    before, after = (size - stride) // 2, (size - stride + 1) // 2
    conv = nn.Conv2d(inputs, outputs, size, stride, before, groups=groups, bias=False)
    layers: list[nn.Module] = [conv, nn.BatchNorm2d(outputs)]
    if before != after:
        conv.padding = 0, 0
        layers.insert(0, nn.ZeroPad2d((before, after, before, after)))
    return nn.Sequential(*layers, act or nn.Identity())


class _Gate(nn.Module):
    """What each channel counts, by the means of all (squeeze and excitation, Hu et al. 2018)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(inputs, outputs, 1), nn.Conv2d(outputs, outputs, 1)

    def forward(self, *features: Tensor) -> Tensor:
        means = torch.cat([x.mean((2, 3), keepdim=True) for x in features], 1)
        return torch.sigmoid(self.second(F.relu(self.first(means))))


class _Block(nn.Module):
    def __init__(self, inputs: int, row: Row) -> None:
        super().__init__()
        act, outputs = nn.Hardswish() if row.swish else nn.ReLU6(), row.outputs + row.extra
        self.expand = _conv(inputs, row.inner, act=act)
        self.filter = _conv(row.inner, row.inner, row.size, row.stride, row.inner, act)
        self.gate = _Gate(row.inner, row.inner) if row.attends else None
        self.project = _conv(row.inner, outputs)
        self.is_residual = row.stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.filter(self.expand(x))
        if self.gate is not None:
            y = y * self.gate(y)
        y = self.project(y)
        return torch.as_tensor(y + x if self.is_residual else y)


class _Context(nn.Module):
    """Lite R-ASPP (Howard et al. 2019): features weighted by what the whole picture is."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weigh = nn.Conv2d(inputs, outputs, 1)
        self.features = _conv(inputs, outputs, act=nn.ReLU6())

    def forward(self, x: Tensor) -> Tensor:
        weights = torch.sigmoid(self.weigh(x.mean((2, 3), keepdim=True)))
        return torch.as_tensor(self.features(x) * weights)


class _Up(nn.Module):
    """Twice the size, joined by what a gate lets through of the encoder's features."""

    def __init__(self, inputs: int, skipped: int, outputs: int) -> None:
        super().__init__()
        self.reduce = _conv(inputs, skipped)
        self.gate = _Gate(2 * skipped, skipped)
        self.mix = _conv(skipped, outputs)
        self.filter = _conv(outputs, outputs, 3, groups=outputs, act=nn.ReLU6())

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        # Bilinear enlargement keeps means, and may change places with a 1×1 convolution.
        x = self.reduce(x)
        gate = self.gate(skip, x)
        y = self.mix(skip * gate + _enlarged(x))
        return torch.as_tensor(y + self.filter(y))


def _enlarged(x: Tensor) -> Tensor:
    """Bilinearly to twice the size."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


@dataclass
class Features:
    """What the stages made, the channels that teacher and student share; with those of the teacher
    as `forced`, the next stage is given the teacher's (teacher forcing, Williams & Zipser 1989)."""

    forced: Sequence[Tensor] | None = None
    made: list[Tensor] = field(default_factory=list)

    def pass_on(self, x: Tensor, shared: int) -> Tensor:
        """What the next stage is given for `x`."""
        number = len(self.made)
        self.made.append(x[:, :shared])
        if self.forced is None:
            return x
        return torch.cat([self.forced[number], x[:, shared:]], 1)


class PersonNet(nn.Module):
    """(N, 3, H, W) float RGB in [0, 1] → logits of person and face (N, 2, H, W); H and W are
    multiples of 16."""

    def __init__(self, plan: Plan = STUDENT) -> None:
        super().__init__()
        self.plan, inputs = plan, _STEM
        self.stem = _conv(3, _STEM, 3, 2, act=nn.Hardswish())
        self.blocks = nn.ModuleList()
        for row in plan.rows:
            self.blocks.append(_Block(inputs, row))
            inputs = row.outputs + row.extra
        self.context = _Context(inputs, plan.joint)
        at4, at8 = (plan.rows[i].outputs + plan.rows[i].extra for i in (0, 2))
        self.up8 = _Up(plan.joint, at8, at8)
        self.up4 = _Up(at8, at4, at4 + plan.extra)
        self.up2 = _Up(at4 + plan.extra, _STEM, _STEM)
        # Four logits of person and four of face for each place, as there are pixels in it.
        self.head = nn.Conv2d(_STEM, 8, 1)
        self.coarse = nn.Conv2d(at4 + plan.extra, 8, 1, bias=False)

    def forward(self, x: Tensor, features: Features | None = None) -> Tensor:
        features = features or Features()
        at2 = x = features.pass_on(self.stem(x), _STEM)
        skips = []
        for block, row in zip(self.blocks, self.plan.rows, strict=True):
            x = features.pass_on(block(x), row.outputs)
            skips.append(x)
        x = features.pass_on(self.up8(self.context(x), skips[2]), self.plan.rows[2].outputs)
        at4 = x = features.pass_on(self.up4(x, skips[0]), self.plan.rows[0].outputs)
        x = features.pass_on(self.up2(x, at2), _STEM)
        return F.pixel_shuffle(self.head(x) + _enlarged(self.coarse(at4)), 2)


def read_teacher(path: Path) -> PersonNet:
    """MediaPipe's net as ONNX, whose logits of faces mean nothing. Raises `InputNotFoundError`, and
    `ModelError` for a model of another shape."""
    net = PersonNet(TEACHER).eval().requires_grad_(False)
    if not path.is_file():
        raise InputNotFoundError(f"There is no {path}: MediaPipe's selfie segmentation as ONNX.")
    try:
        given = list(_weights(onnx.load(path).graph))
    except DecodeError:
        raise ModelError(f"{path} is no ONNX file.") from None
    layers = [m for part in _in_order(net) for m in part.modules() if isinstance(m, nn.Conv2d)]
    if len(layers) != len(given):
        raise ModelError(f"{path} has {len(given)} layers, not {len(layers)} as MediaPipe's net.")
    norms = {
        part[-3]: part[-2]
        for part in net.modules()
        if isinstance(part, nn.Sequential) and isinstance(part[-2], nn.BatchNorm2d)
    }
    for layer, (kernel, bias) in zip(layers, given, strict=True):
        if layer is net.head:  # there a transposed convolution to the logits of either class
            kernel = np.tile((kernel[:, 1] - kernel[:, 0]).reshape(_STEM, 4).T, (2, 1))
            bias = np.repeat(bias[1] - bias[0], 8)
        layer.weight.copy_(torch.tensor(kernel.reshape(layer.weight.shape)))
        norm = norms.get(layer)
        if norm is None:
            assert layer.bias is not None
            layer.bias.copy_(torch.tensor(bias))
        else:  # its norm was folded into it
            norm.bias.copy_(torch.tensor(bias))
            norm.reset_running_stats()
            norm.eps = 0.0
    net.coarse.weight.zero_()
    return net


def _in_order(net: PersonNet) -> list[nn.Module]:
    """The parts in the order in which the teacher's file has them."""
    return [net.stem, *net.blocks, net.context, net.up8, net.up4, net.up2, net.head]


def _weights(graph: onnx.GraphProto) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Kernel and bias of each layer."""
    arrays = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    kernel = None
    for node in graph.node:
        own = [arrays[name] for name in node.input if name in arrays]
        if node.op_type == "Conv" and len(own) == 2:
            yield own[0], own[1]
        elif node.op_type == "MatMul":
            kernel = own[0].T
        elif node.op_type == "ConvTranspose":
            kernel = own[0]
        elif node.op_type == "Add" and kernel is not None:
            yield kernel, own[0]
            kernel = None
