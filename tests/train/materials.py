"""Material that the training tests make themselves: photographs, a painting, a tiny loss net."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import save_file

from rtstyle.train.recipe import Recipe

TINY = Recipe(
    architecture="johnson", options={"width": 4, "blocks": 1}, updates=12, batch=2, crop=32,
    finish=2, finish_crop=64, warm_up=2, style_size=64, lr=1e-2,
    stability_weight=1.0, stability_from=0.5,
)  # fmt: skip
CHANNELS = (4, 4, 8, 8, 8)
CONVS = (2, 2, 4, 4, 1)


def make_photos(folder: Path, count: int = 3, *, side: int = 96) -> Path:
    """Smooth random pictures, which photographs are to a net."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(7)
    for i in range(count):
        coarse = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        picture = cv2.resize(coarse, (side + 16 * i, side), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"photo{i}.png"), picture)
    return folder


def make_painting(path: Path, *, side: int = 96, step: int = 6) -> Path:
    stripes = np.zeros((side, side, 3), np.uint8)
    stripes[:, ::step] = (20, 200, 240)
    stripes[::9] = (200, 40, 30)
    cv2.imwrite(str(path), stripes)
    return path


def make_loss_net(path: Path) -> Path:
    """Random weights with the names of the compressed VGG-19, far fewer channels."""
    generator = torch.Generator().manual_seed(3)

    def conv(c_in: int, c_out: int, kernel: int) -> tuple[torch.Tensor, torch.Tensor]:
        fan_in = c_in * kernel * kernel
        weight = torch.randn(c_out, c_in, kernel, kernel, generator=generator)
        return weight * (2 / fan_in) ** 0.5, torch.full((c_out,), 0.1)

    weights = {}
    layers = [("conv0", 3, 3, 1)]
    c_in = 3
    for k, (channels, count) in enumerate(zip(CHANNELS, CONVS, strict=True), start=1):
        for i in range(1, count + 1):
            layers.append((f"conv{k}{i}", c_in, channels, 3))
            c_in = channels
        layers.append((f"conv{k}1_aux", channels, 4 * channels, 1))
    for name, inputs, outputs, kernel in layers:
        weights[f"{name}.weight"], weights[f"{name}.bias"] = conv(inputs, outputs, kernel)
    save_file(weights, path)
    return path


def make_vgg16(path: Path) -> Path:
    """Random weights with the names of torchvision's VGG-16, far fewer channels."""
    generator, weights, index, c_in = torch.Generator().manual_seed(0), {}, 0, 3
    for count, channels in zip((2, 2, 3, 3, 3), CHANNELS, strict=True):
        for _ in range(count):
            weight = torch.randn(channels, c_in, 3, 3, generator=generator) / (3 * c_in**0.5)
            weights[f"features.{index}.weight"] = weight.half()
            weights[f"features.{index}.bias"] = torch.full((channels,), 0.1).half()
            index, c_in = index + 2, channels
        index += 1
    save_file(weights, path)
    return path


def make_alexnet(path: Path) -> Path:
    """Random weights with the names of torchvision's AlexNet and the heads of LPIPS."""
    kernels = {0: (3, 4, 11), 3: (4, 6, 5), 6: (6, 8, 3), 8: (8, 6, 3), 10: (6, 6, 3)}
    generator, weights = torch.Generator().manual_seed(0), {}
    for k, (n, (c_in, c_out, side)) in enumerate(kernels.items()):
        weights[f"features.{n}.weight"] = torch.randn(c_out, c_in, side, side, generator=generator)
        weights[f"features.{n}.bias"] = torch.rand(c_out, generator=generator)
        weights[f"lin{k}.weight"] = torch.rand(1, c_out, 1, 1, generator=generator)
    save_file({name: value.half() for name, value in weights.items()}, path)
    return path
