"""From a painting and a folder of photographs to a model file: what `rtstyle train` runs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from rtstyle.errors import TrainingError, UsageError
from rtstyle.frame import Image
from rtstyle.media.picture import read_picture, write_picture
from rtstyle.model import ModelSpec
from rtstyle.train.data import Photos, load_photos, resize_short_side
from rtstyle.train.loop import Recipe, Trainer, load_checkpoint_net, train
from rtstyle.train.onnx_export import Card, write_model
from rtstyle.train.perceptual import load_perceptual_net
from rtstyle.train.preview import contact_sheet, square, stylize

N_PREVIEW = 6
MIN_PAINTING = 64  # pixels; anything smaller has no strokes to learn

_log = logging.getLogger("rtstyle")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One style to train. Paths: the painting, the model to write, the folder of photographs, the
    perceptual network's weights, the folder that keeps checkpoint, loss log and preview, and the
    checkpoint to start from, if any. `threads` of the CPU, all by default."""

    painting: Path
    output: Path
    content: Path
    loss_net: Path
    folder: Path
    name: str
    description: str = ""
    licence: str = ""
    init: Path | None = None
    device: str = "auto"
    threads: int | None = None


def run_job(
    job: Job,
    recipe: Recipe,
    *,
    restart: bool = False,
    on_start: Callable[[Trainer], None] = lambda trainer: None,
    on_step: Callable[[int, dict[str, float]], None] = lambda done, losses: None,
) -> ModelSpec:
    """Train, keeping a checkpoint and a preview in `job.folder`, and export the model file.

    A checkpoint in the folder is taken up unless `restart`. `on_start` gets the trainer when all
    material is loaded, `on_step` the number of updates done and their losses.

    Raises `TrainingError`, `MediaError`, `InputNotFoundError` or `OutputError`, each in a sentence.
    """
    if job.output.suffix != ".onnx":
        raise UsageError(f"The model's file must end in .onnx, not {job.output.name!r}.")
    if job.threads:
        torch.set_num_threads(job.threads)
    painting, _ = read_picture(job.painting)
    if min(painting.shape[:2]) < MIN_PAINTING:
        raise TrainingError(
            f"{job.painting} is {painting.shape[1]}×{painting.shape[0]} pixels; a painting needs "
            f"at least {MIN_PAINTING} on its shorter side."
        )
    painting = resize_short_side(painting, recipe.style_size)
    loss_net = load_perceptual_net(job.loss_net)
    photos = load_photos(job.content, cache=job.folder)
    if photos.skipped:
        _log.warning(
            "%d of the files in %s are no usable photographs and were left out: %s",
            len(photos.skipped), job.content, ", ".join(photos.skipped[:10]),
        )  # fmt: skip
    trainer = Trainer(
        recipe, photos=photos, painting=painting, loss_net=loss_net, device=_device(job.device),
        init=load_checkpoint_net(job.init)[0] if job.init else None,
    )  # fmt: skip
    checkpoint = job.folder / "checkpoint.safetensors"
    if checkpoint.exists() and not restart:
        trainer.resume(checkpoint)
    on_start(trainer)

    def preview(trainer: Trainer) -> None:
        write_picture(job.folder / "preview.png", _sheet(trainer.ema, photos), overwrite=True)

    recent: list[dict[str, float]] = []

    def step(done: int, losses: dict[str, float]) -> None:
        recent.append(losses)
        del recent[:-200]
        on_step(done, losses)

    train(trainer, folder=job.folder, on_step=step, on_save=preview)
    card = Card(
        styles=(job.name,),
        description=job.description,
        licence=job.licence,
        provenance={
            "painting": job.painting.name,
            "updates": trainer.done,
            "recipe": asdict(recipe),
            "photographs": len(photos),
            "losses": {
                name: round(float(np.mean([losses[name] for losses in recent])), 4)
                for name in (recent[0] if recent else {})
            },
        },
    )
    return write_model(trainer.ema, job.output, card, architecture=recipe.architecture)


def _device(name: str) -> str:
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise TrainingError("There is no CUDA GPU that torch can use; train with --device cpu.")
    return name


def _sheet(net: nn.Module, photos: Photos) -> Image:
    chosen = np.linspace(0, len(photos) - 1, min(N_PREVIEW, len(photos))).astype(int)
    originals = np.stack([square(photos[int(i)]) for i in chosen])
    return contact_sheet([originals, stylize(net, originals)])
