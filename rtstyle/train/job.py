"""From paintings and a folder of photographs to a model file: what `rtstyle train` runs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from rtstyle.errors import InputNotFoundError, MediaError, TrainingError, UsageError
from rtstyle.frame import Image
from rtstyle.media.images import read_picture, write_picture
from rtstyle.media.options import PICTURE_SUFFIXES
from rtstyle.metrics import busy_cores, n_cores
from rtstyle.model.spec import ModelSpec
from rtstyle.nets import styles_option
from rtstyle.nets.checkpoint import load_checkpoint_net
from rtstyle.nets.onnx_weights import load_onnx_net
from rtstyle.style.parse import weights_file
from rtstyle.train.data import PHOTO_CACHES, demo_photos, load_content, resize_short_side
from rtstyle.train.loop import train
from rtstyle.train.perceptual import load_perceptual_net
from rtstyle.train.recipe import Recipe
from rtstyle.train.to_onnx import Check, ModelCard, write_model
from rtstyle.train.trainer import Trainer, choose_device
from rtstyle.train.ways import Material, Progress, Way
from rtstyle.train.ways.paintings import Paintings

PREVIEW_EVERY = 10.0  # seconds
MIN_PAINTING = 64  # pixels; anything smaller has no strokes to learn

_log = logging.getLogger("rtstyle")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One training. Paths: the paintings (files, or one folder of them), the model to write, the
    folders of photographs and videos to train on (none: the demo clip), the perceptual network's
    weights, the folder that keeps checkpoint, loss log and preview, and the checkpoint or model
    file to start from, if any, or the name of a model.
    `material` is what another way of training learns from, instead of paintings and photographs.
    `preview` is a picture that is renewed every few seconds.

    `names` are those of the styles, the files' by default. With `add_to`, a model file of several
    styles, the paintings become further styles of that model, which keeps every other number bit
    for bit. `threads` of the CPU, by default those that other programs leave free.
    """

    output: Path
    loss_net: Path
    folder: Path
    paintings: tuple[Path, ...] = ()
    content: tuple[Path, ...] = ()
    material: Material | None = None
    preview: Path | None = None
    names: tuple[str, ...] = ()
    description: str = ""
    licence: str = ""
    init: Path | None = None
    add_to: Path | None = None
    device: str = "auto"
    threads: int | None = None


def run_job(
    job: Job,
    recipe: Recipe,
    *,
    check: Check,
    restart: bool = False,
    on_prepare: Progress = lambda done, total, remark: None,
    on_start: Callable[[Trainer], None] = lambda trainer: None,
    on_step: Callable[[int, dict[str, float]], None] = lambda done, losses: None,
) -> ModelSpec:
    """Train, keeping a checkpoint and a preview in `job.folder`, and export the model file.

    A checkpoint in the folder is taken up unless `restart`. The model file is written if it passes
    `check`, see `write_model`. `on_prepare` follows what is made before the training, `on_start`
    gets the trainer when all material is loaded, `on_step` the number of updates done and their
    losses.

    Raises `TrainingError`, `ModelError`, `MediaError`, `InputNotFoundError`, `UsageError` or
    `OutputError`, each in a sentence.
    """
    if job.output.suffix != ".onnx":
        raise UsageError(f"The model's file must end in .onnx, not {job.output.name!r}.")
    device = choose_device(job.device)
    init, earlier = _start(job)
    way: Way
    if job.material is None:
        recipe, names, way = _paintings(job, recipe, earlier)
    else:
        way = job.material.open(job.folder, on_prepare)
        names = way.names or job.names
        styles = styles_option(recipe.architecture, len(names))
        recipe = replace(recipe, options=recipe.options | styles)
    loss_net = load_perceptual_net(job.loss_net)
    recipe = recipe.suited_to(loss_net.kind)
    _take_threads(job.threads, device)
    trainer = Trainer(recipe, way, loss_net=loss_net, device=device, init=init, names=names)
    checkpoint = job.folder / "checkpoint.safetensors"
    if checkpoint.exists() and not restart:
        trainer.resume(checkpoint)
    on_start(trainer)

    def preview(trainer: Trainer) -> None:
        sheet = way.sheet(trainer.ema)
        for path in filter(None, (job.folder / "preview.png", job.preview)):
            write_picture(path, sheet, overwrite=True)

    recent: list[dict[str, float]] = []
    shown = time.monotonic()

    def step(done: int, losses: dict[str, float]) -> None:
        nonlocal shown
        recent.append(losses)
        del recent[:-200]
        on_step(done, losses)
        if job.preview and time.monotonic() - shown > PREVIEW_EVERY:
            write_picture(job.preview, way.sheet(trainer.ema), overwrite=True)
            shown = time.monotonic()

    seconds = train(trainer, folder=job.folder, on_step=step, on_save=preview)
    provenance = way.provenance() | {
        "updates": trainer.done,
        "seconds_per_1000_updates": round(seconds / max(1, trainer.done) * 1000, 1),
        "recipe": asdict(recipe),
        "losses": _means(recent),
    }
    if earlier is not None:
        provenance = earlier.provenance | {
            "added": [*earlier.provenance.get("added", []), provenance]
        }
    card = ModelCard(
        styles=() if hasattr(trainer.ema, "encode") else names,
        description=job.description or (earlier.description if earlier else ""),
        licence=job.licence or (earlier.licence if earlier else ""),
        provenance=provenance,
    )
    spec = write_model(
        trainer.ema,
        job.output,
        card,
        architecture=recipe.architecture,
        check=check,
        earlier=job.add_to if earlier else None,
    )
    for kept in job.folder.glob(PHOTO_CACHES):
        kept.unlink(missing_ok=True)  # of no use to what is whole
    return spec


