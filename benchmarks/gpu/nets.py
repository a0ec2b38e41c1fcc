"""The nets that are measured: with random weights, on which speed does not depend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rtstyle.errors import RtstyleError
from rtstyle.model.file import read_model
from rtstyle.model.spec import ModelSpec

NETS: dict[str, tuple[str, dict[str, Any]]] = {
    "johnson-32": ("johnson", {"width": 32}),
    "fast-cin": ("fast", {"styles": 8}),
    "adain": ("adain", {}),
}
QUICK_NETS: dict[str, tuple[str, dict[str, Any]]] = {
    "johnson-32": ("johnson", {"width": 4, "blocks": 1}),
    "fast-cin": ("fast", {"width": 8, "deep": 8, "blocks": 1, "tail": 8, "styles": 2}),
    "adain": ("adain", {"channels": (4, 4, 4, 4)}),
}


def cost(model: ModelSpec, height: int, width: int) -> tuple[float, float]:
    """GFLOP of a frame's convolutions, and the GB that half-precision activations move at the
    least: each convolution and each norm reads and writes its own once."""
    import torch
    from torch import nn

    from rtstyle.nets.checkpoint import load_checkpoint_net

    net, _ = load_checkpoint_net(model.path)
    side = 8 * int(net.stride)  # type: ignore[arg-type]
    total = {"flop": 0.0, "values": 0.0}

    def count(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        total["values"] += inputs[0].numel() + output.numel()
        if isinstance(module, nn.Conv2d):
            kernel = module.weight[0].numel()
            total["flop"] += 2.0 * kernel * output.numel()

    for module in net.modules():
        is_norm = type(module).__name__.endswith("Norm") and not list(module.children())
        if isinstance(module, nn.Conv2d) or is_norm:
            module.register_forward_hook(count)
    inputs = [torch.rand(1, 3, side, side)]
    if model.style_size:
        inputs.append(torch.full((1, model.style_size), 1 / model.style_size))
    with torch.inference_mode():
        net(*inputs)
    scale = height * width / side**2
    return total["flop"] * scale / 1e9, total["values"] * 2 * scale / 1e9


def make_models(
    folder: Path,
    name: str,
    architecture: str,
    options: dict[str, Any],
    skip: Callable[[str], None],
    *,
    quick: bool,
) -> dict[str, ModelSpec]:
    """A checkpoint with random weights, and where onnx is installed an fp16 model file: speed does
    not depend on the weights."""
    import torch

    from rtstyle.nets import build_net
    from rtstyle.nets.checkpoint import write_checkpoint
    from rtstyle.train.recipe import Recipe

    torch.manual_seed(0)
    net = build_net(architecture, **options).eval()
    path = folder / f"{name}.safetensors"
    styles = [f"style {i}" for i in range(options.get("styles", 0))]
    recipe = Recipe(architecture=architecture, options=options)
    write_checkpoint(path, net, asdict(recipe), names=styles)
    models = {".safetensors": read_model(path)}
    if quick:
        skip(f"{name}: engines that need a model file, as --quick exports none")
        return models
    try:
        models[".onnx"] = _export(net, folder / f"{name}.onnx", models[".safetensors"])
    except (ImportError, RuntimeError, RtstyleError) as error:
        skip(f"{name}: no model file ({str(error).splitlines()[0]})")
    return models


def _export(net: Any, path: Path, spec: ModelSpec) -> ModelSpec:
    import onnx

    from rtstyle.engines.half import to_half
    from rtstyle.train.to_onnx import to_onnx

    onnx.save_model(to_half(to_onnx(net, replace(spec, path=path))), path)
    return read_model(path)
