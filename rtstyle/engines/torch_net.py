"""The net that a torch engine runs, out of a checkpoint or a model file of rtstyle's own."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from rtstyle.errors import EngineError, ModelError
from rtstyle.model.spec import ModelSpec
from rtstyle.nets.checkpoint import load_checkpoint_net


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
