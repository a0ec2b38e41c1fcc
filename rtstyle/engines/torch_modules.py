"""What torch runs: the GPU, the net of a file, and its form for a GPU."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import Tensor, nn

from rtstyle.engines import torch_ops as ops
from rtstyle.engines.cuda.memory import HINT, OutOfDeviceMemoryError
from rtstyle.engines.torch_fused import can_fuse, fused
from rtstyle.errors import EngineError, ModelError
from rtstyle.model.spec import ModelSpec
from rtstyle.nets.checkpoint import load_checkpoint_net
from rtstyle.nets.contract import Contract
from rtstyle.nets.layers import ConvNorm, InstanceNorm


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


def device_net(net: nn.Module) -> nn.Module:
    """A copy of `net` for a GPU, in half precision and from uint8 to uint8 pictures: fused where it
    `can_fuse`, else with each norm fused with its ReLU.

    (N, H, W, 3) uint8, style and strength where the net takes them, and the grain as the keyword
    `grain` → (N, H, W, 3) uint8.
    """
    net = copy.deepcopy(net).eval().requires_grad_(False)
    if can_fuse(net):
        _halve(net)
        return fused(net)
    net = half_net(net)
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, ConvNorm) and isinstance(child.norm, InstanceNorm):
                setattr(parent, name, _ConvNorm(child))
    return Contract(net).eval()


def half_net(net: nn.Module) -> nn.Module:
    """A copy of `net` whose convolutions are float16 in channels-last order; norms and what comes
    of the style stay float32. It takes and gives float pictures, by torch's own operations."""
    net = copy.deepcopy(net).eval().requires_grad_(False)
    _halve(net)
    return _Half(net)


def _halve(net: nn.Module) -> None:
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.half()
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


class _Half(nn.Module):
    """Turns float pictures into half ones, and the net's half ones back."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.grain = bool(getattr(net, "grain", True))

    def forward(self, x: Tensor, *style: Tensor) -> Tensor:
        x = x.half().contiguous(memory_format=torch.channels_last)
        out: Tensor = self.net(x, *style).float()
        return out


class _ConvNorm(nn.Module):
    """A convolution and its norm in nets that are not fused as a whole: pictures are not padded."""

    def __init__(self, layer: ConvNorm) -> None:
        super().__init__()
        assert isinstance(layer.norm, InstanceNorm)
        self.conv, self.norm, self.relu = layer.conv, layer.norm, layer.relu
        self.conv.bias = None  # the norm takes it away

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        scale: Tensor = self.norm.weight.float()
        shift: Tensor = self.norm.bias.float()
        if style is not None:
            scale, shift = style.float() @ scale, style.float() @ shift
        y = self.conv(x).contiguous(memory_format=torch.channels_last)
        n, c, height, width = y.shape
        affine = ops.merge_statistics(
            ops.block_statistics(y, 1, 0), scale.expand(n, c), shift.expand(n, c), height * width,
            1, self.norm.eps,
        )  # fmt: skip
        result: Tensor = ops.normalize(y, affine, None, 1, 0, self.relu, 0, True, 0)
        return result
