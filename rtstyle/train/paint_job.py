"""One picture painted by optimisation, from files to a file: what `rtstyle paint` runs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from rtstyle.errors import TrainingError, UsageError
from rtstyle.files import check_output
from rtstyle.frame import Image
from rtstyle.media.images import read_picture, write_picture
from rtstyle.media.options import PICTURE_SUFFIXES, is_picture
from rtstyle.train.data import resize_short_side, to_float
from rtstyle.train.gatys import (
    CONTENT_WEIGHT,
    STYLE_WEIGHT,
    Objective,
    Step,
    Weights,
    classic_weights,
    optimise,
)
from rtstyle.train.perceptual import STYLE_LAYERS, PerceptualNet, load_perceptual_net
from rtstyle.train.style_losses import describe, style_loss
from rtstyle.train.style_losses.patches import LAYERS, NearestPatches
from rtstyle.train.trainer import choose_device


@dataclass(frozen=True, slots=True, kw_only=True)
class PaintJob:
    """Files to read and write, and where to compute.

    `progress` is a picture that is written anew every `progress_every` steps.
    """

    content: Path
    style: Path
    output: Path
    loss_net: Path
    progress: Path | None = None
    progress_every: int = 10
    overwrite: bool = False
    device: str = "auto"
    threads: int | None = None


def run_paint_job(
    job: PaintJob, settings: Settings, *, on_step: Callable[[Step], None] = lambda step: None
) -> None:
    """Paint `job.content` like `job.style` into `job.output`.

    Files are checked before any work. The output appears when it is whole; what stops the painting
    leaves none, while the progress picture stays as it was last written. Raises the errors of
    `rtstyle.errors`.
    """
    for path in filter(None, (job.output, job.progress)):
        if not is_picture(path):
            raise UsageError(
                f"A painting is written as {', '.join(s[1:] for s in PICTURE_SUFFIXES)}, "
                f"which {path.name!r} is not."
            )
        check_output(path, overwrite=job.overwrite, inputs=(job.content, job.style))
    if job.progress and job.progress.resolve() == job.output.resolve():
        raise UsageError("The progress picture must have another name than the output.")
    if job.threads:
        torch.set_num_threads(job.threads)
    device = choose_device(job.device)
    photo = _tensor(job.content, settings.size, device)
    painting = _tensor(job.style, settings.style_size, device)
    loss_net = load_perceptual_net(job.loss_net).to(device)
    try:
        painted = _start(photo, settings)
        for scale in SCALES[settings.method]:
            small, small_painting = (_scaled(x, scale) for x in (photo, painting))
            if painted.shape != small.shape:
                painted = F.interpolate(painted, small.shape[2:], mode="bilinear", antialias=True)
            painted = optimise(
                painted,
                _objective(small, small_painting, loss_net, settings),
                method=METHODS[settings.optimizer], steps=settings.steps,
                on_step=_with_progress(job, on_step),
            )  # fmt: skip
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, TrainingError):
            raise
        height, width = photo.shape[2:]
        sentence = str(error).splitlines()[0] if str(error) else "out of memory"
        raise TrainingError(
            f"torch cannot paint {width}×{height}; try a smaller --size or --style-size "
            f"({sentence})."
        ) from error
    write_picture(job.output, _picture(painted), overwrite=job.overwrite)


def _objective(
    photo: Tensor, painting: Tensor, loss_net: PerceptualNet, settings: Settings
) -> Objective:
    is_mrf = settings.method == "mrf"
    loss = NearestPatches() if is_mrf else style_loss(settings.style_loss)
    with torch.no_grad():
        target = describe(loss, loss_net(painting, LAYERS if is_mrf else STYLE_LAYERS))
        weights = Weights(content=settings.content_weight, style=settings.style_weight)
        if settings.squared:
            weights = classic_weights(
                loss_net(photo), target,
                content=settings.content_weight, style=settings.style_weight,
            )  # fmt: skip
    weights = replace(weights, tv=settings.tv_weight)
    return Objective(photo, target, loss_net=loss_net, weights=weights, style_loss=loss)


def _scaled(x: Tensor, scale: float) -> Tensor:
    """The picture (1, 3, H, W) at that scale, no smaller than the perceptual network takes."""
    scale = max(scale, min(1.0, MIN_SIDE / min(x.shape[2:])))
    if scale == 1:
        return x
    return F.interpolate(x, scale_factor=scale, mode="bilinear", antialias=True)


def _start(photo: Tensor, settings: Settings) -> Tensor:
    if settings.start == "content":
        return photo
    generator = torch.Generator().manual_seed(settings.seed)
    return torch.rand(photo.shape, generator=generator).to(photo.device)


def _with_progress(job: PaintJob, on_step: Callable[[Step], None]) -> Callable[[Step], None]:
    def stepped(step: Step) -> None:
        if job.progress and step.done % job.progress_every == 0:
            write_picture(job.progress, _picture(step.picture), overwrite=True)
        on_step(step)

    return stepped


def _tensor(path: Path, size: int, device: torch.device) -> Tensor:
    """The picture, its shorter side at most `size` and at least `MIN_SIDE`: (1, 3, H, W)."""
    picture, _ = read_picture(path)
    side = min(max(min(picture.shape[:2]), MIN_SIDE), size)
    picture = resize_short_side(picture, side, enlarge=True)
    return to_float(picture[None], device)


def _picture(x: Tensor) -> Image:
    """(1, 3, H, W) float → (H, W, 3) uint8."""
    pixels = (x[0].clamp(0, 1) * 255).round().to(torch.uint8)
    return np.ascontiguousarray(pixels.permute(1, 2, 0).cpu().numpy())


# How `rtstyle paint` paints: the settings and their presets.


MIN_SIDE = 32  # pixels: the perceptual network halves a picture four times

METHODS: dict[str, Literal["lbfgs", "adam"]] = {"lbfgs": "lbfgs", "adam": "adam"}
STARTS = ("content", "noise")
SCALES = {"gatys": (1.0,), "mrf": (0.25, 0.5, 1.0)}  # of each method, from coarse to fine


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a picture is painted.

    The weights are those of relative losses, or with `squared` those of squared errors as most
    programs have them (`rtstyle.train.gatys`). `size` and `style_size` are the shorter sides in
    pixels that content and painting are shrunk to.

    Raises `UsageError` for values that cannot be right.
    """

    method: str = "gatys"
    optimizer: str = "lbfgs"
    steps: int = 150  # at every scale
    style_weight: float = 10.0
    content_weight: float = 1.0
    tv_weight: float = 0.0
    squared: bool = False
    style_loss: str = "gram"
    size: int = 512
    style_size: int = 512
    start: str = "content"
    seed: int = 0

    def __post_init__(self) -> None:
        for what, chosen, known in (
            ("method", self.method, SCALES), ("optimiser", self.optimizer, METHODS),
            ("start", self.start, STARTS),
        ):  # fmt: skip
            if chosen not in known:
                raise UsageError(f"There is no {what} {chosen!r}; known are {', '.join(known)}.")
        style_loss(self.style_loss)
        if self.method == "mrf" and (self.squared or self.style_loss != "gram"):
            raise UsageError(
                "The method mrf has a style loss of its own and the weights of the preset relative."
            )
        if self.squared and self.style_loss != "gram":
            raise UsageError(
                f"The preset classic is about the loss gram; {self.style_loss} needs the preset "
                "relative."
            )
        for name in ("style_weight", "content_weight", "tv_weight"):
            value = getattr(self, name)
            if not (value >= 0 and math.isfinite(value)):
                raise UsageError(f"The {name.replace('_', ' ')} must be 0 or more, not {value:g}.")
        if self.steps < 1:
            raise UsageError(f"At least 1 step is needed, not {self.steps}.")
        if min(self.size, self.style_size) < MIN_SIDE:
            raise UsageError(
                f"Pictures need at least {MIN_SIDE} pixels a side, not "
                f"{min(self.size, self.style_size)}."
            )


PRESETS = {
    "relative": Settings(),
    "classic": Settings(
        optimizer="adam", steps=500, squared=True,
        content_weight=CONTENT_WEIGHT, style_weight=STYLE_WEIGHT,
    ),
}  # fmt: skip


def preset(name: str, **changes: object) -> Settings:
    """The settings of that name, with those `changes` that are not None."""
    if name not in PRESETS:
        raise UsageError(f"There is no preset {name!r}; known are {', '.join(PRESETS)}.")
    given = {key: value for key, value in changes.items() if value is not None}
    return replace(PRESETS[name], **given)  # type: ignore[arg-type]
