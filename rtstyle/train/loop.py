"""Training of one style: the loop, its settings and its checkpoints.

Method: Johnson et al. 2016 with instance norm; Adam with warm-up, cosine decay and gradient
clipping; the shipped weights are an exponential moving average.
"""

from __future__ import annotations

import copy
import csv
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from rtstyle.errors import ModelError, TrainingError, UsageError
from rtstyle.nets import build_net
from rtstyle.train.data import Photos, random_crops
from rtstyle.train.losses import content_loss, grams, style_loss, tv_loss
from rtstyle.train.perceptual import CONTENT_LAYER, PerceptualNet
from rtstyle.train.stability import random_disturbance, stability_loss

TERMS = ("style", "content", "tv", "stability")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a training ends in, beside the material.

    Sizes are pixels, `updates` counts optimiser steps. The last `finish` updates run on crops of
    `finish_crop`, so that strokes settle at the size that videos have.
    """

    architecture: str = "fast"
    options: dict[str, Any] = field(default_factory=dict)
    updates: int = 8000
    batch: int = 4
    crop: int = 160
    finish: int = 500
    finish_crop: int = 256
    style_size: int = 384
    lr: float = 1e-3
    lr_end: float = 1e-5
    warm_up: int = 200
    style_weight: float = 1.3
    content_weight: float = 1.0
    tv_weight: float = 0.0
    stability_weight: float = 6.0
    stability_from: float = 0.3  # share of the updates made before the stability term joins
    clip: float = 1.0
    ema: float = 0.999
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("crop", "finish_crop"):
            if (size := getattr(self, name)) % 32 or size <= 0:
                raise UsageError(f"The {name} must be a multiple of 32 pixels, not {size}.")

    def crop_at(self, step: int) -> int:
        return self.finish_crop if step >= self.updates - self.finish else self.crop

    def lr_at(self, step: int) -> float:
        if step < self.warm_up:
            return self.lr * (step + 1) / self.warm_up
        t = (step - self.warm_up) / max(1, self.updates - self.warm_up)
        return self.lr_end + (self.lr - self.lr_end) * 0.5 * (1 + math.cos(math.pi * min(t, 1.0)))


def to_float(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    """(N, H, W, 3) uint8 → (N, 3, H, W) float in [0, 1], channels last in memory."""
    x = torch.from_numpy(np.ascontiguousarray(images)).to(device)
    return x.permute(0, 3, 1, 2).float().div(255)


def _has_fast_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # no public name yet
    return bool(supported and supported())


def _channels_last(module: nn.Module) -> None:
    """Lay the convolutions' weights out as pictures come: convolutions run faster that way."""
    for weight in module.parameters():
        if weight.dim() == 4:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)


