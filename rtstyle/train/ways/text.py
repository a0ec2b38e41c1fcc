"""Words as a style: CLIPstyler's losses (Kwon & Ye, CVPR 2022) on a net that then runs live.

CLIP is the user's own, a folder as Hugging Face's Transformers saves it; nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rtstyle.errors import InputNotFoundError, TrainingError, UsageError, needs_extra
from rtstyle.frame import Image
from rtstyle.train.data import Photos, demo_photos, load_content, random_crops, to_float
from rtstyle.train.losses import content_loss, tv_loss
from rtstyle.train.preview import contact_sheet, square, stylize
from rtstyle.train.ways import Progress, Terms, Way, Weights

# The paper's 9000, 500, 150 and 2e-3, in proportion to a direction term of 1.
WEIGHTS = {"patches": 18.0, "direction": 1.0, "content": 0.3, "tv": 4e-6}
SOURCE = "a photo"  # what the words are a change of
# CLIP sees a sentence in several frames, as its authors' own prompts do.
_PROMPTS = ("{}", "a photo of {}", "a painting of {}", "an artwork of {}", "{} in detail")
_PATCHES, _PATCH = 16, 64  # crops of a picture and their side (the paper: 64 of 128 at 512)
_THRESHOLD = 0.7  # a patch whose distance is below it pulls no more
_MEAN, _STD = (0.481, 0.458, 0.408), (0.269, 0.261, 0.276)
_SHOWN = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What the pictures should look like, the folder of CLIP, and a folder of photographs."""

    text: str
    clip: Path
    content: tuple[Path, ...]

    def open(self, folder: Path, progress: Progress) -> Text:
        """Read all. Raises `UsageError` for no words, and what `load_clip` raises."""
        if not self.text.strip():
            raise UsageError("--text needs words, such as 'an oil painting of fire'.")
        clip = load_clip(self.clip)
        photos = load_content(self.content, cache=folder) if self.content else demo_photos()
        return Text(photos, clip, self.text)


@dataclass(frozen=True)
class Clip:
    """CLIP: `images` maps (N, 3, S, S) float in [0, 1], `texts` sentences, to unit vectors (N, D).
    `size` is S."""

    images: Callable[[Tensor], Tensor]
    texts: Callable[[list[str]], Tensor]
    size: int


def load_clip(path: Path) -> Clip:
    """CLIP from a folder with config.json, weights and tokenizer.

    Raises `InputNotFoundError` when there is none, `TrainingError` when it holds another model, and
    `MissingExtraError` when transformers is not installed.
    """
    if not (path / "config.json").is_file():
        raise InputNotFoundError(
            f"There is no CLIP at {path}: a folder with config.json, model.safetensors and the "
            "tokenizer's files is expected, as Transformers saves openai/clip-vit-base-patch32."
        )
    with needs_extra("text", "Training by words"):
        from transformers import AutoTokenizer, CLIPModel
    try:
        model = CLIPModel.from_pretrained(path, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
        if model.config.model_type != "clip":
            raise ValueError(f"it is a {model.config.model_type}")
    except Exception as error:  # the library has no tree of errors of its own
        raise TrainingError(
            f"{path} holds no CLIP that can be read ({str(error).splitlines()[0][:200]}); a folder "
            "as Transformers saves openai/clip-vit-base-patch32 is expected."
        ) from error
    model.requires_grad_(False).eval()
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (_MEAN, _STD))

    def images(x: Tensor) -> Tensor:
        seen = model.vision_model((x - mean.to(x)) / std.to(x)).pooler_output
        return F.normalize(model.visual_projection(seen), dim=1)

    def texts(sentences: list[str]) -> Tensor:
        tokens = tokenizer(sentences, padding=True, truncation=True, return_tensors="pt")
        read = model.text_model(tokens.input_ids, attention_mask=tokens.attention_mask)
        return F.normalize(model.text_projection(read.pooler_output), dim=1)

    return Clip(images, texts, int(model.config.vision_config.image_size))


