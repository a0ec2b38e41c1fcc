"""Building blocks that every feed-forward style net shares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Padding = Literal["reflect", "replicate"]


class Conv(nn.Conv2d):
    """Convolution with reflection padding, which keeps the picture's borders clean.

    After `smooth_upsample` the padding should be "replicate": then the exported model can convolve
    before it enlarges, with the same result.

    (N, C_in, H, W) float → (N, C_out, H / stride, W / stride) float.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel: int = 3,
        *,
        stride: int = 1,
        padding: Padding = "reflect",
    ) -> None:
        super().__init__(
            c_in, c_out, kernel, stride=stride, padding=kernel // 2, padding_mode=padding
        )
        self.sides = (kernel // 2,) * 4

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(self._padded(x), self.weight, self.bias, self.stride)

    def _padded(self, x: Tensor) -> Tensor:
        if not any(self.sides):
            return x
        device = x.device.type
        if not torch.is_autocast_enabled(device):
            return F.pad(x, self.sides, mode=self.padding_mode)
        # Autocast would have a CPU pad in float32, and convert to and fro.
        with torch.autocast(device, enabled=False):
            x = x.to(torch.get_autocast_dtype(device))
            return F.pad(x, self.sides, mode=self.padding_mode)


class InstanceNorm(nn.Module):
    """Instance normalisation, the same in training and at test (Ulyanov et al. 2016/17, §2).

    With `styles` S, every style has a scale and a shift of its own and the style vector mixes
    them: conditional instance normalisation (Dumoulin et al. 2017, §2.2). Statistics are taken in
    float32 whatever the input's precision. `eps` is larger than usual because a frame with little
    variance would otherwise be amplified into blobs.
    """

    def __init__(self, channels: int, *, styles: int = 0, eps: float = 1e-3) -> None:
        super().__init__()
        shape = (styles, channels) if styles else (channels,)
        self.weight = nn.Parameter(torch.ones(shape))
        self.bias = nn.Parameter(torch.zeros(shape))
        self.styles, self.eps = styles, eps

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        """(N, C, H, W), and (N, S) if there are styles → (N, C, H, W)."""
        scale, shift = self.weight.float(), self.bias.float()
        if style is not None:
            scale, shift = style.float() @ scale, style.float() @ shift
        norm = trainable_instance_norm if self.training else exportable_instance_norm
        return norm(x, scale, shift, eps=self.eps)


def exportable_instance_norm(
    x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None, *, eps: float
) -> Tensor:
    """Instance norm by torch's own operation, which exported models have as one too.

    (N, C, H, W), and (C,) or (N, C) float32 scales and shifts → (N, C, H, W) of x's type.
    """
    if scale is None or shift is None or scale.dim() == 1:
        return F.instance_norm(x.float(), weight=scale, bias=shift, eps=eps).to(x.dtype)
    normed = F.instance_norm(x.float(), eps=eps)
    return (normed * scale[..., None, None] + shift[..., None, None]).to(x.dtype)


def trainable_instance_norm(
    x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None, *, eps: float
) -> Tensor:
    """The same for training on a CPU, by the batch norm of each picture.

    torch's own returns other than channels last, so every convolution after it converts its input,
    and again backwards. Nor may it get a gradient that is channels last: torch 2.13 takes it wrong
    on a CPU when there is one picture. A GPU, where neither was measured, keeps torch's own.
    """
    if x.device.type != "cpu":
        return exportable_instance_norm(x, scale, shift, eps=eps)
    x = x.contiguous(memory_format=torch.channels_last)

    def each(values: Tensor | None) -> Sequence[Tensor | None]:
        return [None] * len(x) if values is None else values.expand(len(x), -1).unbind()

    normed = [
        F.batch_norm(picture, None, None, weight, bias, training=True, eps=eps)
        for picture, weight, bias in zip(torch.split(x, 1), each(scale), each(shift), strict=True)
    ]
    return normed[0] if len(x) == 1 else torch.cat(normed)


class LayerNorm(nn.Module):
    """Layer normalisation of a whole picture: one mean and deviation over channels and places (Ba
    et al. 2016, §3). What distinguishes one channel's mean from another's passes, unlike through an
    instance norm. (N, C, H, W) → the same; statistics are float32.
    """

    def __init__(self, channels: int, *, eps: float = 1e-3) -> None:
        super().__init__()
        # shaped as they are used, so that an exported model holds them as they are
        self.weight = nn.Parameter(torch.ones(channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))
        self.eps = eps

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        normed = F.group_norm(x.float(), 1, eps=self.eps)
        return (normed * self.weight.float() + self.bias.float()).to(x.dtype)


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation (Ioffe & Szegedy 2015), as Johnson et al. had it: for comparison."""

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        return super().forward(x.float()).to(x.dtype)


MakeNorm = Callable[[int], nn.Module]  # number of channels → a norm that takes (x, style)


class ConvNorm(nn.Module):
    """Convolution, norm and, unless asked not to, ReLU."""

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel: int = 3,
        *,
        stride: int = 1,
        relu: bool = True,
        norm: MakeNorm = InstanceNorm,
        padding: Padding = "reflect",
    ) -> None:
        super().__init__()
        self.conv = Conv(c_in, c_out, kernel, stride=stride, padding=padding)
        self.norm = norm(c_out)
        self.relu = relu

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        x = self.norm(self.conv(x), style)
        return F.relu(x) if self.relu else x


class Residual(nn.Module):
    """Residual block without a ReLU after the sum (Johnson et al. 2016, supplementary §1)."""

    def __init__(self, channels: int, *, norm: MakeNorm = InstanceNorm) -> None:
        super().__init__()
        self.first = ConvNorm(channels, channels, norm=norm)
        self.second = ConvNorm(channels, channels, relu=False, norm=norm)

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:  # (N, C, H, W) → the same
        out: Tensor = x + self.second(self.first(x, style), style)
        return out


class Chain(nn.Sequential):
    """Modules one after the other that all see the style vector, if there is one."""

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        for module in self:
            x = module(x, style)
        return x


def channels_last(module: nn.Module) -> None:
    """Lay the convolutions' weights out as pictures come: convolutions run faster that way."""
    for weight in module.parameters():
        if weight.dim() == 4:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)


def upsample(x: Tensor) -> Tensor:
    """Double the height and width by nearest neighbour: no checkerboard, unlike a transposed
    convolution (Odena et al. 2016; Dumoulin et al. 2017)."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def smooth_upsample(x: Tensor) -> Tensor:
    """Double the height and width by bilinear interpolation. A convolution after a nearest one can
    still give each pixel of a 2×2 block a pattern of its own; after this it cannot."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
