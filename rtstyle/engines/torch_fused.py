"""`Johnson` and `Fast` for a GPU, where the bytes that a layer moves decide its speed.

Each convolution finds its input padded, in half precision and channels last, and writes what the
norm reads once for its statistics and once to normalize; that pass applies the ReLU, adds the
residual and pads for the next convolution; `torch_ends` has what differs at Johnson's ends. A
convolution after an enlargement runs before it (see
`nets.fold_upsampling`). Norms need no bias before them, and half precision none of a picture's mean
colour, which the first norm would take away.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rtstyle.engines import torch_ends as ends
from rtstyle.engines import torch_ops as ops
from rtstyle.nets.adain import FastAdaIN
from rtstyle.nets.fast import Fast
from rtstyle.nets.fold_upsampling import BILINEAR, NEAREST, Enlargement, fold
from rtstyle.nets.johnson import Johnson
from rtstyle.nets.layers import Conv, ConvNorm, InstanceNorm


@dataclass(frozen=True, slots=True)
class Padding:
    """What a layer's result is padded by, for the convolution that reads it."""

    pixels: int = 1
    reflect: bool = True


EDGE = Padding(reflect=False)  # what a folded convolution reads


class _Convolution(nn.Module):
    """A convolution of a padded picture, without its bias."""

    def __init__(self, conv: Conv, enlargement: Enlargement | None = None) -> None:
        super().__init__()
        weight, self.stride = conv.weight.detach().float(), conv.stride
        self.parts = 1 if enlargement is None else 4
        self.border = int(enlargement is not None and enlargement.window == 2)
        if enlargement is not None:
            unused = torch.zeros(len(weight)).numpy()
            folded = torch.from_numpy(fold(weight.cpu().numpy(), unused, enlargement)[0])
            # each of the four pixels' channels side by side
            weight = folded.view(-1, 4, *folded.shape[1:]).transpose(0, 1).flatten(0, 1)
        weight = weight.half().contiguous(memory_format=torch.channels_last)
        self.weight = nn.Buffer(weight)

    def forward(self, x: Tensor) -> Tensor:
        # channels last as its weights are, by cuDNN; the kernels look at it once more
        return F.conv2d(x, self.weight, None, self.stride)


class FusedConvNorm(nn.Module):
    """A convolution of a padded picture and its norm; see the module."""

    def __init__(
        self, layer: ConvNorm, padding: Padding, enlargement: Enlargement | None = None
    ) -> None:
        super().__init__()
        assert isinstance(layer.norm, InstanceNorm)
        self.conv, self.padding = _Convolution(layer.conv, enlargement), padding
        self.eps, self.relu = layer.norm.eps, layer.relu
        is_narrow = layer.conv.kernel_size[0] <= ends.WIDEST and layer.conv.stride[0] == 1
        self.is_first = layer.conv.in_channels == 3 and is_narrow

    def forward(self, x: Tensor, norm: Tensor, skip: Tensor | None = None, pad: int = 0) -> Tensor:
        """The padded picture, the norm's (2, N, C) scale and shift, and what is added, which is
        padded by `pad`."""
        y, affine = self.convolved(x, norm)
        result: Tensor = ops.normalize(
            y, affine, skip, self.conv.parts, self.conv.border, self.relu, self.padding.pixels,
            self.padding.reflect, pad,
        )  # fmt: skip
        return result

    def convolved(self, x: Tensor, norm: Tensor) -> tuple[Tensor, Tensor]:
        """What the convolution gives, and the (2, N, C) scale and shift that normalize it."""
        parts, border = self.conv.parts, self.conv.border
        if self.is_first:
            y, partial = ends.first_convolution(x, self.conv.weight)
        else:
            y = self.conv(x)
            partial = ops.block_statistics(y, parts, border)
        pixels = (y.shape[2] - border) * (y.shape[3] - border)
        return y, ops.merge_statistics(partial, norm[0], norm[1], pixels, parts, self.eps)