def _take_threads(asked: int | None, device: torch.device) -> None:
    """Let torch use `asked` threads, or as many as other programs leave cores free: with more, each
    waits for the others and an update takes many times as long."""
    if asked:
        torch.set_num_threads(asked)
        return
    busy = busy_cores() if device.type == "cpu" else 0.0
    free = max(1, round(n_cores() - busy))
    if free < torch.get_num_threads():
        torch.set_num_threads(free)
        _log.warning(
            "Other programs keep %.1f of %d cores busy; training takes %d threads, or --threads.",
            busy, n_cores(), free,
        )  # fmt: skip


def _paintings(
    job: Job, recipe: Recipe, earlier: ModelSpec | None
) -> tuple[Recipe, tuple[str, ...], Paintings]:
    """The recipe for the paintings to learn, the names of the model's styles, and the paintings."""
    files, paintings = load_paintings(job.paintings, recipe.style_size)
    names = job.names or tuple(file.stem for file in files)
    if len(names) != len(files):
        raise UsageError(f"{len(files)} paintings need as many names, not {len(names)}.")
    if earlier is not None:
        recipe, names = _one_more(recipe, earlier, names)
    else:
        styles = styles_option(recipe.architecture, len(files))
        recipe = replace(recipe, options=recipe.options | styles)
    photos = load_content(job.content, cache=job.folder) if job.content else demo_photos()
    if photos.skipped:
        _log.warning(
            "%d of the files in %s are no usable photographs and were left out: %s",
            len(photos.skipped), ", ".join(map(str, job.content)), ", ".join(photos.skipped[:10]),
        )  # fmt: skip
    return recipe, names, Paintings(photos, paintings, [file.name for file in files])


def find_paintings(folder: Path) -> list[Path]:
    """The picture files in `folder`, sorted. Raises `InputNotFoundError` when there is none."""
    if not folder.is_dir():
        raise InputNotFoundError(f"There is no folder {folder}; a folder of paintings is expected.")
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES)
    if not files:
        raise InputNotFoundError(f"There is no picture in {folder}; paintings are expected.")
    return files


def load_paintings(paths: Sequence[Path], short_side: int) -> tuple[list[Path], list[Image]]:
    """The pictures of the paintings; of several, those that cannot be used are left out."""
    files, paintings, problems = [], [], []
    for path in paths:
        try:
            painting, _ = read_picture(path)
            if min(painting.shape[:2]) < MIN_PAINTING:
                raise TrainingError(
                    f"{path} is {painting.shape[1]}×{painting.shape[0]} pixels; a painting needs "
                    f"at least {MIN_PAINTING} on its shorter side."
                )
        except (MediaError, TrainingError) as error:
            if len(paths) == 1:
                raise
            problems.append(str(error))
            continue
        files.append(path)
        paintings.append(resize_short_side(painting, short_side))
    for problem in problems:
        _log.warning("A painting is left out: %s", problem)
    if not files:
        raise TrainingError(f"None of the {len(paths)} paintings can be used. {problems[0]}")
    return files, paintings


def _start(job: Job) -> tuple[nn.Module | None, ModelSpec | None]:
    """The net to start from, and the model that is to learn one more style, if any."""
    if job.add_to is not None:
        net, spec = load_onnx_net(job.add_to)
        if not spec.style_size or not styles_option(spec.architecture, 2):
            raise UsageError(
                f"{job.add_to} is a {spec.architecture} that takes no further style; one made by "
                "`rtstyle train --cin` or `--bank` is expected."
            )
        return net, spec
    if job.init is None:
        return None, None
    init = weights_file(job.init)
    if init.suffix == ".onnx":
        return load_onnx_net(init)[0], None
    return load_checkpoint_net(init)[0], None


def _one_more(
    recipe: Recipe, earlier: ModelSpec, names: tuple[str, ...]
) -> tuple[Recipe, tuple[str, ...]]:
    """The recipe and the names of the styles when `names` is added to an `earlier` model."""
    if len(names) != 1:
        raise UsageError(f"One painting is added at a time, not {len(names)}.")
    if names[0] in earlier.styles:
        raise UsageError(
            f"{earlier.path} has a style {names[0]!r} already; choose another with --name."
        )
    count = len(earlier.styles)
    recipe = replace(
        recipe, architecture=earlier.architecture,
        options=earlier.options | {"styles": count + 1}, only=count,
    )  # fmt: skip
    return recipe, (*earlier.styles, *names)


def _means(recent: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of each loss over the last updates that had it."""
    names = dict.fromkeys(name for losses in recent for name in losses)
    return {
        name: round(float(np.mean([losses[name] for losses in recent if name in losses])), 4)
        for name in names
    }
