"""One painting or many, by perceptual losses (Johnson et al. 2016): the usual way."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rtstyle.errors import TrainingError
from rtstyle.frame import Image
from rtstyle.train.data import Photos, random_crops, to_float
from rtstyle.train.losses import Peaks, content_loss, tv_loss, where_loss
from rtstyle.train.preview import preview_sheet
from rtstyle.train.style_losses import Features, describe, style_loss
from rtstyle.train.targets import AnyPainting, Drawn, FixedPaintings, Styles
from rtstyle.train.ways import Terms, Way, Weights

_CALIBRATION = 256  # styles


class Paintings(Way):
    """Photographs painted like `paintings`, which `files` names."""

    columns: ClassVar = (
        "style", "content", "faces", "tv", "stability", "peaks", "reconstruction",
    )  # fmt: skip

    def __init__(
        self,
        photos: Photos,
        paintings: Sequence[NDArray[np.uint8]],
        files: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.photos, self.paintings, self.files = photos, paintings, files

    def attach(self, trainer: Any) -> None:
        super().attach(trainer)
        r, net = trainer.recipe, trainer.net
        if (r.face_weight or r.portraits) and not any(map(len, self.photos.faces)):
            raise TrainingError(
                "The recipe asks for faces, and none are known of these photographs; pass a list "
                "of them, or set face_weight and portraits to 0."
            )
        self.style_loss, self.peaks = style_loss(r.style_loss), Peaks(net)
        self.styles = self._styles()
        for each, what in ((r.content_weight, "content weights"), (r.shares, "shares")):
            if isinstance(each, list) and len(each) != r.options.get("styles"):
                raise TrainingError(
                    f"There are {len(each)} {what}; a single number or none, or one for each style "
                    "of a net of several, is expected."
                )
        if (
            trainer.took_encoder
            and isinstance(self.styles, AnyPainting)
            and hasattr(net, "calibrate")
        ):
            net.calibrate(self.styles.vectors(trainer.rng, _CALIBRATION))

    def terms(self) -> tuple[Terms, Weights]:
        trainer, r = self.trainer, self.trainer.recipe
        crops = random_crops(
            self.photos, size=r.crop_at(trainer.done), batch=r.batch, rng=trainer.rng,
            portraits=r.portraits,
        )  # fmt: skip
        photo = to_float(crops.pixels, trainer.device)
        if trainer.reconstructs():
            return {"reconstruction": trainer.reconstruction(photo)}, {"reconstruction": 1.0}
        styles = self.styles.draw(trainer.rng, photo)
        faces = torch.from_numpy(crops.faces).to(trainer.device) if crops.faces.any() else None
        return self._stylization(photo, styles, faces), self._weights(styles)

    def _stylization(self, photo: Tensor, styles: Drawn, faces: Tensor | None) -> Terms:
        """The loss terms of painting, one number a photograph. `faces` is (N, H, W)."""
        trainer, r = self.trainer, self.trainer.recipe
        with torch.no_grad():
            target = trainer.features(photo, r.content_layers)
        canvas = trainer.canvas(photo)
        with self.peaks.watch() if r.peak_weight else nullcontext():
            painted = trainer.paint(photo + canvas, styles.vector)
        features = trainer.features(painted, r.style_layers | r.content_layers)
        terms = {
            "style": styles.loss(self.style_loss, features, r.style_layers),
            "content": torch.stack(
                [w * content_loss(features[k], target[k]) for k, w in r.content_layers.items()]
            ).sum(0),
        }
        if r.face_weight and faces is not None:
            terms["faces"] = torch.stack(
                [w * where_loss(features[k], target[k], faces) for k, w in r.content_layers.items()]
            ).sum(0)
        if r.peak_weight:
            terms["peaks"] = self.peaks.loss()
        if r.tv_weight:
            terms["tv"] = tv_loss(painted)
        return terms | trainer.stability(photo, canvas, painted, styles.vector)

    def _weights(self, styles: Drawn) -> Weights:
        """What each term of painting counts: a number, or one a photograph."""
        r = self.trainer.recipe
        content = r.content_weight
        return {
            "style": r.style_weight, "tv": r.tv_weight, "peaks": r.peak_weight,
            "stability": r.stability_weight * r.stability_every, "faces": r.face_weight,
            "content": styles.mix(content) if isinstance(content, list) else content,
        }  # fmt: skip

    def _styles(self) -> Styles:
        """Any painting for a net that encodes paintings itself, else these ones."""
        trainer = self.trainer
        if not hasattr(trainer.net, "encode"):
            targets = [self._describe(to_float(p[None], trainer.device)) for p in self.paintings]
            size, only = int(getattr(trainer.net, "style_size", 0)), trainer.recipe.only
            return FixedPaintings(
                targets, style_size=size, first=only or 0, shares=trainer.recipe.shares
            )
        return AnyPainting(
            self.paintings, self.photos,
            encode=self._encode, describe=self._describe, device=trainer.device,
        )  # fmt: skip

    def _describe(self, pictures: Tensor) -> Features:
        with torch.no_grad():
            features = self.trainer.features(pictures, self.trainer.recipe.style_layers)
            return describe(self.style_loss, features)

    def _encode(self, pictures: Tensor) -> Tensor:
        trainer = self.trainer
        with torch.autocast(trainer.device.type, torch.bfloat16, enabled=trainer.half):
            vector: Tensor = trainer.net.encode(pictures)  # type: ignore[operator]
        return vector

    def sheet(self, net: nn.Module) -> Image:
        return preview_sheet(net, self.photos, self.paintings, first=self.trainer.recipe.only or 0)

    def provenance(self) -> dict[str, Any]:
        return {"paintings": list(self.files), "photographs": len(self.photos)}