class FusedNet(nn.Module):
    """`Johnson` or `Fast`, from uint8 to uint8 pictures.

    (N, H, W, 3) uint8, (N, S) float32 if there are styles, and the (H, W) grain → as the picture.
    """

    def __init__(self, net: Johnson | Fast) -> None:
        super().__init__()
        self.fast = isinstance(net, Fast)
        layers: list[ConvNorm] = []
        made: list[FusedConvNorm] = []

        def add(
            layer: nn.Module, padding: Padding, enlargement: Enlargement | None = None
        ) -> FusedConvNorm:
            assert isinstance(layer, ConvNorm)
            layers.append(layer)
            made.append(FusedConvNorm(layer, padding, enlargement))
            return made[-1]

        def residuals(blocks: Iterable[nn.Module], last: Padding) -> None:
            remaining = list(blocks)
            for i, block in enumerate(remaining):
                add(block.first, Padding())  # type: ignore[arg-type]
                add(block.second, last if i == len(remaining) - 1 else Padding())  # type: ignore[arg-type]

        if isinstance(net, Fast):
            self.block, self.first_pad = 4, 1
            add(net.stem, Padding())
            add(net.down, Padding() if len(net.body) else Padding(0))
            residuals(net.body, Padding(0))
            self.before_merge = len(made)
            add(net.merge, Padding())
            residuals([net.refine], EDGE)
            add(net.up, EDGE, BILINEAR)
            self.out = _Convolution(net.out, BILINEAR)
        else:
            self.block, self.first_pad = 1, 4
            first, second, third = net.encoder
            add(first, Padding())
            add(second, Padding())
            add(third, Padding() if len(net.body) else EDGE)
            residuals(net.body, EDGE)
            add(net.up1, EDGE, NEAREST)
            add(net.up2, Padding(0), NEAREST)  # the last convolution normalizes and pads it
            assert made[-1].relu
            self.out = _Convolution(net.out)
            assert made[0].is_first
            assert net.out.kernel_size[0] <= ends.WIDEST
        assert net.out.bias is not None
        self.bias = nn.Buffer(net.out.bias.detach().float())
        self.layers = nn.ModuleList(made)
        # Scale and shift of all norms side by side, (2, S or 1, all channels): a style mixes them
        # in one product.
        self.channels = [layer.conv.out_channels for layer in layers]
        rows = [
            torch.cat(
                [getattr(layer.norm, name).view(-1, layer.conv.out_channels) for layer in layers], 1
            )
            for name in ("weight", "bias")
        ]
        self.norms = nn.Buffer(torch.stack(rows).detach().float())

    def forward(self, frame: Tensor, style: Tensor | None = None, *, grain: Tensor) -> Tensor:
        n = len(frame)
        mixed = self.norms.expand(2, n, -1) if style is None else style.float() @ self.norms
        norms = iter(zip(self.layers, torch.split(mixed, self.channels, 2), strict=True))

        def run(x: Tensor, skip: Tensor | None = None) -> Tensor:
            layer, norm = next(norms)
            result: Tensor = layer(x, norm, skip, 0 if skip is None else 1)
            return result

        mean = frame.mean((1, 2), dtype=torch.float32)
        x = ends.enter(frame, grain, mean, self.block, self.first_pad)
        if self.fast:
            fine = run(x)
            x = run(fine)
            for _ in range((self.before_merge - 2) // 2):
                x = run(run(x), x)
            x = run(ops.join(fine, x, 1, 1))
            x = run(run(run(x), x))
        else:
            x = run(run(run(x)))
            for _ in range((len(self.layers) - 5) // 2):
                x = run(run(x), x)
            x = run(x)
            layer, norm = next(norms)
            assert isinstance(layer, FusedConvNorm)
            x, affine = layer.convolved(x, norm)
            painted: Tensor = ends.last_convolution(
                x, affine, self.out.weight, self.bias, layer.conv.parts, layer.conv.border
            )
            return painted
        result: Tensor = ends.leave(self.out(x), self.bias, self.out.parts, self.out.border)
        return result


class FusedAdaIN(nn.Module):
    """`FastAdaIN` with its painting part fused; the encoder's convolutions are half precision."""

    def __init__(self, net: FastAdaIN) -> None:
        super().__init__()
        self.net = net
        assert isinstance(net.stylizer, Fast)
        self.fused = FusedNet(net.stylizer)

    def forward(
        self, frame: Tensor, style: Tensor, strength: Tensor | None = None, *, grain: Tensor
    ) -> Tensor:
        if strength is not None:
            x = (frame.float().permute(0, 3, 1, 2) + grain) * (1 / 255)
            own = self.net.encode(x.half().contiguous(memory_format=torch.channels_last))
            style = own + (style - own) * strength[:, None]
        result: Tensor = self.fused(frame, self.net.style_code(style), grain=grain)
        return result


def can_fuse(net: nn.Module) -> bool:
    """Whether the net is made of what is fused here: instance norms after convolutions."""
    if isinstance(net, FastAdaIN):
        return True
    if not isinstance(net, (Johnson, Fast)):
        return False
    return not any(isinstance(module, nn.BatchNorm2d) for module in net.modules())


def fused(net: nn.Module) -> nn.Module:
    """The fused form of a net that `can_fuse`."""
    if isinstance(net, FastAdaIN):
        return FusedAdaIN(net)
    assert isinstance(net, (Johnson, Fast))
    return FusedNet(net)
