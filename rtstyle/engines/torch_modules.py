"""What torch runs: the GPU, the net of a file, and its form for a GPU.

A small net on a large GPU is bound by memory: torch reads and writes every activation about six
times for a norm that `norm_relu` does in two reads and one write.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from rtstyle.engines.cuda.memory import HINT, OutOfDeviceMemoryError
from rtstyle.errors import EngineError, ModelError
from rtstyle.model.spec import ModelSpec
from rtstyle.nets.checkpoint import load_checkpoint_net
from rtstyle.nets.fast import Fast
from rtstyle.nets.johnson import Johnson
from rtstyle.nets.layers import ConvNorm, InstanceNorm

HAS_TRITON = find_spec("triton") is not None
_PIXELS = 256  # of a block


def find_device(number: int | str) -> torch.device:
    """The GPU of this number, or "cpu". Raises `EngineError` where torch does not see it."""
    if number == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise EngineError(
            "torch sees no CUDA GPU: a driver and a build of torch for CUDA are needed."
        )
    if not 0 <= int(number) < torch.cuda.device_count():
        raise EngineError(
            f"There is no GPU {number}; torch sees {torch.cuda.device_count()}, counted from 0."
        )
    return torch.device("cuda", int(number))


def device_name(device: torch.device) -> str:
    """The device for people: "NVIDIA H200 (cuda:0)"."""
    if device.type == "cpu":
        return "CPU"
    return f"{torch.cuda.get_device_name(device)} ({device})"


def device_error(doing: str, error: BaseException) -> EngineError:
    """An error of torch's as one sentence that begins with what was being done."""
    lines = str(error).strip().splitlines()
    sentence = f"{doing}: {lines[0] if lines else 'out of memory'}"
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return OutOfDeviceMemoryError(f"{sentence}; {HINT}.")
    return EngineError(sentence)


def checkpoint_net(model: ModelSpec) -> tuple[nn.Module, ModelSpec]:
    """The net of a checkpoint (.safetensors), and `model` with the net's stride.

    Raises `EngineError` for another kind of file, `ModelError` for a bad one.
    """
    if model.path.suffix != ".safetensors":
        raise EngineError(
            f"The torch engine runs checkpoints (.safetensors), not {model.path.name}."
        )
    try:
        net, _ = load_checkpoint_net(model.path)
    except (RuntimeError, TypeError) as error:
        raise ModelError(
            f"{model.path} was trained by another version: its weights or settings do not fit "
            f"the net {model.architecture} of this one."
        ) from error
    return net, replace(model, stride=int(net.stride))  # type: ignore[arg-type]


def any_net(model: ModelSpec) -> tuple[nn.Module, ModelSpec]:
    """As `checkpoint_net`, and of a model file (.onnx) that rtstyle wrote, which needs `onnx`."""
    if model.path.suffix != ".onnx":
        return checkpoint_net(model)
    try:
        from rtstyle.nets.onnx_weights import load_onnx_net
    except ImportError as error:
        raise EngineError(
            f"torch reads {model.path.name} only where onnx is installed ({error}); "
            "`pip install onnx`, or name a checkpoint (.safetensors)."
        ) from error
    try:
        return load_onnx_net(model.path)[0], model
    except (ModelError, TypeError, ValueError, LookupError) as error:
        raise EngineError(f"torch cannot read the net of {model.path.name}: {error}") from error


def half_net(net: nn.Module) -> nn.Module:
    """A copy of `net` for a GPU: float16 in channels-last order, each norm fused with its ReLU.

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
        self.grain = bool(getattr(net, "grain", True))

    def forward(self, x: Tensor, *style: Tensor) -> Tensor:
        if self.centred:
            x = x - x.mean((2, 3), keepdim=True)
        x = x.half().contiguous(memory_format=torch.channels_last)
        out: Tensor = self.net(x, *style).float()
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


def norm_relu(x: Tensor, scale: Tensor, shift: Tensor, *, eps: float, relu: bool = True) -> Tensor:
    """(N, C, H, W), (N, C) or (C,) scale and shift in float32 → the same as `x`, channels last.

    Instance norm, scale, shift and ReLU in two passes over memory: by Triton for channels-last
    tensors on a GPU, else by torch. Statistics are float32: each block of pixels gives its mean and
    its sum of squared distances, which are then merged (Chan et al. 1979), so no large sums are
    subtracted from each other.
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
        x,
        y,
        factor.contiguous(),
        offset.contiguous(),
        pixels,
        c,
        PADDED=padded,
        PIXELS=_PIXELS,
        RELU=relu,
    )
    return y


_made: list[Any] = []


def _kernels() -> tuple[Any, Any]:
    """Compiled on first use: importing Triton takes a while and it need not be there."""
    if not _made:
        from rtstyle.engines.torch_kernels import apply, block_statistics

        _made.extend((block_statistics, apply))
    return _made[0], _made[1]
