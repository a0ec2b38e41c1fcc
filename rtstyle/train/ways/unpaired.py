"""A collection of paintings without pairs: adversarial training, its published kinds as options.

Zhu et al. 2017 (CycleGAN); Park et al. 2020, "Contrastive Learning for Unpaired Image-to-Image
Translation" (CUT, FastCUT, SinCUT). Losses that may join: Wang & Yu 2020, "Learning to Cartoonize
Using White-Box Cartoon Representations"; He et al. 2018, "ChipGAN" (ink wash).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from rtstyle.errors import TrainingError, UsageError
from rtstyle.frame import Image
from rtstyle.nets.layers import channels_last
from rtstyle.train.contrast import PatchContrast
from rtstyle.train.critic import FeatureCritic, PatchCritic, Pool, Seen, fooling, telling
from rtstyle.train.data import (
    Photos,
    demo_photos,
    load_content,
    load_photos,
    random_crops,
    to_float,
)
from rtstyle.train.losses import tv_loss
from rtstyle.train.preview import contact_sheet, square, stylize
from rtstyle.train.views import (
    begin_in_ink,
    colour_distance,
    edges,
    flattened,
    in_one_ink,
    spread,
    surface,
    texture,
)
from rtstyle.train.ways import Progress, Terms, Way, Weights
from rtstyle.train.ways.pairs import Pair, crop_of, relative_l1

# As published, and "projected", the critic of features, which all of them have here. In fastcut it
# leads: with the paper's 1 and 10 a net that begins as the picture itself stays there.
METHODS = {
    "fastcut": {"adversarial": 0.5, "nce": 1.0, "projected": 4.0},
    "cut": {"adversarial": 1.0, "nce": 1.0, "identity": 1.0, "projected": 1.0},
    "sincut": {"adversarial": 1.0, "nce": 4.0, "identity": 4.0, "r1": 1.0, "projected": 1.0},
    "cyclegan": {"adversarial": 1.0, "back": 1.0, "cycle": 10.0, "identity": 5.0, "projected": 1.0},
}
# Of losses relative to the features' own energy, where the paper's are absolute.
CARTOON = {"surface": 0.3, "texture": 1.0, "structure": 2.0, "content": 2.0, "tv": 10.0}
# Ink takes most of a photograph away, so the critics weigh more against the patches, and an edge of
# the photograph need not be one of the painting.
INK = {"adversarial": 1.0, "nce": 0.3, "projected": 6.0, "ink": 0.5, "edges": 1.0, "colours": 20.0}
MIN_SET = 8  # paintings; fewer are learnt by heart
_SCALES = (0.5, 1.0)  # of the crops of paintings; sincut enlarges its one more freely
_SCALES_OF_ONE = (0.25, 1.0)
_DEEP = "relu4_1"
_PROJECTED = ("relu2_1", "relu3_1", "relu4_1", "relu5_1")
_SHOWN = 6
_PALETTE = 16_384  # pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """A folder of paintings, one painting for sincut, and a folder of photographs."""

    paintings: Path
    content: tuple[Path, ...]
    method: str = "fastcut"
    cartoon: bool = False
    ink: bool = False

    def open(self, folder: Path, progress: Progress) -> Unpaired:
        """Read both. Raises `UsageError` for an unknown method, `TrainingError` when there are too
        few paintings."""
        if self.method not in METHODS:
            raise UsageError(
                f"There is no unpaired method {self.method!r}; known are {', '.join(METHODS)}."
            )
        place = self.paintings
        if place.is_file():
            others = {str(p.relative_to(place.parent)) for p in place.parent.rglob("*")}
            paintings = load_photos(place.parent, without=others - {place.name})
        else:
            paintings = load_photos(place, cache=folder)
        if (self.method == "sincut") != (len(paintings) == 1) or (1 < len(paintings) < MIN_SET):
            raise TrainingError(
                f"{place} holds {len(paintings)} paintings; {MIN_SET} or more are expected, or one "
                "with --method sincut."
            )
        if self.ink:
            paintings = in_one_ink(paintings)
        photos = load_content(self.content, cache=folder) if self.content else demo_photos()
        weights = METHODS[self.method] | {"colours": 0.0} | (CARTOON if self.cartoon else {})
        return Unpaired(photos, paintings, self.method, weights | (INK if self.ink else {}))


class Unpaired(Way):
    """The net paints photographs so that critics take them for paintings of the collection, while
    patches stay recognisable by their place (contrastive loss), or the photograph can be got back
    (cycle)."""

    columns: ClassVar = (
        "adversarial", "projected", "nce", "identity", "cycle", "back", "critic", "surface",
        "texture", "structure", "content", "tv", "ink", "edges", "colours", "stability",
    )  # fmt: skip

    def __init__(
        self, photos: Photos, paintings: Photos, method: str, weights: dict[str, float]
    ) -> None:
        super().__init__()
        self.photos, self.paintings, self.method, self.weights = photos, paintings, method, weights
        self._is_ink = "ink" in weights
        # What each critic sees of paintings and painted pictures.
        self.views: dict[str, Callable[[Tensor], Seen]] = {
            "adversarial": lambda x: x,
            "projected": lambda x: self.trainer.features(x, _PROJECTED),
        }
        if "surface" in weights:
            self.views |= {"surface": surface, "texture": texture}
        if self._is_ink:
            self.views["ink"] = spread
        self.pools = {"adversarial": Pool(), "back": Pool()} if method == "cyclegan" else {}

    def attach(self, trainer: Any) -> None:
        super().attach(trainer)
        seen = trainer.features(torch.zeros(1, 3, 64, 64, device=trainer.device), _PROJECTED)
        for name in self.views:
            self.critics[name] = PatchCritic(1 if name == "texture" else 3)
        if self.weights["colours"] or self._is_ink:
            self._palette = self._pixels().to(trainer.device)
        if self.method == "cyclegan":  # it begins as the picture, not in ink
            self.partners["back"] = copy.deepcopy(trainer.net)
            channels_last(self.partners["back"])
        if self._is_ink:
            begin_in_ink(trainer.net, self._palette)
        self.critics["projected"] = FeatureCritic({k: x.shape[1] for k, x in seen.items()})
        if self.method == "cyclegan":
            self.critics["back"] = PatchCritic()
            return
        self._contrast = PatchContrast(trainer)
        self.partners.update(self._contrast.heads)

    def terms(self) -> tuple[Terms, Weights]:
        trainer, r = self.trainer, self.trainer.recipe
        size = r.crop_at(trainer.done)
        crops = random_crops(self.photos, size=size, batch=r.batch, rng=trainer.rng)
        photo, real = to_float(crops.pixels, trainer.device), self._real(size, r.batch)
        canvas = trainer.canvas(photo)
        # Equivariance (FastCUT): the mirrored photograph is painted, its patches are compared
        # with those of the photograph as it was.
        is_flipped = self.method == "fastcut" and trainer.rng.random() < 0.5
        given = photo.flip(3) if is_flipped else photo
        painted = trainer.paint(given + canvas)
        shown = {name: view(painted) for name, view in self.views.items()}
        terms = {name: fooling(self.critics[name], seen) for name, seen in shown.items()}
        with torch.no_grad():
            self._seen = [(name, view(real), _detached(shown[name]))
                          for name, view in self.views.items()]  # fmt: skip
        if self.method == "cyclegan":
            terms |= self._cycle(photo, painted, real, canvas)
        else:
            terms["nce"] = self._contrast(painted, photo, flip=is_flipped)
            if "identity" in self.weights:
                same = trainer.paint(real + canvas)
                terms["identity"] = self._contrast(same, real, flip=False)
        terms |= self._cartoon(given, painted)
        if self.weights.get("edges"):
            terms["edges"] = (edges(given) - edges(painted)).abs().mean((1, 2, 3))
        if self.weights["colours"]:
            terms["colours"] = colour_distance(painted, self._palette)
        weights = {**self.weights, "stability": r.stability_weight * r.stability_every}
        return terms | trainer.stability(given, canvas, painted), weights

    def _cycle(self, photo: Tensor, painted: Tensor, real: Tensor, canvas: Tensor) -> Terms:
        trainer, other = self.trainer, self.partners["back"]

        def back(x: Tensor) -> Tensor:
            with torch.autocast(trainer.device.type, torch.bfloat16, enabled=trainer.half):
                made: Tensor = other(x + canvas)
            return made.float()

        from_real = back(real)
        self._seen.append(("back", photo, from_real.detach()))
        cycles = (back(painted) - photo).abs(), (trainer.paint(from_real + canvas) - real).abs()
        same = (trainer.paint(real + canvas) - real).abs(), (back(photo) - photo).abs()
        return {
            "back": fooling(self.critics["back"], from_real),
            "cycle": (cycles[0] + cycles[1]).mean((1, 2, 3)),
            "identity": (same[0] + same[1]).mean((1, 2, 3)),
        }

    def _cartoon(self, photo: Tensor, painted: Tensor) -> Terms:
        if "structure" not in self.weights:
            return {}
        trainer = self.trainer
        with torch.no_grad():
            flat = flattened(painted)
            wanted = trainer.features(torch.cat([photo, flat]), [_DEEP])[_DEEP].chunk(2)
        found = trainer.features(painted, [_DEEP])[_DEEP]
        return {
            "content": relative_l1(found, wanted[0]), "structure": relative_l1(found, wanted[1]),
            "tv": tv_loss(painted),
        }  # fmt: skip

    def teach_critics(self) -> dict[str, float]:
        generator = torch.Generator().manual_seed(int(self.trainer.rng.integers(2**63)))
        total = torch.zeros((), device=self.trainer.device)
        for name, real, painted in self._seen:
            if name in self.pools and isinstance(painted, Tensor):
                painted = self.pools[name].swap(painted, generator)
            total = total + telling(self.critics[name], real, painted)
            if "r1" in self.weights and name == "adversarial" and isinstance(real, Tensor):
                total = total + self.weights["r1"] * _r1(self.critics[name], real)
        self.critics.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        self.trainer.optimizers["critics"].step(self.trainer.recipe.critic_lr)
        return {"critic": float(total.detach())}

    def _pixels(self) -> Tensor:
        """Some of the paintings' own, spread over all of them: (K, 3) float RGB."""
        pixels = self.paintings.pixels.reshape(-1, 3)
        chosen = np.linspace(0, len(pixels) - 1, _PALETTE).astype(np.int64)
        return torch.from_numpy(pixels[chosen]).float() / 255

    def _real(self, size: int, count: int) -> Tensor:
        rng = self.trainer.rng
        crops = []
        for _ in range(count):
            painting = self.paintings[int(rng.integers(len(self.paintings)))]
            low, high = _SCALES_OF_ONE if self.method == "sincut" else _SCALES
            side = min(round(size / rng.uniform(low, high)), *painting.shape[:2])
            crop = crop_of(Pair(painting, painting), side, rng).before
            method = cv2.INTER_AREA if side >= size else cv2.INTER_CUBIC
            crop = np.asarray(cv2.resize(crop, (size, size), interpolation=method), np.uint8)
            crops.append(crop[:, ::-1] if rng.random() < 0.5 else crop)
        return to_float(np.stack(crops), self.trainer.device)

    def sheet(self, net: nn.Module) -> Image:
        """Photographs, how they are painted, and paintings of the collection."""
        rows = []
        for of in (self.photos, self.paintings):
            chosen = np.linspace(0, len(of) - 1, _SHOWN).astype(int)
            rows.append(np.stack([square(of[int(i)]) for i in chosen]))
        return contact_sheet([rows[0], stylize(net, rows[0]), rows[1]])

    def provenance(self) -> dict[str, Any]:
        return {"photographs": len(self.photos), "paintings": len(self.paintings),
                "method": self.method}  # fmt: skip


def _detached(seen: Seen) -> Seen:
    return seen.detach() if isinstance(seen, Tensor) else {k: x.detach() for k, x in seen.items()}


def _r1(critic: nn.Module, real: Tensor) -> Tensor:
    """Gradient penalty on real pictures (Mescheder et al. 2018, R1): for a set of one painting."""
    real = real.detach().requires_grad_(True)
    (slope,) = torch.autograd.grad(critic(real).sum(), real, create_graph=True)
    return slope.square().sum((1, 2, 3)).mean() / 2