class Text(Way):
    """Photographs change in CLIP's space in the direction in which the words differ from "a photo":
    as a whole and in every patch, seen in a random perspective."""

    columns: ClassVar = ("patches", "direction", "content", "tv", "stability")
    weights = WEIGHTS

    def __init__(self, photos: Photos, clip: Clip, text: str) -> None:
        super().__init__()
        self.photos, self.clip, self.text = photos, clip, text
        with torch.no_grad():
            wanted, source = (
                clip.texts([prompt.format(words) for prompt in _PROMPTS]).mean(0, keepdim=True)
                for words in (text, SOURCE)
            )
        if float((wanted - source).norm()) < 1e-4:
            raise TrainingError(f"CLIP sees no difference between {text!r} and {SOURCE!r}.")
        self.direction = F.normalize(wanted - source, dim=1)  # (1, D)

    def terms(self) -> tuple[Terms, Weights]:
        trainer, r = self.trainer, self.trainer.recipe
        crops = random_crops(
            self.photos, size=r.crop_at(trainer.done), batch=r.batch, rng=trainer.rng
        )
        photo = to_float(crops.pixels, trainer.device)
        canvas = trainer.canvas(photo)
        painted = trainer.paint(photo + canvas)
        with torch.no_grad():
            before = self._see(photo)
            target = trainer.features(photo, r.content_layers)
        features = trainer.features(painted, r.content_layers)
        far = torch.stack([self._far(self._see(p), before[i : i + 1])
                           for i, p in enumerate(self._patches(painted))])  # fmt: skip
        terms = {
            "patches": far.where(far > _THRESHOLD, torch.zeros_like(far)).mean(1),
            "direction": self._far(self._see(painted), before),
            "content": torch.stack(
                [w * content_loss(features[k], target[k]) for k, w in r.content_layers.items()]
            ).sum(0),
            "tv": tv_loss(painted),
        }
        weights = {**self.weights, "stability": r.stability_weight * r.stability_every}
        return terms | trainer.stability(photo, canvas, painted), weights

    def _see(self, pictures: Tensor) -> Tensor:
        size = (self.clip.size, self.clip.size)
        return self.clip.images(F.interpolate(pictures, size, mode="bilinear", antialias=True))

    def _far(self, after: Tensor, before: Tensor) -> Tensor:
        """1 − the cosine between the pictures' change and that of the words → (N,)."""
        return 1 - F.cosine_similarity(after - before, self.direction.to(after))

    def _patches(self, painted: Tensor) -> list[Tensor]:
        """Random crops of each picture in random perspectives: (_PATCHES, 3, S, S) each."""
        rng, out = self.trainer.rng, []
        side = min(_PATCH, *painted.shape[2:])
        for picture in painted:
            corners = [rng.integers(0, length - side + 1, _PATCHES) for length in picture.shape[1:]]
            crops = [picture[:, y : y + side, x : x + side] for y, x in zip(*corners, strict=True)]
            bent = np.eye(2, 3) + rng.normal(0, 0.15, (_PATCHES, 2, 3)) * (1, 1, 0)
            theta = torch.from_numpy(bent.astype(np.float32)).to(painted.device)
            grid = F.affine_grid(theta, [_PATCHES, 3, side, side], align_corners=False)
            out.append(F.grid_sample(torch.stack(crops), grid, padding_mode="reflection",
                                     align_corners=False))  # fmt: skip
        return out

    def sheet(self, net: nn.Module) -> Image:
        """Photographs, and how they are painted."""
        chosen = np.linspace(0, len(self.photos) - 1, _SHOWN).astype(int)
        photos = np.stack([square(self.photos[int(i)]) for i in chosen])
        return contact_sheet([photos, stylize(net, photos)])

    def provenance(self) -> dict[str, Any]:
        return {"photographs": len(self.photos), "text": self.text}
