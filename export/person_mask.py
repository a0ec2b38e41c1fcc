"""Trains the masks of people and faces: a small net, taught by MediaPipe's selfie segmentation.

    python -m export.person_mask --data DIR --work DIR -o person.onnx

The teacher labels samples once (`person_samples`); the student sees them mirrored, dimmed, noisy
and blurred, at half size first. A stopped training goes on from its checkpoint in --work.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx.helper
import onnx.numpy_helper
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import swa_utils

from export.person_samples import Drawing, Samples, Teacher, read_material
from rtstyle.files import atomic_write
from rtstyle.masks import HEIGHT, WIDTH
from rtstyle.train.to_onnx import drop_notes, quiet_export
from rtstyle.variants.feeds import Feed
from rtstyle.variants.int8 import convolutions, quantise

LICENCE = "MIT"
PROVENANCE = (
    "rtstyle's own weights, trained on openly licensed photographs and clips that NOTICE names; "
    "their labels are masks by MediaPipe's selfie segmentation (Apache-2.0), and boxes of faces"
)
_FEW = 64  # numbers in a tensor that halving saves nothing of
_CALIBRATED = 48  # pictures
_HALF_SIZE = 96, 160  # less than half of the cost


@dataclass(frozen=True, slots=True)
class Recipe:
    """A training ends after `updates` or `minutes`, whichever comes first. `at_half_size` is the
    share of it at half size."""

    minutes: float = 210.0
    updates: int = 29_000
    batch: int = 16
    samples: int = 10_000
    rate: float = 4e-3
    warm_up: int = 200
    at_half_size: float = 0.88
    seed: int = 0


def _conv(inputs: int, outputs: int, stride: int = 1, size: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class _Block(nn.Module):
    """Residual block (He et al. 2016)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _conv(width, width)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = F.relu(x + self.norm(self.second(self.first(x))))
        return out


