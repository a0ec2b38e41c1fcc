"""Any painting as a style, at a cost that a plain CPU runs in real time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rtstyle.nets.fast import Fast
from rtstyle.nets.layers import InstanceNorm
from rtstyle.nets.statistics import Encoder, vector


class FastAdaIN(nn.Module):
    """The net `Fast` with adaptive instance norm at every norm: scales and shifts come from the
    painting's statistics (Huang & Belongie 2017) through two small layers that learn what they
    mean for each norm (Ghiasi et al. 2017, "Exploring the structure of a real-time, arbitrary
    neural artistic stylization network").

    Plain AdaIN at relu4_1 recolours more than it paints; a net whose every norm knows the style
    has strokes. The encoder, VGG-19 up to relu4_1 at half resolution, sees the painting once, and
    the picture only to mix in feature space: at strength α the net gets statistics that are α of
    the way from the picture's own, which it learnt to answer with the picture, to the painting's.

    (N, 3, H, W) float RGB in [0, 1], (N, S) statistics and (N,) strength, 1 by default
    → (N, 3, H, W) float, not clamped. H and W are multiples of 16, and at least 32.
    """

    stride = 16
    image_size = 448  # pixels of a style image's short side, which decides the strokes' size

    def __init__(
        self,
        *,
        channels: Sequence[int] = (16, 32, 64, 128),
        hidden: int = 192,
        code: int = 96,
        width: int = 32,
        deep: int = 96,
        blocks: int = 5,
        tail: int = 24,
    ) -> None:
        super().__init__()
        self.options = {
            "channels": list(channels), "hidden": hidden, "code": code,
            "width": width, "deep": deep, "blocks": blocks, "tail": tail,
        }  # fmt: skip
        self.style_size = 2 * sum(channels)
        self.encoder = Encoder(channels)
        # How large statistics usually are: set from paintings before training (`calibrate`).
        self.center = nn.Buffer(torch.zeros(self.style_size))
        self.spread = nn.Buffer(torch.ones(self.style_size))
        self.hidden = nn.Linear(self.style_size, hidden)
        self.code = nn.Linear(hidden, code)
        # a constant in front of the code: what all styles have in common
        stylizer = Fast(width=width, deep=deep, blocks=blocks, tail=tail, styles=code + 1)
        self.add_module("painter", stylizer)  # its name in checkpoints and model files
        for module in stylizer.modules():
            if isinstance(module, InstanceNorm):
                nn.init.zeros_(module.weight[1:])

    @property
    def stylizer(self) -> nn.Module:
        """The part that paints, whose norms the style code steers."""
        return self.get_submodule("painter")

    def encode(self, style_image: Tensor) -> Tensor:
        """The style vector of a style image: (N, 3, H, W) → (N, S)."""
        return vector(self.encoder(F.avg_pool2d(style_image, 2)))

    @torch.no_grad()
    def calibrate(self, styles: Tensor) -> None:
        """Take the usual size of statistics from those of many paintings (M, S)."""
        self.center.copy_(styles.mean(0))
        self.spread.copy_(styles.std(0) + 1e-3 * styles.abs().mean())

    def forward(self, x: Tensor, style: Tensor, strength: Tensor | None = None) -> Tensor:
        if strength is not None:
            own = self.encode(x)
            style = own + (style - own) * strength[:, None]
        usual = ((style.float() - self.center) / self.spread).clamp(-5, 5)
        code = self.code(F.relu(self.hidden(usual)))
        out: Tensor = self.stylizer(x, torch.cat([torch.ones_like(code[:, :1]), code], 1))
        return out
