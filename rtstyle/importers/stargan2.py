"""StarGAN v2 (Choi et al., CVPR 2020): generator and style encoder of clovaai/stargan-v2.

The style vector is the style code of a reference picture, which the style encoder reads for one
domain, such as cats or dogs: `domain`, by number. A generator with the high-pass skip (that of
CelebA-HQ, which needs a face aligner beside it) is refused. Their weights are for non-commercial
use; bring your own copy.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from rtstyle.errors import ModelError
from rtstyle.importers.base import Imported, load_weights
from rtstyle.importers.files import CheckpointFile

_GENERATOR, _ENCODER = "decode.0.norm1.fc.weight", "unshared.0.weight"


def recognise(files: Sequence[CheckpointFile]) -> Imported | None:
    """The net in two files, one a part, in any order."""
    known = [file for file in files if file.kind in ("torch", "safetensors")]
    generators = [file for file in known if _GENERATOR in file.tensors]
    encoders = [file for file in known if _ENCODER in file.tensors]
    if not generators and not encoders:
        return None
    if len(generators) != 1 or len(encoders) != 1:
        raise ModelError(
            "StarGAN v2 is imported from two files: the weights of its generator and those of its "
            "style encoder, which its checkpoint holds under these names."
        )
    generator, encoder = generators[0].tensors, encoders[0].tensors
    widths = [int(generator["from_rgb.weight"].shape[0])]
    while (name := f"encode.{len(widths) - 1}.conv2.weight") in generator:
        widths.append(int(generator[name].shape[0]))
    looks = [int(encoder["shared.0.weight"].shape[0])]
    while (name := f"shared.{len(looks)}.conv2.weight") in encoder:
        looks.append(int(encoder[name].shape[0]))
    if len(widths) != len(looks):
        raise ModelError(
            f"The generator has {len(widths) - 1} blocks, the style encoder {len(looks) - 1}; "
            "as many are expected: one with the high-pass skip needs a face aligner and is not "
            "supported."
        )
    style = int(generator[_GENERATOR].shape[1])
    domains = next(n for n in itertools.count(1) if f"unshared.{n}.weight" not in encoder)
    net = StarGan2(widths=widths, looks=looks, style=style, domains=domains)
    weights = {f"generator.{name}": value for name, value in generator.items()}
    weights |= {f"style_encoder.{name}": value for name, value in encoder.items()}
    load_weights(net, weights, of=f"{generators[0].path.name} and {encoders[0].path.name}")
    return Imported(net, "stargan2", "clovaai/stargan-v2")


class StarGan2(nn.Module):
    """Any reference picture of one domain as a style: of `domain`, from 0 to below `domains`.
    `strength` scales the style's part in every adaptive norm.

    (N, 3, H, W) float RGB in [0, 1], (N, S) and (N,) strength → (N, 3, H, W) float.
    """

    grain = False

    def __init__(
        self, *, widths: Sequence[int], looks: Sequence[int], style: int, domains: int = 1
    ) -> None:
        super().__init__()
        self.options: dict[str, Any] = {
            "widths": list(widths), "looks": list(looks), "style": style, "domains": domains,
        }  # fmt: skip
        self.domains, self.domain = domains, 0
        self.style_size, self.stride = style, 2 ** (len(widths) - 3)
        self.image_size = 2 ** (len(looks) + 1)
        self.generator = _Generator(widths, style)
        self.style_encoder = _StyleEncoder(looks, style, domains)

    def encode(self, painting: Tensor) -> Tensor:
        """The style code of a picture, seen as a square: (N, 3, H, W) → (N, S)."""
        side = self.image_size
        square = F.interpolate(painting, (side, side), mode="bilinear", align_corners=False)
        code: Tensor = self.style_encoder(square * 2 - 1, self.domain)
        return code

    def forward(self, x: Tensor, style: Tensor, strength: Tensor | None = None) -> Tensor:
        y: Tensor = self.generator(x * 2 - 1, style, strength)
        return (y + 1) / 2


class _Generator(nn.Module):
    def __init__(self, widths: Sequence[int], style: int) -> None:
        super().__init__()
        sizes = list(itertools.pairwise(widths))
        n_scaled = len(sizes) - 2  # the last two keep their size
        self.from_rgb = nn.Conv2d(3, widths[0], 3, 1, 1)
        self.encode = nn.ModuleList(
            _Block(a, b, shrinks=i < n_scaled, norm=True) for i, (a, b) in enumerate(sizes)
        )
        self.decode = nn.ModuleList(
            _StyledBlock(b, a, style, grows=i < n_scaled)
            for i, (a, b) in reversed(list(enumerate(sizes)))
        )
        self.to_rgb = nn.Sequential(
            nn.InstanceNorm2d(widths[0], affine=True), nn.LeakyReLU(0.2), nn.Conv2d(widths[0], 3, 1)
        )

    def forward(self, x: Tensor, style: Tensor, strength: Tensor | None) -> Tensor:
        x = self.from_rgb(x)
        for block in self.encode:
            x = block(x)
        for block in self.decode:
            x = block(x, style, strength)
        out: Tensor = self.to_rgb(x)
        return out


class _StyleEncoder(nn.Module):
    def __init__(self, widths: Sequence[int], style: int, domains: int) -> None:
        super().__init__()
        deep = widths[-1]
        self.shared = nn.Sequential(
            nn.Conv2d(3, widths[0], 3, 1, 1),
            *(_Block(a, b, shrinks=True, norm=False)
              for a, b in itertools.pairwise(widths)),
            nn.LeakyReLU(0.2), nn.Conv2d(deep, deep, 4), nn.LeakyReLU(0.2),
        )  # fmt: skip
        self.unshared = nn.ModuleList(nn.Linear(deep, style) for _ in range(domains))

    def forward(self, x: Tensor, domain: int) -> Tensor:
        code: Tensor = self.unshared[domain](self.shared(x).flatten(1))
        return code


class _Block(nn.Module):
    def __init__(self, c_in: int, c_out: int, *, shrinks: bool, norm: bool) -> None:
        super().__init__()
        self.shrinks = shrinks
        self.conv1, self.conv2 = nn.Conv2d(c_in, c_in, 3, 1, 1), nn.Conv2d(c_in, c_out, 3, 1, 1)
        self.norm1: nn.Module = nn.InstanceNorm2d(c_in, affine=True) if norm else nn.Identity()
        self.norm2: nn.Module = nn.InstanceNorm2d(c_in, affine=True) if norm else nn.Identity()
        self.conv1x1 = nn.Conv2d(c_in, c_out, 1, bias=False) if c_in != c_out else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.leaky_relu(self.norm1(x), 0.2))
        x = x if self.conv1x1 is None else self.conv1x1(x)
        if self.shrinks:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
        y = self.conv2(F.leaky_relu(self.norm2(y), 0.2))
        out: Tensor = (x + y) / math.sqrt(2)
        return out


class _StyledNorm(nn.Module):
    def __init__(self, style: int, channels: int) -> None:
        super().__init__()
        self.fc = nn.Linear(style, 2 * channels)

    def forward(self, x: Tensor, style: Tensor, strength: Tensor | None) -> Tensor:
        changes = self.fc(style)
        if strength is not None:
            changes = changes * strength[:, None]
        gamma, beta = changes[..., None, None].to(x.dtype).chunk(2, dim=1)
        out: Tensor = (1 + gamma) * F.instance_norm(x) + beta
        return out


class _StyledBlock(nn.Module):
    def __init__(self, c_in: int, c_out: int, style: int, *, grows: bool) -> None:
        super().__init__()
        self.grows = grows
        self.conv1, self.conv2 = nn.Conv2d(c_in, c_out, 3, 1, 1), nn.Conv2d(c_out, c_out, 3, 1, 1)
        self.norm1, self.norm2 = _StyledNorm(style, c_in), _StyledNorm(style, c_out)
        self.conv1x1 = nn.Conv2d(c_in, c_out, 1, bias=False) if c_in != c_out else None

    def forward(self, x: Tensor, style: Tensor, strength: Tensor | None) -> Tensor:
        y = F.leaky_relu(self.norm1(x, style, strength), 0.2)
        if self.grows:
            x, y = (F.interpolate(z, scale_factor=2.0, mode="nearest") for z in (x, y))
        y = F.leaky_relu(self.norm2(self.conv1(y), style, strength), 0.2)
        x = x if self.conv1x1 is None else self.conv1x1(x)
        out: Tensor = (x + self.conv2(y)) / math.sqrt(2)
        return out
