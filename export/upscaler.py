"""Trains the net that `--upscale 2` enlarges paintings with.

    python -m export upscaler --content DIR --loss-net FILE -o rtstyle/zoo/upscale/double.onnx

Photographs are painted by the gallery in random styles, a quarter of them left as they are, halved
by averaging, and the net is to give back what they were: by L1 and by the features of a perceptual
network (Johnson et al. 2016, §4.2). Shi et al. 2016 give the shape: all work is done at the small
size, the last features hold 2×2 pixels each.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import torch
import typer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import swa_utils

from rtstyle.files import atomic_write
from rtstyle.model.zoo import shipped_folder
from rtstyle.nets.onnx_weights import load_onnx_net
from rtstyle.train.data import Photos, load_content, random_crops, to_float
from rtstyle.train.optimizer import Optimizer
from rtstyle.train.perceptual import PerceptualNet, load_perceptual_net
from rtstyle.train.to_onnx import drop_notes, quiet_export
from rtstyle.train.ways.pairs import features_l1

FACTS = {
    "licence": "MIT",
    "provenance": "rtstyle's own weights, trained on what the gallery painted of openly licensed "
    "photographs that NOTICE names",
}
_LAYERS = {"relu1_1": 1.0, "relu2_1": 1.0, "relu3_1": 1.0}
_CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Sizes are pixels; `as_is` is the share of pictures that are not painted."""

    updates: int = 2500
    batch: int = 4
    crop: int = 160
    rate: float = 1e-3
    l1_weight: float = 10.0
    features_weight: float = 1.0
    as_is: float = 0.25
    seed: int = 0


_USUAL = Recipe()


class Upscaler(nn.Module):
    """(N, 3, H, W) float RGB in [0, 1] → (N, 3, 2H, 2W): what bilinear enlargement lacks is added.

    All is computed at the small size, also the bilinear enlargement, which is a convolution to the
    four pixels of each place. The border is made wider once, as padding each layer anew would cost
    a tenth of the time. 0.6 kMAC a pixel of the result.
    """

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        sizes = (3, width, width, width, 12)
        layers = [nn.Conv2d(*pair, 3) for pair in pairwise(sizes)]
        nn.init.zeros_(layers[-1].weight)  # begins as bilinear enlargement
        assert layers[-1].bias is not None
        nn.init.zeros_(layers[-1].bias)
        self.body = nn.Sequential(
            *(m for layer in layers[:-1] for m in (layer, nn.ReLU())), layers[-1]
        )
        self.reach = len(layers)  # pixels
        self.bilinear = nn.Buffer(_bilinear(), persistent=False)

    def pixels(self, x: Tensor) -> Tensor:
        """(N, 12, H, W): of each place its four pixels, as `pixel_shuffle` takes them."""
        x = F.pad(x, [self.reach] * 4, mode="replicate")
        inner = slice(self.reach - 1, 1 - self.reach)
        smooth = F.conv2d(x[..., inner, inner], self.bilinear)
        return torch.as_tensor(self.body(x - 0.5) + smooth)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.pixels(x), 2)


def _bilinear() -> Tensor:
    """Enlargement to twice the size as a convolution, (12, 3, 3, 3)."""
    line = torch.tensor([[0.25, 0.75, 0.0], [0.0, 0.75, 0.25]])  # of the first pixel, the second
    kernels = torch.zeros(3, 2, 2, 3, 3, 3)
    for channel in range(3):
        kernels[channel, :, :, channel] = line[:, None, :, None] * line[None, :, None, :]
    return kernels.reshape(12, 3, 3, 3)


class _Model(nn.Module):
    """As it is shipped: uint8 (1, H, W, 3) → uint8 (1, 2H, 2W, 3)."""

    def __init__(self, net: Upscaler) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> Tensor:
        pixels = self.net.pixels(image.permute(0, 3, 1, 2).float() / 255)
        levels = (pixels * 255 + 0.5).clamp(0, 255).to(torch.uint8)
        # The bytes of `pixel_shuffle`, channels last, in one go.
        height, width = image.shape[1:3]
        levels = levels.reshape(1, 3, 2, 2, height, width).permute(0, 4, 2, 5, 3, 1)
        return levels.reshape(1, 2 * height, 2 * width, 3)


