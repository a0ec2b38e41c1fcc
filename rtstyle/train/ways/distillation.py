"""A smaller net that paints every style of a larger one (Hinton et al. 2015, "Distilling the
knowledge in a neural network"; for nets that make pictures Li et al. 2020, "GAN compression")."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rtstyle.errors import TrainingError
from rtstyle.frame import Image
from rtstyle.nets.onnx_weights import load_onnx_net
from rtstyle.style.parse import weights_file
from rtstyle.train.data import Photos, demo_photos, load_content, random_crops, to_float
from rtstyle.train.losses import Peaks
from rtstyle.train.preview import contact_sheet, square, stylize
from rtstyle.train.targets import pick_styles
from rtstyle.train.ways import Progress, Terms, Way, Weights
from rtstyle.train.ways.pairs import features_l1

WEIGHTS = {"l1": 4.0, "features": 2.0}
_SHOWN, _SHOWN_STYLES = 5, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Larger:
    """The model to imitate, a file or a name, and photographs or videos."""

    model: Path
    content: tuple[Path, ...]

    def open(self, folder: Path, progress: Progress) -> Distillation:
        """Read both. Raises `ModelError` for a file that rtstyle did not write, `TrainingError` for
        a model of any painting, whose styles are no list."""
        net, spec = load_onnx_net(weights_file(self.model))
        if spec.style_input != "weights":
            raise TrainingError(
                f"{self.model} paints any picture; a model with styles of its own is expected."
            )
        photos = load_content(self.content, cache=folder) if self.content else demo_photos()
        return Distillation(photos, net, spec.styles)


class Distillation(Way):
    """The net paints as `larger` does, pixel by pixel and in the perceptual network's features, in
    every style and every mix of two. No painting is needed, and an update costs a fraction of one
    by style losses, since what is to be painted is known."""

    columns: ClassVar = ("l1", "features", "peaks", "stability")
    weights = WEIGHTS

    def __init__(self, photos: Photos, larger: nn.Module, styles: Sequence[str]) -> None:
        super().__init__()
        self.photos, self.names = photos, tuple(styles)
        self._larger = (larger.requires_grad_(False).eval(),)  # no part of a checkpoint

    def attach(self, trainer: Any) -> None:
        super().attach(trainer)
        wanted, size = (int(getattr(n, "style_size", 0)) for n in (self._larger[0], trainer.net))
        if wanted != size:
            raise TrainingError(
                f"The model to imitate has {wanted} styles, and the net takes {size}; an "
                "architecture of as many is expected."
            )
        self.peaks = Peaks(trainer.net)
        self._larger[0].to(trainer.device)

    def terms(self) -> tuple[Terms, Weights]:
        trainer, r = self.trainer, self.trainer.recipe
        crops = random_crops(
            self.photos, size=r.crop_at(trainer.done), batch=r.batch, rng=trainer.rng,
            portraits=r.portraits,
        )  # fmt: skip
        photo, style = to_float(crops.pixels, trainer.device), self._draw(r.batch)
        canvas = trainer.canvas(photo)
        with torch.no_grad():
            # what a picture cannot hold is not asked for
            target = self._larger[0](photo + canvas, style).clamp(0, 1)
            wanted = trainer.features(target, r.style_layers)
        with self.peaks.watch() if r.peak_weight else nullcontext():
            painted = trainer.paint(photo + canvas, style)
        features = trainer.features(painted, r.style_layers)
        terms = {
            "l1": (painted - target).abs().mean((1, 2, 3)),
            "features": features_l1(features, wanted, r.style_layers),
        }
        if r.peak_weight:
            terms["peaks"] = self.peaks.loss()
        weights = {
            **self.weights, "peaks": r.peak_weight,
            "stability": r.stability_weight * r.stability_every,
        }  # fmt: skip
        return terms | trainer.stability(photo, canvas, painted, style), weights

    def _draw(self, batch: int) -> Tensor | None:
        size = int(getattr(self.trainer.net, "style_size", 0))
        if not size:
            return None
        vector = torch.zeros(batch, size)
        for chosen, share in pick_styles(self.trainer.rng, batch, size):
            vector[torch.arange(batch), torch.from_numpy(chosen)] += torch.from_numpy(share)
        return vector.to(self.trainer.device)

    def sheet(self, net: nn.Module) -> Image:
        """Photographs; then, for some styles, what the larger net makes of them, and this one."""
        chosen = np.linspace(0, len(self.photos) - 1, _SHOWN).astype(int)
        photos = np.stack([square(self.photos[int(i)]) for i in chosen])
        rows: list[NDArray[np.uint8]] = [photos]
        for number in np.unique(np.linspace(0, len(self.names) - 1, _SHOWN_STYLES).astype(int)):
            size = len(self.names) if getattr(net, "style_size", 0) else 0
            style = torch.eye(size)[number : number + 1] if size else None
            rows += [stylize(each, photos, style) for each in (self._larger[0], net)]
        return contact_sheet(rows)

    def provenance(self) -> dict[str, Any]:
        return {"photographs": len(self.photos), "imitates": list(self.names)}
