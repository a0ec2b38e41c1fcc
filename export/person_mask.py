"""Trains the masks of people and faces: a small net, taught by MediaPipe's selfie segmentation.

    python -m export person-mask --data DIR --work DIR -o person.onnx

The teacher labels samples once (`person_samples`). The student learns what the teacher makes of
them stage by stage (hints, Romero et al. 2015), at first each stage from what the teacher's stage
before made: so it becomes the same function with fewer pictures of people than masks alone would
need. Half of them it sees dim, noisy and blurred, which the teacher saw clear. All are at half size
first. A stopped training goes on from its checkpoint in --work.
"""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx.helper
import onnx.numpy_helper
import torch
import typer
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import swa_utils

from export.person_net import Features, PersonNet, read_teacher
from export.person_samples import Drawing, Samples, Teacher, read_material
from rtstyle.files import atomic_write
from rtstyle.masks import HEIGHT, WIDTH
from rtstyle.train.to_onnx import drop_notes, quiet_export

LICENCE = "MIT"
PROVENANCE = (
    "rtstyle's own weights, trained on openly licensed photographs and clips that NOTICE names; "
    "their labels are masks by MediaPipe's selfie segmentation (Apache-2.0), and boxes of faces"
)
TEACHER = "selfie_segmentation.onnx"
_FEW = 64  # numbers in a tensor that halving saves nothing of
_HALF_SIZE = 96, 160  # less than half of the cost


@dataclass(frozen=True, slots=True)
class Recipe:
    """A training ends after `updates` or `minutes`, whichever comes first. `forced` is the share of
    it in which each stage is given what the teacher made, `at_half_size` that at half size."""

    minutes: float = 92.0
    updates: int = 13_000
    batch: int = 16
    samples: int = 10_000
    rate: float = 4e-3
    warm_up: int = 200
    forced: float = 0.3
    at_half_size: float = 0.75
    hint_weight: float = 1.0
    seed: int = 0


_USUAL = Recipe()


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


def _hint_loss(made: Tensor, wanted: Tensor) -> Tensor:
    """The squared error as a share of the variance, channel by channel."""
    variance = wanted.var((0, 2, 3), keepdim=True) + 1e-3
    return ((made - wanted) ** 2 / variance).mean()


class Training:
    """A student on its way: the net, the mean of its weights, updates and seconds so far."""

    def __init__(
        self, samples: Samples, teacher: PersonNet, recipe: Recipe, net: PersonNet | None = None
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self._samples, self._teacher = recipe, samples, _nhwc(teacher).eval()
        self.net = _nhwc(net or PersonNet())
        self.average: Any = swa_utils.AveragedModel(
            self.net,
            multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.998),  # type: ignore[no-untyped-call]
            use_buffers=True,
        )
        self._optimizer = torch.optim.AdamW(
            self.net.parameters(), lr=recipe.rate, weight_decay=1e-3
        )
        self.step, self.seconds, self.loss, self.hint = 0, 0.0, 0.0, 0.0

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
        batch = self._samples.batch(random, self.recipe.batch)
        y = torch.from_numpy(batch.masks).float() / 255
        x, clear = _pictures(batch.seen), _pictures(batch.clear)
        if share < self.recipe.at_half_size:
            x, clear, y = (F.interpolate(z, _HALF_SIZE, mode="area") for z in (x, clear, y))
        taught = Features()
        with torch.no_grad():
            self._teacher(clear, taught)
        found = Features(taught.made if share < self.recipe.forced else None)
        logits = self.net(x, found)
        alike = slice(len(x) // 2, None)  # what is lost in noise, no stage can give back
        pairs = zip(found.made, taught.made, strict=True)
        hint = torch.stack(
            [_hint_loss(made[alike], wanted[alike]) for made, wanted in pairs]
        ).mean()
        of_faces = _loss(logits[:, 1:], y[:, 1:]) * torch.from_numpy(batch.has_faces)
        loss = _loss(logits[:, :1], y[:, :1]).mean() + 0.5 * of_faces.mean()
        self._optimizer.zero_grad()
        (loss + self.recipe.hint_weight * hint).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.net.parameters(), 5.0)
        self._optimizer.step()
        self.average.update_parameters(self.net)
        self.step += 1
        self.loss, self.hint = float(loss.detach()), float(hint.detach())
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


def _nhwc(net: PersonNet) -> PersonNet:
    """In the layout that convolutions on a CPU are fastest in."""
    moved: PersonNet = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return moved


def _pictures(pictures: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255


def samples_of(data: Path, work: Path, recipe: Recipe) -> Samples:
    """Those that `work` keeps, or new ones, labelled by the teacher in `data`."""
    try:
        samples = Samples.load(work)
    except FileNotFoundError:
        teacher = Teacher(data / TEACHER)
        samples = Samples.draw(Drawing(read_material(data), teacher, recipe.seed), recipe.samples)
        samples.save(work)
    print(f"{len(samples.pictures)} samples", flush=True)
    return samples


def train(samples: Samples, teacher: PersonNet, work: Path, recipe: Recipe) -> PersonNet:
    """Train to the end, with a checkpoint every minute; returns the mean of the weights."""
    training = Training(samples, teacher, recipe)
    checkpoint = work / "checkpoint.pt"
    if checkpoint.is_file():
        training.load(checkpoint)
    means, saved = np.zeros(2), time.monotonic()
    while training.share < 1:
        training.update()
        last = np.array([training.loss, training.hint])
        means = last if not means.any() else means + 0.02 * (last - means)
        if training.step % 50 == 0:
            print(
                f"{training.step} updates, {training.seconds:.0f} s, "
                "loss {:.4f}, hints {:.4f}".format(*means),
                flush=True,
            )
        if time.monotonic() - saved > 60:
            training.save(checkpoint)
            saved = time.monotonic()
    training.save(checkpoint)
    return training.result


def write(net: PersonNet, output: Path) -> None:
    """Export the net as an ONNX file that stores its weights in half precision and computes in
    float32; 8 bits are hardly faster, as little of it is dense convolution."""
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
    _store_half(model)
    with atomic_write(output, parents=True) as part:
        onnx.save(model, part)


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


def command(
    data: Annotated[Path, typer.Option(help="folder with SOURCES.csv and the teacher")],
    work: Annotated[Path, typer.Option(help="folder of samples and checkpoint")],
    minutes: float = _USUAL.minutes,
    updates: int = _USUAL.updates,
    threads: int = 1,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE")] = Path("person.onnx"),
) -> None:
    """Train the net of the masks of people and faces, or go on."""
    torch.set_num_threads(threads)
    teacher = read_teacher(data / TEACHER)
    recipe = Recipe(minutes=minutes, updates=updates)
    write(train(samples_of(data, work, recipe), teacher, work, recipe), output)
