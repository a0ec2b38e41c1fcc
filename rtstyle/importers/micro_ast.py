"""MicroAST (Wang et al., AAAI 2023): content and style encoder, modulator and decoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from rtstyle.errors import ModelError
from rtstyle.importers.base import Imported, load_weights
from rtstyle.importers.files import CheckpointFile
from rtstyle.nets.adain import adaptive_instance_norm, statistics

_CORRECTION = 1  # its statistics are unbiased
_MARKS = {
    "encoder": "enc1.0.conv_layer.weight",
    "modulator": "weight1.0.conv_layer.weight",
    "decoder": "dec1.conv1.conv_layer.weight",
}


def recognise(files: Sequence[CheckpointFile]) -> Imported | None:
    """The net in the four files. The two encoders look alike: their file names tell them apart."""
    torch_files = [file for file in files if file.kind in ("torch", "safetensors")]
    found = {part: [f for f in torch_files if mark in f.tensors] for part, mark in _MARKS.items()}
    if not any(found.values()):
        return None
    styles = [file for file in found["encoder"] if "style" in file.path.name.lower()]
    contents = [file for file in found["encoder"] if file not in styles]
    parts = {"content encoder": contents, "style encoder": styles,
             "modulator": found["modulator"], "decoder": found["decoder"]}  # fmt: skip
    if wrong := [part for part, held in parts.items() if len(held) != 1]:
        raise ModelError(
            f"MicroAST needs a content encoder, a style encoder (with 'style' in its file name), a "
            f"modulator and a decoder, one file each; look at the {wrong[0]}, of which "
            f"{len(parts[wrong[0]])} were given."
        )
    content, style, modulator, decoder = (held[0] for held in parts.values())
    width = int(content.tensors[_MARKS["encoder"]].shape[0])
    net = MicroAst(width=width)
    weights: dict[str, NDArray[Any]] = {}
    for file, prefix in (
        (content, "content_encoder."),
        (style, "style_encoder."),
        (modulator, "modulator."),
        (decoder, "decoder."),
    ):
        weights |= {f"{prefix}{name}": value for name, value in file.tensors.items()}
    load_weights(net, weights, of="MicroAST")
    return Imported(net, "microast", "EndyWon/MicroAST")


class MicroAst(nn.Module):
    """Any painting as a style, by feature statistics and by filters, from two small encoders.

    The style vector holds, for each of two levels, mean, deviation, filter weight and filter bias.

    (N, 3, H, W) float RGB in [0, 1], (N, 32·width) and (N,) strength → (N, 3, H, W) float. H and W
    are multiples of 4.
    """

    stride = 4
    image_size = 512

    def __init__(self, *, width: int = 16) -> None:
        super().__init__()
        self.options = {"width": width}
        self.style_size = 2 * 4 * 4 * width
        self.content_encoder = _Encoder(width)
        self.style_encoder = _Encoder(width)
        self.modulator = _Modulator(4 * width)
        self.decoder = _Decoder(width)

    def encode(self, painting: Tensor) -> Tensor:
        """The style vector of a painting: (N, 3, H, W) → (N, S)."""
        levels = self.style_encoder(painting)
        parts = []
        for i, level in enumerate(levels):
            parts += [*statistics(level, _CORRECTION), *self.modulator(level, i)]
        return torch.cat(parts, 1)

    def forward(self, x: Tensor, style: Tensor, strength: Tensor | None = None) -> Tensor:
        shallow, deep = style.chunk(2, dim=1)
        x = self.content_encoder(x)[1]
        for modulation, block in ((deep, self.decoder.dec1), (shallow, self.decoder.dec2)):
            mean, deviation, weight, bias = modulation.chunk(4, dim=1)
            if strength is not None:
                own = torch.stack(statistics(x, _CORRECTION), 0)
                moved = own + (torch.stack((mean, deviation), 0) - own) * strength[:, None]
                mean, deviation = moved[0], moved[1]
            styled = adaptive_instance_norm(x, mean, deviation, _CORRECTION)
            x = block(styled, weight, bias)
        out: Tensor = self.decoder.dec3(x)
        return out


class _Conv(nn.Module):
    def __init__(self, c_in: int, c_out: int, size: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.pad = size // 2
        self.conv_layer = nn.Conv2d(c_in, c_out, size, stride, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        if self.pad:
            x = F.pad(x, (self.pad,) * 4, mode="reflect")
        out: Tensor = self.conv_layer(x)
        return out


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = _Conv(channels, channels, 3), _Conv(channels, channels, 3)

    def forward(
        self, x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None
    ) -> Tensor:
        out: Tensor
        first = self.conv1(x)
        if weight is None or bias is None:
            out = x + self.conv2(F.relu(first))
            return out
        weight, bias = (value[..., None, None].to(x.dtype) for value in (weight, bias))
        inner = F.relu(weight * first + bias * x)
        out = x + weight * self.conv2(inner) + bias * inner
        return out


class _Encoder(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        w1, w2, w4 = width, 2 * width, 4 * width
        self.enc1 = nn.Sequential(
            _Conv(3, w1, 9), nn.ReLU(), _Conv(w1, w2, 3, 2, w1), nn.ReLU(), _Conv(w2, w2, 1),
            nn.ReLU(), _Conv(w2, w4, 3, 2, w2), nn.ReLU(), _Conv(w4, w4, 1), nn.ReLU(),
            _Residual(w4),
        )  # fmt: skip
        self.enc2 = nn.Sequential(_Residual(w4))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        shallow = self.enc1(x)
        return shallow, self.enc2(shallow)


class _Modulator(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        for name in ("weight1", "bias1", "weight2", "bias2"):
            setattr(self, name, nn.Sequential(_Conv(channels, channels, 3, groups=channels)))

    def forward(self, x: Tensor, level: int) -> tuple[Tensor, Tensor]:
        parts = (getattr(self, f"{name}{level + 1}")(x) for name in ("weight", "bias"))
        weight, bias = (part.float().mean((2, 3)) for part in parts)
        return weight, bias


class _Decoder(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        w1, w2, w4 = width, 2 * width, 4 * width
        self.dec1, self.dec2 = _Residual(w4), _Residual(w4)
        self.dec3 = nn.Sequential(
            nn.Upsample(scale_factor=2, mode="bilinear"), _Conv(w4, w2, 3, groups=w2), nn.ReLU(),
            _Conv(w2, w2, 1), nn.ReLU(), nn.Upsample(scale_factor=2, mode="bilinear"),
            _Conv(w2, w1, 3, groups=w1), nn.ReLU(), _Conv(w1, w1, 1), nn.ReLU(), _Conv(w1, 3, 9),
        )  # fmt: skip
