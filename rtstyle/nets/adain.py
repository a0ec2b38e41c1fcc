"""Arbitrary styles by adaptive instance normalisation (Huang & Belongie, ICCV 2017): the net as the
paper writes it, one that a plain CPU runs in real time, and the statistics that steer both."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rtstyle.nets.fast import Fast
from rtstyle.nets.layers import Conv, InstanceNorm, upsample


class AdaIN(nn.Module):
    """Any painting as a style: relu4_1 of the picture is given the statistics of the painting's,
    and a decoder that mirrors the encoder, without norms, turns that into a picture.

    The encoder's weights are the perceptual network's. `channels` are its widths: (64, 128, 256,
    512) is VGG-19, the default the sixteenfold compressed one. `correction` is that of the
    statistics, see `statistics`.

    (N, 3, H, W) float RGB in [0, 1], (N, S) statistics and (N,) strength, 1 by default
    → (N, 3, H, W) float, not clamped. H and W are multiples of 8, and at least 32.
    """

    stride = 8
    image_size = 448  # pixels of a style image's short side, which decides the strokes' size

    def __init__(self, *, channels: Sequence[int] = (16, 32, 64, 128), correction: int = 0) -> None:
        super().__init__()
        self.options: dict[str, list[int] | int] = {"channels": list(channels)}
        if correction:
            self.options["correction"] = correction
        self.correction = correction
        c1, c2, c3, c4 = channels
        self.style_size = 2 * c4
        self.encoder = Encoder(channels)
        self.deep = Conv(c4, c3)
        self.third = nn.ModuleList([Conv(c3, c3), Conv(c3, c3), Conv(c3, c3), Conv(c3, c2)])
        self.second = nn.ModuleList([Conv(c2, c2), Conv(c2, c1)])
        self.first = Conv(c1, c1)
        self.out = Conv(c1, 3)

    def encode(self, painting: Tensor) -> Tensor:
        """The style vector of a painting: (N, 3, H, W) → (N, S)."""
        return torch.cat(statistics(self.encoder(painting)[-1], self.correction), 1)

    def forward(self, x: Tensor, style: Tensor, strength: Tensor | None = None) -> Tensor:
        content = self.encoder(x)[-1]  # (N, c4, H/8, W/8)
        if strength is not None:
            own = torch.cat(statistics(content, self.correction), 1)
            style = own + (style - own) * strength[:, None]
        mean, deviation = style.chunk(2, dim=1)
        styled = adaptive_instance_norm(content, mean, deviation, self.correction)
        x = upsample(F.relu(self.deep(styled)))
        for conv in self.third:
            x = F.relu(conv(x))
        x = upsample(x)  # (N, c2, H/2, W/2)
        for conv in self.second:
            x = F.relu(conv(x))
        out: Tensor = self.out(F.relu(self.first(upsample(x))))
        return out


_EPS = 1e-5


class Encoder(nn.Module):
    """VGG-19 up to relu4_1 with fixed weights, of any width (Huang & Belongie 2017, §6.1).

    (N, 3, H, W) float RGB in [0, 1] → activations of relu1_1, relu2_1, relu3_1, relu4_1, each
    half as wide and high as the one before.
    """

    CONVS = (2, 2, 4, 1)  # of each stage; of the last one only what relu4_1 needs

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.preprocess = nn.Conv2d(3, 3, 1)
        self.stages = nn.ModuleList()
        c_in = 3
        for c_out, count in zip(channels, self.CONVS, strict=True):
            stage = nn.ModuleList()
            for _ in range(count):
                stage.append(nn.Conv2d(c_in, c_out, 3, padding=1, padding_mode="reflect"))
                c_in = c_out
            self.stages.append(stage)
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> list[Tensor]:
        features = []
        x = self.preprocess(x)
        for k, stage in enumerate(self.stages):
            if k:
                x = F.max_pool2d(x, 2)
            for i, conv in enumerate(stage):  # type: ignore[var-annotated, arg-type]
                x = F.relu(conv(x))
                if i == 0:
                    features.append(x)
        return features


def statistics(x: Tensor, correction: int = 0) -> tuple[Tensor, Tensor]:
    """Mean and deviation of every channel, in float32: (N, C, H, W) → (N, C), (N, C). `correction`
    1 is the unbiased deviation."""
    flat = x.float().flatten(2)
    return flat.mean(2), (flat.var(2, correction=correction) + _EPS).sqrt()


def vector(features: Sequence[Tensor]) -> Tensor:
    """Means and deviations of all levels side by side: the style vector (N, S)."""
    return torch.cat([part for x in features for part in statistics(x)], 1)


def adaptive_instance_norm(
    x: Tensor, mean: Tensor, deviation: Tensor, correction: int = 0
) -> Tensor:
    """Give (N, C, H, W) the mean and deviation (N, C) of a style (Huang & Belongie 2017, eq. 8).

    Moving towards a style by α, α·AdaIN(x) + (1 − α)·x, is the same as giving x statistics that
    are moved by α, which is how the nets here do it.
    """
    own_mean, own_deviation = statistics(x, correction)
    scale = deviation / own_deviation
    shift = mean - own_mean * scale
    return (x.float() * scale[..., None, None] + shift[..., None, None]).to(x.dtype)


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
        out: Tensor = self.stylizer(x, self.style_code(style))
        return out

    def style_code(self, style: Tensor) -> Tensor:
        """What the norms of the stylizer mix for a style: (N, S) → (N, 1 + code) float32."""
        usual = ((style.float() - self.center) / self.spread).clamp(-5, 5)
        code: Tensor = self.code(F.relu(self.hidden(usual)))
        return torch.cat([torch.ones_like(code[:, :1]), code], 1)
