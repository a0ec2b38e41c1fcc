"""The settings of a training."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

from rtstyle.errors import UsageError
from rtstyle.train.perceptual import CONTENT_LAYER, STYLE_LAYERS

# Johnson et al. 2016, §4.1. A whole relu1_2 gives flat places a fine weave, a quarter of it a
# washed-out palette; the content of relu2_2 keeps outlines that relu3_3 alone loses.
_VGG16_STYLE_LAYERS = {"relu1_2": 0.6, "relu2_2": 1.0, "relu3_3": 1.0, "relu4_3": 1.0}
_VGG16_CONTENT_LAYERS = {"relu2_2": 0.5, "relu3_3": 0.5}


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a training ends in, beside the material.

    Sizes are pixels, `updates` counts optimiser steps. The last `finish` updates run on crops of
    `finish_crop`, so that strokes settle at the size that videos have.
    """

    architecture: str = "fast"
    options: dict[str, Any] = field(default_factory=dict)
    updates: int = 8000
    batch: int = 2
    crop: int = 160
    finish: int = 500
    finish_crop: int = 256
    style_size: int = 384
    loss_net: str | None = None  # vgg16, vgg19 or vgg19_16x; None takes any
    style_loss: str = "gram"
    style_layers: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(STYLE_LAYERS, 1.0)
    )  # and the weight of each
    content_layers: dict[str, float] = field(default_factory=lambda: {CONTENT_LAYER: 1.0})
    weights: dict[str, float] = field(default_factory=dict)  # of a way's own terms, by name
    muon: bool = True  # else Adam alone
    critic_lr: float = 2e-4  # of discriminators
    lr: float = 1e-3
    lr_end: float = 1e-5
    warm_up: int = 200
    style_weight: float = 1.3
    content_weight: float | list[float] = 1.0  # of all styles, or of each
    shares: list[float] | None = None  # how often each style is drawn against the others
    content_reached: float = 0.3  # by Gatys et al. on most photographs; above it, it pulls less
    face_weight: float = 0.0  # of the content of faces alone, at the content layers
    portraits: float = 0.0  # share of the crops that are drawn around a face
    tv_weight: float = 0.0
    stability_weight: float = 6.0
    peak_weight: float = 0.01
    stability_from: float = 0.3  # share of the updates made before the stability term joins
    stability_every: int = 1  # updates from one with that term to the next, weighted as many times
    reconstruct_every: int = 3  # of a net that is an auto-encoder too
    only: int | None = None  # the one style to learn; all else stays bit for bit
    clip: float = 1.0
    ema: float = 0.999
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("crop", "finish_crop"):
            if (size := getattr(self, name)) % 32 or size <= 0:
                raise UsageError(f"The {name} must be a multiple of 32 pixels, not {size}.")
        for name in ("style_layers", "content_layers"):
            if not getattr(self, name):
                raise UsageError(f"The {name} must be one layer or more with a weight each.")
        if not 0 <= self.portraits <= 1:
            raise UsageError(f"The share of portraits is from 0 to 1, not {self.portraits:g}.")
        if self.shares is not None and not all(share > 0 for share in self.shares):
            raise UsageError(f"The shares of the styles must be above 0, not {self.shares}.")

    def suited_to(self, kind: str) -> Recipe:
        """The recipe for the perceptual network of that kind: for VGG-16 with Johnson's layers,
        unless it names others."""
        plain = Recipe()
        named = (self.style_layers, self.content_layers) != (
            plain.style_layers, plain.content_layers,
        )  # fmt: skip
        if kind != "vgg16" or named:
            return self
        return replace(
            self,
            style_layers=dict(_VGG16_STYLE_LAYERS),
            content_layers=dict(_VGG16_CONTENT_LAYERS),
        )

    def crop_at(self, step: int) -> int:
        return self.finish_crop if step >= self.updates - self.finish else self.crop

    def lr_at(self, step: int) -> float:
        if step < self.warm_up:
            return self.lr * (step + 1) / self.warm_up
        t = (step - self.warm_up) / max(1, self.updates - self.warm_up)
        return self.lr_end + (self.lr - self.lr_end) * 0.5 * (1 + math.cos(math.pi * min(t, 1.0)))
