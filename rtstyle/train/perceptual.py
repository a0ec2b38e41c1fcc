"""The perceptual network: the fixed classifier whose features the losses compare.

Three kinds of weights file are recognised by their names and shapes: the compressed VGG-19 of Wang
et al. (CVPR 2020, collaborative distillation), and torchvision's VGG-16 and VGG-19. None is ever
downloaded, except where somebody names "vgg16" itself.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from rtstyle.errors import InputNotFoundError, TrainingError
from rtstyle.nets.layers import Conv, channels_last
from rtstyle.train.winograd import FixedConv

_log = logging.getLogger("rtstyle")

STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
CONTENT_LAYER = "relu4_1"
JOHNSON_STYLE_LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")  # Johnson et al. 2016, §4.1
JOHNSON_CONTENT_LAYER = "relu3_3"

_CONVS = {16: (2, 2, 3, 3, 1), 19: (2, 2, 4, 4, 1)}  # up to relu5_1, the deepest a loss reads
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
VGG16 = "vgg16"  # named in place of a file: fetch_vgg16
VGG16_URL = "https://download.pytorch.org/models/vgg16-397923af.pth"  # the hash is in the name
_WHERE = (
    "Pass the compressed VGG-19 (vgg19_16x.safetensors, from the MIT-licensed "
    "Collaborative-Distillation project) or torchvision's vgg16 / vgg19 weights with "
    "--loss-net FILE."
)


class PerceptualNet(nn.Module):
    """VGG up to relu5_1 as a dictionary of activations.

    (N, 3, H, W) float RGB in [0, 1] → {"reluK_i": (N, C_K, H / 2^(K-1), W / 2^(K-1))}.
    Weights are fixed. H and W are at least 32. `kind` names the weights: vgg16, vgg19 or vgg19_16x.
    """

    def __init__(
        self,
        stages: list[list[nn.Conv2d]],
        *,
        preprocess: nn.Module,
        maps: list[nn.Conv2d] | None = None,
        kind: str = "",
    ) -> None:
        super().__init__()
        self.kind = kind
        self.preprocess = preprocess
        self.stages = nn.ModuleList(nn.ModuleList(stage) for stage in stages)
        self.maps = nn.ModuleList(maps) if maps else None
        self.requires_grad_(False).eval()
        channels_last(self)

    def forward(self, x: Tensor, layers: Collection[str] = STYLE_LAYERS) -> dict[str, Tensor]:
        """The activations of `layers`, computed no deeper than the deepest of them.

        Raises `TrainingError` for a layer that the network does not have.
        """
        if unknown := set(layers) - set(self.layers):
            raise TrainingError(
                f"The perceptual network has no layer {', '.join(sorted(unknown))}; it has "
                f"{', '.join(self.layers)}."
            )
        features: dict[str, Tensor] = {}
        x = self.preprocess(x)
        for k, stage in enumerate(self.stages, start=1):
            if k > 1:
                x = F.max_pool2d(x, 2)
            for i, conv in enumerate(stage, start=1):  # type: ignore[var-annotated, arg-type]
                x = F.relu(conv(x))
                if (name := f"relu{k}_{i}") in layers:
                    mapped = i == 1 and self.maps is not None
                    features[name] = self.maps[k - 1](x) if mapped else x  # type: ignore[index]
                    if len(features) == len(set(layers)):
                        return features
        return features

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of all layers, from the picture on."""
        return tuple(
            f"relu{k}_{i}"
            for k, stage in enumerate(self.stages, start=1)
            for i in range(1, len(stage) + 1)  # type: ignore[arg-type]
        )