class Trainer:
    """One training, advanced by `step` and made durable by `save`.

    Not safe to share between threads. `init` starts from the weights of another net of the same
    shape instead of random ones.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        photos: Photos,
        painting: NDArray[np.uint8],
        loss_net: PerceptualNet,
        device: str = "cpu",
        init: nn.Module | None = None,
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.photos = recipe, photos
        self.device = torch.device(device)
        self.loss_net = loss_net.to(self.device)
        self.half = _has_fast_bf16(self.device)
        net = build_net(recipe.architecture, **recipe.options)
        if init is not None:
            try:
                net.load_state_dict(init.state_dict())
            except RuntimeError:
                raise TrainingError(
                    "The model to start from has another shape than the recipe asks for: "
                    f"{recipe.architecture} with {recipe.options or 'its defaults'} is expected."
                ) from None
        self.net = net.to(self.device)
        self.ema = copy.deepcopy(self.net).requires_grad_(False).eval()
        for module in (self.loss_net, self.net, self.ema):
            _channels_last(module)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=recipe.lr)
        self.rng = np.random.default_rng(recipe.seed)
        self.done = 0  # updates made so far
        with torch.no_grad():
            self.style = grams(self._features(to_float(painting[None], self.device)))

    def step(self) -> dict[str, float]:
        """One update; returns the value of each loss term, unweighted.

        Raises `TrainingError` when a term is no number; the weights then stay the last good ones.
        """
        r = self.recipe
        crops = random_crops(self.photos, size=r.crop_at(self.done), batch=r.batch, rng=self.rng)
        photo = to_float(crops, self.device)
        with torch.no_grad():
            target = self._features(photo)[CONTENT_LAYER]
        painted = self._paint(photo)
        features = self._features(painted)
        terms = {
            "style": style_loss(features, self.style).mean(),
            "content": content_loss(features[CONTENT_LAYER], target).mean(),
            "tv": tv_loss(painted).mean(),
            "stability": self._stability(photo, painted),
        }
        total = (
            r.style_weight * terms["style"]
            + r.content_weight * terms["content"]
            + r.tv_weight * terms["tv"]
            + r.stability_weight * terms["stability"]
        )
        values = {name: float(value.detach()) for name, value in terms.items()}
        for name, value in values.items():
            if not math.isfinite(value):
                raise TrainingError(
                    f"The {name} loss is {value} at update {self.done + 1}; training stopped with "
                    "the last good checkpoint kept. Try a lower --lr or another --seed."
                )
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.net.parameters(), r.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = r.lr_at(self.done)
        self.optimizer.step()
        self._average()
        self.done += 1
        return values

    def _average(self) -> None:
        # early on the average follows closely, or it would remember the random start
        decay = min(self.recipe.ema, (1 + self.done) / (10 + self.done))
        with torch.no_grad():
            for kept, new in zip(self.ema.parameters(), self.net.parameters(), strict=True):
                kept.lerp_(new, 1 - decay)

    # Convolutions run in bf16 where that is fast; norm statistics, Gram matrices and losses,
    # which are sums over many values, stay in float32.

    def _paint(self, photo: Tensor) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            painted: Tensor = self.net(photo)
        return painted.float()

    def _features(self, image: Tensor) -> dict[str, Tensor]:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            features: dict[str, Tensor] = self.loss_net(image)
        return features

    def _stability(self, photo: Tensor, painted: Tensor) -> Tensor:
        r = self.recipe
        if not r.stability_weight or self.done < r.stability_from * r.updates:
            return torch.zeros((), device=self.device)
        generator = torch.Generator().manual_seed(int(self.rng.integers(2**63)))
        disturbance = random_disturbance(photo, generator)
        painted_next = self._paint(disturbance.photo(photo))
        return stability_loss(painted, painted_next, disturbance).mean()

    def save(self, path: Path) -> None:
        """Write the whole state to `path` at once or not at all (safetensors)."""
        tensors = {f"net.{k}": v for k, v in self.net.state_dict().items()}
        for i, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"adam.{i}.{k}": torch.as_tensor(v) for k, v in moments.items()}
        write_checkpoint(
            path, self.ema, self.recipe,
            tensors=tensors, done=self.done, rng=self.rng.bit_generator.state,
        )  # fmt: skip

    def resume(self, path: Path) -> None:
        """Take up the state that `save` wrote; later losses are those of an uninterrupted run.

        Raises `TrainingError` when the checkpoint belongs to another recipe.
        """
        meta, tensors = read_checkpoint(path)
        if meta["recipe"] != asdict(self.recipe):
            changed = [k for k, v in asdict(self.recipe).items() if meta["recipe"].get(k) != v]
            raise TrainingError(
                f"{path} was made with other settings ({', '.join(changed)}); "
                "repeat those, or start afresh with --restart."
            )

        def part(prefix: str) -> dict[str, Tensor]:
            return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

        self.net.load_state_dict(part("net."))
        self.ema.load_state_dict(part("ema."))
        state = self.optimizer.state_dict()
        for key, value in part("adam.").items():
            i, _, name = key.partition(".")
            state["state"].setdefault(int(i), {})[name] = value
        self.optimizer.load_state_dict(state)
        self.rng.bit_generator.state = meta["rng"]
        self.done = meta["done"]


def write_checkpoint(
    path: Path,
    net: nn.Module,
    recipe: Recipe,
    *,
    tensors: Mapping[str, Tensor] | None = None,
    done: int = 0,
    rng: Mapping[str, Any] | None = None,
) -> None:
    """Write a net that can paint, and the state to go on training from, at once or not at all.

    Raises `TrainingError` when the disk does not take it; an earlier file of that name stays.
    """
    everything = dict(tensors or {}) | {f"ema.{k}": v for k, v in net.state_dict().items()}
    meta = {"recipe": asdict(recipe), "done": done, "rng": dict(rng or {})}
    part = path.with_name(path.name + ".part")
    try:
        save_file(
            {k: v.detach().cpu().contiguous().clone() for k, v in everything.items()},
            part, metadata={"rtstyle": json.dumps(meta)},
        )  # fmt: skip
        part.replace(path)
    except (OSError, SafetensorError) as error:
        part.unlink(missing_ok=True)
        raise TrainingError(
            f"The checkpoint {path} cannot be written ({error}); an earlier one is untouched."
        ) from error


def read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The metadata and tensors of a checkpoint. Raises `ModelError` when it is none."""
    try:
        with safe_open(path, framework="pt") as f:
            meta = json.loads((f.metadata() or {})["rtstyle"])
            return meta, {name: f.get_tensor(name) for name in f.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ModelError(f"{path} is no rtstyle checkpoint that can be read ({error}).") from error


def load_checkpoint_net(path: Path) -> tuple[nn.Module, Recipe]:
    """The averaged net of a checkpoint, ready to paint, with the recipe it was trained by."""
    meta, tensors = read_checkpoint(path)
    recipe = Recipe(**meta["recipe"])
    net = build_net(recipe.architecture, **recipe.options)
    net.load_state_dict(
        {k.removeprefix("ema."): v for k, v in tensors.items() if k.startswith("ema.")}
    )
    return net.eval(), recipe


def train(
    trainer: Trainer,
    *,
    folder: Path,
    save_every: int = 250,
    on_step: Callable[[int, dict[str, float]], None] = lambda done, losses: None,
    on_save: Callable[[Trainer], None] = lambda trainer: None,
) -> None:
    """Run `trainer` to its end, keeping `checkpoint.safetensors` and `losses.csv` in `folder`.

    `on_step` gets the number of updates done and their losses; `on_save` follows every checkpoint.
    Ctrl-C saves before it is passed on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / "checkpoint.safetensors"
    log_path = folder / "losses.csv"
    rows = _rows_before(log_path, trainer.done)
    start = time.monotonic() - (float(rows[-1]["seconds"]) if rows else 0.0)
    with log_path.open("w", newline="", encoding="utf-8") as file:
        log = csv.DictWriter(file, ["update", *TERMS, "lr", "seconds"])
        log.writeheader()
        log.writerows(rows)
        try:
            while trainer.done < trainer.recipe.updates:
                lr = trainer.recipe.lr_at(trainer.done)
                losses = trainer.step()
                seconds = time.monotonic() - start
                log.writerow(
                    {"update": trainer.done, "lr": f"{lr:.3g}", "seconds": f"{seconds:.1f}"}
                    | {name: f"{losses[name]:.5g}" for name in TERMS}
                )
                on_step(trainer.done, losses)
                if trainer.done % save_every == 0 or trainer.done == trainer.recipe.updates:
                    file.flush()
                    trainer.save(checkpoint)
                    on_save(trainer)
        except KeyboardInterrupt:
            trainer.save(checkpoint)
            raise


def _rows_before(path: Path, done: int) -> list[dict[str, str]]:
    """Rows of an earlier log up to update `done`: a resumed run leaves no gap or overlap."""
    if not done or not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["update"] and int(row["update"]) <= done]
