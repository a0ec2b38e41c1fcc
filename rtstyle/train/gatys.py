"""Style transfer by optimising the picture itself: slow, and the reference for every net.

Gatys et al., "A Neural Algorithm of Artistic Style", 2015.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from rtstyle.errors import TrainingError
from rtstyle.train.losses import content_loss, tv_loss
from rtstyle.train.perceptual import CONTENT_LAYER, PerceptualNet
from rtstyle.train.style_losses import Features, Gram, StyleLoss

ADAM_LR = 0.02  # of pixels in [0, 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """How much each relative loss counts; `style` is one number, or one for every layer."""

    content: float = 1.0
    style: float | Mapping[str, float] = 10.0
    tv: float = 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """One evaluation: how many are done, each loss before its weight, and the picture so far."""

    done: int
    losses: dict[str, float]
    picture: Tensor  # (1, 3, H, W) float, not clamped; changes with the next step


class Objective:
    """What a painted picture is to minimise: (1, 3, H, W) float in [0, 1] → its losses by name.

    `style` is what `style_loss` keeps of the painting, at the layers it holds; content is compared
    at `content_layer`.
    """

    def __init__(
        self,
        photo: Tensor,
        style: Features,
        *,
        loss_net: PerceptualNet,
        weights: Weights,
        style_loss: StyleLoss | None = None,
        content_layer: str = CONTENT_LAYER,
    ) -> None:
        self.weights, self._content_layer = weights, content_layer
        self._loss_net, self._style, self._style_loss = loss_net, style, style_loss or Gram()
        with torch.no_grad():
            self._content = loss_net(photo, (content_layer,))[content_layer]

    def __call__(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum, a scalar, and the losses, each (1,)."""
        features = self._loss_net(x, (*self._style, self._content_layer))
        w = self.weights
        layers = {
            name: self._style_loss.distance(features[name], kept)
            for name, kept in self._style.items()
        }
        losses = {
            "content": content_loss(features[self._content_layer], self._content),
            "style": _sum(layers.values()),
        }
        if isinstance(w.style, Mapping):
            style = _sum(w.style[name] * distance for name, distance in layers.items())
        else:
            style = w.style * losses["style"]
        total = w.content * losses["content"] + style
        if w.tv:
            losses["tv"] = tv_loss(x)
            total = total + w.tv * losses["tv"]
        return total.sum(), losses


def optimise(
    start: Tensor,
    objective: Objective,
    *,
    method: Literal["lbfgs", "adam"] = "lbfgs",
    steps: int = 100,
    on_step: Callable[[Step], None] = lambda step: None,
) -> Tensor:
    """Change the picture `start` (1, 3, H, W) float in [0, 1] until it minimises `objective`.

    Returns a picture of the same shape, clamped. Raises `TrainingError` when a loss is no number
    any more.
    """
    x = start.clone(memory_format=torch.contiguous_format).requires_grad_(True)
    optimizer: torch.optim.Optimizer
    if method == "lbfgs":
        # Tolerances of zero: pixel gradients of a relative loss are far below the defaults.
        optimizer = torch.optim.LBFGS(
            [x], max_iter=steps, max_eval=steps + 1, history_size=50,
            tolerance_grad=0, tolerance_change=0,
        )  # fmt: skip
    else:
        optimizer = torch.optim.Adam([x], lr=ADAM_LR)
    done = 0

    def closure() -> Tensor:
        nonlocal done
        optimizer.zero_grad()
        loss, parts = objective(x)
        losses = {name: float(part.detach().sum()) for name, part in parts.items()}
        _check(losses, float(loss.detach()), done + 1)
        loss.backward()  # type: ignore[no-untyped-call]
        done += 1
        on_step(Step(done, losses, x.detach()))
        return loss

    if method == "lbfgs":  # one step of it is the whole optimisation
        optimizer.step(closure)  # type: ignore[no-untyped-call]
    else:
        for _ in range(steps):
            optimizer.step(closure)  # type: ignore[no-untyped-call]
            with torch.no_grad():
                x.clamp_(0, 1)
    return x.detach().clamp(0, 1)


def paint(
    photo: Tensor,
    style: Features,
    *,
    loss_net: PerceptualNet,
    steps: int = 100,
    style_weight: float = 10.0,
    on_step: Callable[[Step], None] = lambda step: None,
) -> Tensor:
    """Paint `photo` (1, 3, H, W) float in [0, 1] by L-BFGS, starting from the photograph.

    `style` holds the Gram matrices of the painting. Minimises the relative content loss plus
    `style_weight` times the relative style loss and returns a picture of the same shape, clamped.
    """
    objective = Objective(photo, style, loss_net=loss_net, weights=Weights(style=style_weight))
    return optimise(photo, objective, steps=steps, on_step=on_step)


def _sum(tensors: Iterable[Tensor]) -> Tensor:
    first, *others = tensors
    return sum(others, first)


def _check(losses: dict[str, float], total: float, step: int) -> None:
    for name, value in (*losses.items(), ("weighted", total)):
        if not math.isfinite(value):
            raise TrainingError(
                f"The {name} loss became {value} at step {step}; lower its weight, or choose the "
                "other optimiser."
            )


# The setting of most programs: squared errors as they are, content 1, style 10,000, Adam:
#
#     1 · mean (F − F_photo)² + 10⁴ · Σ over layers of mean (G − G_style)²,   G = F Fᵀ / (C·H·W)
#
# with VGG-19's features F of C channels: content at relu4_2 (here relu4_1, the nearest that the
# losses read), style at relu1_1 … relu5_1. Our losses are relative: the same errors divided by the
# energy of the photograph or of the style image, so a setting of one kind is a setting of the other
# with each weight multiplied by that energy. Only then does one number depend on the picture, on
# the style image and on the scale of the weights file, which is why it is not the default.

CONTENT_WEIGHT, STYLE_WEIGHT = 1.0, 1e4
# Of VGG-16 and VGG-19. The compressed network keeps their distances with fewer channels.
_WIDTHS = {"relu1_1": 64, "relu2_1": 128, "relu3_1": 256, "relu4_1": 512, "relu5_1": 512}


def classic_weights(photo: Features, grams: Features, *, content: float, style: float) -> Weights:
    """The weights of the relative losses that are `content` and `style` of the squared errors.

    `photo` are the features of the photograph (1, C, H, W), `grams` what `Gram` keeps of the
    painting (1, C, C).
    """
    features = photo[CONTENT_LAYER].float()
    n_values = _WIDTHS[CONTENT_LAYER] * features[0, 0].numel()
    layers = {}
    for name, kept in grams.items():
        width = _WIDTHS[name]
        as_wide = kept * (kept.shape[1] / width)  # divided by C·H·W with VGG's own C
        layers[name] = style * float(as_wide.square().sum()) / width**2
    energy = float(features.square().sum()) / n_values
    return Weights(content=content * energy, style=layers)