class _Normalise(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(_IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(_IMAGENET_STD).view(1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std  # type: ignore[operator]


def load_perceptual_net(path: str | Path) -> PerceptualNet:
    """Load the weights file at `path`, or with "vgg16" torchvision's from torch's own cache, which
    `fetch_vgg16` fills.

    Raises `InputNotFoundError` when there is no such file and `TrainingError` when it holds
    something else, or cannot be fetched.
    """
    path = Path(path)
    if str(path) == VGG16 and not path.exists():
        path = fetch_vgg16()
    if not path.is_file():
        raise InputNotFoundError(f"There are no perceptual network weights at {path}. {_WHERE}")
    weights = _read(path)
    if "conv11_aux.weight" in weights:
        return _compressed(weights, path)
    if "features.0.weight" in weights:
        return _torchvision(weights, path)
    raise TrainingError(
        f"{path} holds no perceptual network that rtstyle knows; its "
        f"first tensors are {', '.join(sorted(weights)[:3]) or 'none'}. {_WHERE}"
    )


def cached_vgg16() -> Path:
    """Where torch keeps torchvision's VGG-16, whether it is there or not."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(VGG16_URL).name


def fetch_vgg16() -> Path:
    """The file of torchvision's VGG-16 weights, fetched with a progress bar if it is not there yet.

    Raises `TrainingError` when it cannot be fetched, or is not what its hash says.
    """
    path = cached_vgg16()
    if path.is_file():
        return path
    _log.warning("Fetching torchvision's VGG-16 weights, 528 MB: %s to %s.", VGG16_URL, path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        hash_prefix = path.stem.rpartition("-")[2]
        torch.hub.download_url_to_file(VGG16_URL, str(path), hash_prefix=hash_prefix)
    except (OSError, RuntimeError) as error:  # no network, a full disk, another hash
        raise TrainingError(
            f"The VGG-16 weights cannot be fetched from {VGG16_URL} ({error}); fetch them on "
            "another machine and pass them with --loss-net FILE."
        ) from error
    return path


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # each format's reader has its own tree of errors
        # PyTorch's own text is long, and recommends to load the file without care.
        raise TrainingError(
            f"{path} is no file of weights, neither of PyTorch nor of safetensors. {_WHERE}"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise TrainingError(f"{path} holds no plain dictionary of tensors. {_WHERE}")
    return state


def _conv(
    weights: dict[str, Tensor], name: str, path: Path, *, padding_mode: Literal["zeros", "reflect"]
) -> nn.Conv2d:
    try:
        weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        c_out, c_in, kernel, _ = weight.shape
        conv = Conv(c_in, c_out, kernel) if padding_mode == "reflect" else FixedConv(c_in, c_out)
        conv.load_state_dict({"weight": weight.float(), "bias": bias.float()})
    except (KeyError, RuntimeError, IndexError) as error:
        raise TrainingError(f"{path} lacks a usable layer {name}. {_WHERE}") from error
    return conv


def _compressed(weights: dict[str, Tensor], path: Path) -> PerceptualNet:
    def conv(name: str) -> nn.Conv2d:
        return _conv(weights, name, path, padding_mode="reflect")

    stages = [
        [conv(f"conv{k}{i}") for i in range(1, count + 1)]
        for k, count in enumerate(_CONVS[19], start=1)
    ]
    maps = [_isometric(conv(f"conv{k}1_aux")) for k in range(1, 6)]
    return PerceptualNet(stages, preprocess=conv("conv0"), maps=maps, kind="vgg19_16x")


def _isometric(aux: nn.Conv2d) -> nn.Conv2d:
    """A 1×1 convolution with few outputs that keeps every distance of the wide one.

    The auxiliary layers map the C small features to VGG-19's 64–512 channels, x → A·[x, 1]. Losses
    only compare squared distances of features and of Gram matrices there, and both depend on A
    through AᵀA = L·Lᵀ alone, so x → Lᵀ·[x, 1] with C + 1 channels gives the very same values at a
    fraction of the cost.
    """
    matrix = torch.cat([aux.weight.flatten(1), aux.bias[:, None]], 1).double()  # type: ignore[index]
    factor = torch.linalg.cholesky(matrix.T @ matrix).T.float()  # (C + 1, C + 1)
    conv = nn.Conv2d(aux.in_channels, len(factor), 1)
    conv.load_state_dict({"weight": factor[:, :-1, None, None], "bias": factor[:, -1]})
    return conv


def _torchvision(weights: dict[str, Tensor], path: Path) -> PerceptualNet:
    # `features` numbers convolutions, ReLUs and pools in one sequence, so the depth shows in
    # where the third stage ends: VGG-16 pools at 16, VGG-19 has its fourth convolution there.
    depth = 19 if "features.16.weight" in weights else 16
    counts = _CONVS[depth]
    stages, index = [], 0
    for count in counts:
        stages.append(
            [
                _conv(weights, f"features.{index + 2 * i}", path, padding_mode="zeros")
                for i in range(count)
            ]
        )
        index += 2 * count + 1
    return PerceptualNet(stages, preprocess=_Normalise(), kind=f"vgg{depth}")
