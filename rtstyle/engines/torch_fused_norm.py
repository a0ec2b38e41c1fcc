"""Instance norm, scale, shift and ReLU in two passes over memory: Triton, or torch without it.

A small net on a large card is bound by memory: torch reads and writes every activation about six
times for what this does in two reads and one write. Statistics are float32: each block of pixels
gives its mean and its sum of squared distances, which are then merged (Chan et al. 1979), so no
large sums are subtracted from each other.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

HAS_TRITON = find_spec("triton") is not None
_PIXELS = 256  # of a block


def norm_relu(x: Tensor, scale: Tensor, shift: Tensor, *, eps: float, relu: bool = True) -> Tensor:
    """(N, C, H, W), (N, C) or (C,) scale and shift in float32 → the same as `x`, channels last.

    By Triton for channels-last tensors on a card, else by torch.
    """
    n, c = x.shape[:2]
    scale, shift = (t.float().expand(n, c).contiguous() for t in (scale, shift))
    fits = x.is_cuda and c <= 1024 and x.is_contiguous(memory_format=torch.channels_last)
    if HAS_TRITON and fits:
        return run_kernels(x, scale, shift, eps, relu)
    return norm_relu_reference(x, scale, shift, eps=eps, relu=relu)


def norm_relu_reference(
    x: Tensor, scale: Tensor, shift: Tensor, *, eps: float, relu: bool = True
) -> Tensor:
    """The same by torch, in as many passes as that takes."""
    mean, var = x.float().mean((2, 3)), x.float().var((2, 3), correction=0)
    factor = scale * (var + eps).rsqrt()
    y = x.float() * factor[..., None, None] + (shift - mean * factor)[..., None, None]
    return (y.relu() if relu else y).to(x.dtype).contiguous(memory_format=torch.channels_last)


def merge(means: Tensor, squares: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance (N, C) from those of blocks: means and sums of squared distances
    (N, B, C), pixels of each block (B,)."""
    weight = (counts / counts.sum())[None, :, None]
    mean = (means * weight).sum(1)
    between = ((means - mean[:, None]) ** 2 * weight).sum(1)
    return mean, squares.sum(1) / counts.sum() + between


def run_kernels(x: Tensor, scale: Tensor, shift: Tensor, eps: float, relu: bool) -> Tensor:
    """Both passes; `x` is channels last, `scale` and `shift` (N, C) float32."""
    block_statistics, apply = _kernels()
    n, c, height, width = x.shape
    pixels = height * width
    blocks = -(-pixels // _PIXELS)
    padded = 1 << (c - 1).bit_length()
    means = torch.empty((n, blocks, c), device=x.device)
    squares = torch.empty_like(means)
    block_statistics[(blocks, n)](
        x, means, squares, pixels, blocks, c, PADDED=padded, PIXELS=_PIXELS
    )
    counts = torch.full((blocks,), float(_PIXELS), device=x.device)
    counts[-1] = pixels - (blocks - 1) * _PIXELS
    mean, var = merge(means, squares, counts)
    factor = scale * (var + eps).rsqrt()
    offset = shift - mean * factor
    y = torch.empty_like(x)
    apply[(blocks, n)](
        x, y, factor.contiguous(), offset.contiguous(), pixels, c, PADDED=padded, PIXELS=_PIXELS,
        RELU=relu,
    )  # fmt: skip
    return y


_made: list[Any] = []


def _kernels() -> tuple[Any, Any]:
    """Compiled on first use: importing Triton takes a while and it need not be there."""
    if not _made:
        from rtstyle.engines.torch_norm_kernels import apply, block_statistics

        _made.extend((block_statistics, apply))
    return _made[0], _made[1]