class PersonNet(nn.Module):
    """(N, 3, H, W) float RGB in [0, 1] → logits of person and face (N, 2, H, W); H and W are
    multiples of 16.

    A U-Net (Ronneberger et al. 2015) from a quarter of the size on, where a CPU is fast; the last
    features hold 4×4 pixels each (sub-pixel convolution, Shi et al. 2016).
    """

    def __init__(self, widths: tuple[int, int, int] = (32, 48, 80)) -> None:
        super().__init__()
        at4, at8, at16 = widths
        self.down4 = _conv(3, at4, 4, 7)
        self.down8 = nn.Sequential(_conv(at4, at8, 2), _Block(at8))
        self.down16 = nn.Sequential(_conv(at8, at16, 2), _Block(at16), _Block(at16))
        self.context = nn.Conv2d(at16, at16, 1)
        self.to8, self.to4 = nn.Conv2d(at16, at8, 1), nn.Conv2d(at8, at4, 1)
        self.up8, self.up4 = _conv(at8, at8), _conv(at4, at4)
        self.out = nn.Conv2d(at4, 32, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        at4 = self.down4(x - 0.5)
        at8 = self.down8(at4)
        deep = self.down16(at8)
        deep = deep * torch.sigmoid(self.context(deep.mean((2, 3), keepdim=True)))
        x = self.up8(at8 + _up(self.to8(deep)))
        x = self.up4(at4 + _up(self.to4(x)))
        return F.pixel_shuffle(self.out(x), 4)


def _up(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


class _Model(nn.Module):
    """As it is shipped: `frame` uint8 (1, 144, 256, 3) → `masks` float32 (1, 2, 144, 256)."""

    def __init__(self, net: PersonNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, frame: Tensor) -> Tensor:
        x = frame.permute(0, 3, 1, 2).float() / 255
        return torch.sigmoid(self.net(x))


def _loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross entropy to the soft mask, more of it along its edge, and soft IoU; of each sample."""
    edge = F.max_pool2d(target, 7, 1, 3) + F.max_pool2d(-target, 7, 1, 3)  # 0 to 1
    each = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    found = torch.sigmoid(logits)
    both = (found * target).sum((1, 2, 3))
    either = (found + target - found * target).sum((1, 2, 3))
    return (each * (1 + 2 * edge)).mean((1, 2, 3)) + 0.3 * (1 - (both + 20) / (either + 20))


class Training:
    """A student on its way: the net, the mean of its weights, updates and seconds so far."""

    def __init__(self, samples: Samples, recipe: Recipe, net: PersonNet | None = None) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self._samples = recipe, samples
        net = net or PersonNet()
        self.net: Any = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average: Any = swa_utils.AveragedModel(
            self.net,
            multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.998),  # type: ignore[no-untyped-call]
            use_buffers=True,
        )
        self._optimizer = torch.optim.AdamW(
            self.net.parameters(), lr=recipe.rate, weight_decay=1e-3
        )
        self.step, self.seconds, self.loss = 0, 0.0, 0.0

    @property
    def share(self) -> float:
        """How much of it is done."""
        return max(self.step / self.recipe.updates, self.seconds / (60 * self.recipe.minutes))

    def update(self) -> None:
        """One update, at a rate that rises once and falls along a cosine."""
        began = time.monotonic()
        share = min(1.0, self.share)
        rise, fall = (
            min(1, (self.step + 1) / self.recipe.warm_up),
            0.5 + 0.5 * math.cos(math.pi * share),
        )
        for group in self._optimizer.param_groups:
            group["lr"] = self.recipe.rate * rise * fall
        random = np.random.default_rng((self.recipe.seed, self.step))
        pictures, masks, has_faces = self._samples.batch(random, self.recipe.batch)
        x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
        y = torch.from_numpy(masks).float() / 255
        if share < self.recipe.at_half_size:
            x, y = (F.interpolate(z, _HALF_SIZE, mode="area") for z in (x, y))
        logits = self.net(x.contiguous(memory_format=torch.channels_last))
        of_faces = _loss(logits[:, 1:], y[:, 1:]) * torch.from_numpy(has_faces)
        loss = _loss(logits[:, :1], y[:, :1]).mean() + 0.5 * of_faces.mean()
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.net.parameters(), 5.0)
        self._optimizer.step()
        self.average.update_parameters(self.net)
        self.step += 1
        self.loss = float(loss.detach())
        self.seconds += time.monotonic() - began

    @property
    def result(self) -> PersonNet:
        """The mean of the weights."""
        module: PersonNet = self.average.module
        return module.eval()

    def save(self, path: Path) -> None:
        """Write all that `load` goes on from."""
        state = {
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        torch.save(state, part := path.with_suffix(".part"))
        os.replace(part, path)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint."""
        state = torch.load(path, weights_only=True)
        self.net.load_state_dict(state["net"])
        self.average.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state["seconds"]


def samples_of(data: Path, work: Path, recipe: Recipe) -> Samples:
    """Those that `work` keeps, or new ones, labelled by the teacher in `data`."""
    try:
        samples = Samples.load(work)
    except FileNotFoundError:
        teacher = Teacher(data / "selfie_segmentation.onnx")
        samples = Samples.draw(Drawing(read_material(data), teacher, recipe.seed), recipe.samples)
        samples.save(work)
    print(f"{len(samples.pictures)} samples", flush=True)
    return samples


def train(samples: Samples, work: Path, recipe: Recipe) -> PersonNet:
    """Train to the end, with a checkpoint every minute; returns the mean of the weights."""
    training = Training(samples, recipe)
    checkpoint = work / "checkpoint.pt"
    if checkpoint.is_file():
        training.load(checkpoint)
    mean, saved = 0.0, time.monotonic()
    while training.share < 1:
        training.update()
        mean = training.loss if mean == 0 else mean + 0.02 * (training.loss - mean)
        if training.step % 50 == 0:
            print(f"{training.step} updates, {training.seconds:.0f} s, loss {mean:.4f}", flush=True)
        if time.monotonic() - saved > 60:
            training.save(checkpoint)
            saved = time.monotonic()
    training.save(checkpoint)
    return training.result


def write(net: PersonNet, output: Path, pictures: NDArray[np.uint8]) -> None:
    """Export the net as an ONNX file that stores its weights in half precision and computes in
    float32, which browsers take, and beside it, in int8/, one with its convolutions in 8 bits.

    The ranges of their activations are from some of the pictures, (N, 144, 256, 3).
    """
    frame = torch.zeros((1, HEIGHT, WIDTH, 3), dtype=torch.uint8)
    with quiet_export():
        program = torch.onnx.export(
            _Model(net).eval(), (frame,), input_names=["frame"], output_names=["masks"],
            dynamo=True, verbose=False,
        )  # fmt: skip
    assert program is not None
    model = program.model_proto
    drop_notes(model)
    onnx.helper.set_model_props(model, {"licence": LICENCE, "provenance": PROVENANCE})
    chosen = np.linspace(0, len(pictures) - 1, _CALIBRATED).astype(int)
    feeds: list[Feed] = [{"frame": pictures[i : i + 1]} for i in chosen]
    in_8_bits = quantise(model, feeds, convolutions(model.graph))
    _store_half(model)
    for path, written in ((output, model), (output.parent / "int8" / output.name, in_8_bits)):
        with atomic_write(path, parents=True) as part:
            onnx.save(written, part)


def _store_half(model: onnx.ModelProto) -> None:
    """Runtimes turn the weights to float32 when they load the model."""
    casts = []
    for weights in model.graph.initializer:
        if weights.data_type == onnx.TensorProto.FLOAT and math.prod(weights.dims) > _FEW:
            half = onnx.numpy_helper.to_array(weights).astype(np.float16)
            name = weights.name
            weights.CopyFrom(onnx.numpy_helper.from_array(half, f"{name}.half"))
            casts.append(onnx.helper.make_node("Cast", [f"{name}.half"], [name], to=1))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def main() -> None:
    """The command line."""
    usual = Recipe()
    parser = argparse.ArgumentParser(prog="python -m export.person_mask", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with SOURCES.csv")
    parser.add_argument("--work", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--minutes", type=float, default=usual.minutes)
    parser.add_argument("--updates", type=int, default=usual.updates)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, default=Path("person.onnx"))
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    recipe = Recipe(minutes=given.minutes, updates=given.updates)
    samples = samples_of(given.data, given.work, recipe)
    write(train(samples, given.work, recipe), given.output, samples.pictures)


if __name__ == "__main__":
    main()
