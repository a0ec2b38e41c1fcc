"""The setting of most programs: squared errors as they are, content 1, style 10,000, Adam.

They minimise

    1 · mean (F − F_photo)²  +  10⁴ · Σ over layers of mean (G − G_painting)²,   G = F Fᵀ / (C·H·W)

with VGG-19's features F of C channels: content at relu4_2 (here relu4_1, the nearest that the
losses read), style at relu1_1 … relu5_1. The losses of rtstyle are relative, the same errors
divided by the photograph's or the painting's own energy, so a setting of the one kind is a setting
of the other with each weight multiplied by that energy. Only then does one number depend on the
picture, on the painting and on the scale of the weights file, which is why it is no default.
"""

from __future__ import annotations

from rtstyle.train.gatys import Weights
from rtstyle.train.perceptual import CONTENT_LAYER
from rtstyle.train.style_losses import Features

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