def examples(photos: Photos, painter: nn.Module, recipe: Recipe) -> Iterator[Tensor]:
    """Batches of pictures (N, 3, S, S), painted or not, without end."""
    rng, styles = np.random.default_rng(recipe.seed), int(getattr(painter, "style_size", 0))
    while True:
        crops = random_crops(photos, size=recipe.crop, batch=recipe.batch, rng=rng)
        batch = to_float(crops.pixels, _CPU)
        painted = rng.random(recipe.batch) >= recipe.as_is
        if painted.any():
            style = torch.eye(styles)[rng.integers(styles, size=painted.sum())] if styles else None
            with torch.no_grad():
                batch[painted] = painter(batch[painted], style).clamp(0, 1)
        yield batch


def train(
    photos: Photos, painter: nn.Module, loss_net: PerceptualNet, recipe: Recipe
) -> Iterator[tuple[Upscaler, dict[str, float]]]:
    """After every update the mean of the weights so far, and the losses."""
    torch.manual_seed(recipe.seed)
    net: Any = Upscaler().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    decay = swa_utils.get_ema_multi_avg_fn(0.998)  # type: ignore[no-untyped-call]
    average: Any = swa_utils.AveragedModel(net, multi_avg_fn=decay)
    optimizer, drawn = Optimizer(net), examples(photos, painter, recipe)
    for step in range(recipe.updates):
        wanted = next(drawn)
        made = net(F.avg_pool2d(wanted, 2))
        with torch.no_grad():
            target = loss_net(wanted, _LAYERS)
        losses = {
            "l1": (made - wanted).abs().mean(),
            "features": features_l1(loss_net(made, _LAYERS), target, _LAYERS).mean(),
        }
        net.zero_grad()
        (recipe.l1_weight * losses["l1"] + recipe.features_weight * losses["features"]).backward()
        optimizer.step(recipe.rate * (0.5 + 0.5 * math.cos(math.pi * step / recipe.updates)))
        average.update_parameters(net)
        yield average.module, {name: float(loss.detach()) for name, loss in losses.items()}


def write(net: Upscaler, output: Path) -> None:
    """Export the net as an ONNX file for pictures of any size."""
    image = torch.zeros((1, 48, 64, 3), dtype=torch.uint8)
    sides = {1: torch.export.Dim("height", min=2), 2: torch.export.Dim("width", min=2)}
    with quiet_export():
        program = torch.onnx.export(
            _Model(net).eval(), (image,), input_names=["image"], output_names=["enlarged"],
            dynamic_shapes=(sides,), dynamo=True, verbose=False,
        )  # fmt: skip
    assert program is not None
    model = program.model_proto
    drop_notes(model)
    onnx.helper.set_model_props(model, FACTS)
    with atomic_write(output, parents=True) as part:
        onnx.save(model, part)


def command(
    content: Annotated[Path, typer.Option(help="folder of photographs")],
    loss_net: Annotated[Path, typer.Option(metavar="FILE", help="perceptual network")],
    updates: int = _USUAL.updates,
    threads: int = 1,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE")] = Path("double.onnx"),
) -> None:
    """Train the net that enlarges paintings."""
    torch.set_num_threads(threads)
    painter, _ = load_onnx_net(shipped_folder() / "gallery.onnx")
    photos, perceptual = load_content([content]), load_perceptual_net(loss_net)
    recipe, began, mean = Recipe(updates=updates), time.monotonic(), dict[str, float]()
    for step, (net, losses) in enumerate(train(photos, painter.eval(), perceptual, recipe), 1):
        mean = {k: v if step == 1 else mean[k] + 0.02 * (v - mean[k]) for k, v in losses.items()}
        if step % 50 == 0 or step == recipe.updates:
            told = " ".join(f"{name} {value:.4f}" for name, value in mean.items())
            print(f"{step} updates, {time.monotonic() - began:.0f} s, {told}", flush=True)
            write(net, output)
