"""Magenta's arbitrary image stylization (Ghiasi et al. 2017) from TensorFlow.js files.

Two nets: MobileNetV2 looks at a painting and gives 100 numbers, the transformer paints a picture by
them: every norm's scale and shift is a linear function of the 100. The published files pad with
zeros, where the paper mirrors; which one it is shows in the names. Both published transformers are
read: plain convolutions, and the smaller one of separable ones.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from rtstyle.errors import ModelError
from rtstyle.importers.base import Imported, load_weights
from rtstyle.importers.files import CheckpointFile
from rtstyle.nets.layers import upsample

_BATCH_EPS, _STYLE_EPS = 1e-3, 1e-5
_BLOCKS = 5
_MOBILE_BLOCKS = 17
_HALVING = {1, 3, 6, 13}  # blocks of MobileNetV2 that halve the size

Tensors = dict[str, NDArray[Any]]


def recognise(files: Sequence[CheckpointFile]) -> Imported | None:
    """The net in the two manifests, in any order. Raises `ModelError` when one is missing."""
    files = [file for file in files if file.kind == "tensorflow.js"]
    transformer = next(
        (f for f in files if "transformer/contract/conv1/weights" in f.tensors), None
    )
    looker = next((f for f in files if "mobilenet_conv/Conv/weights" in f.tensors), None)
    if transformer is None and looker is None:
        return None
    if transformer is None or looker is None:
        missing = (
            "style net (saved_model_style_js)"
            if looker is None
            else ("transformer (saved_model_transformer_js)")
        )
        raise ModelError(
            f"Magenta's model is two nets: name the model.json of the {missing} too. The style net "
            "must be the MobileNet one."
        )
    _require_no_dilation(transformer)
    theirs = transformer.tensors
    first, deep = theirs["transformer/contract/conv1/weights"], "transformer/contract/conv3/weights"
    separable = "transformer/expand/conv1/dilate_conv/depthwise_weights" in theirs
    net = Magenta(
        widths=(
            first.shape[3],
            theirs["transformer/contract/conv2/weights"].shape[3],
            theirs[deep].shape[3],
        ),
        style_size=looker.tensors["mobilenet_conv/Conv/weights"].shape[3],
        separable=separable,
        mirrored=any("MirrorPad" in name for name in theirs),
        mobile=_mobile_widths(looker.tensors),
    )
    weights = _transformer_weights(net, theirs) | _looker_weights(net, looker.tensors)
    load_weights(net, weights, of=f"{transformer.path} and {looker.path}")
    return Imported(net, "magenta", "magenta/arbitrary_image_stylization")


class Magenta(nn.Module):
    """Any painting as a style of 100 numbers.

    (N, 3, H, W) float RGB in [0, 1], (N, S) and (N,) strength → (N, 3, H, W) float. H and W are
    multiples of 4. The strength mixes picture and painting.
    """

    stride = 4
    image_size = 256

    def __init__(
        self,
        *,
        widths: Sequence[int],
        style_size: int,
        separable: bool,
        mirrored: bool,
        mobile: Sequence[tuple[int, int]],
    ) -> None:
        super().__init__()
        self.options = {"widths": list(widths), "separable": separable, "mirrored": mirrored}
        self.style_size = style_size
        w1, w2, w3 = widths
        common: dict[str, Any] = {"mirrored": mirrored}
        self.contract = nn.ModuleList(
            (
                _Conv(3, w1, 9, **common),
                _Conv(w1, w2, stride=2, **common),
                _Conv(w2, w3, stride=2, **common),
            )
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(w, eps=_BATCH_EPS) for w in widths)
        common["separable"] = separable
        self.residual = nn.ModuleList(
            _StyledConv(w3, w3, style_size, **common) for _ in range(2 * _BLOCKS)
        )
        self.expand = nn.ModuleList(
            (
                _StyledConv(w3, w2, style_size, **common),
                _StyledConv(w2, w1, style_size, **common),
                _StyledConv(w1, 3, style_size, 9, **common),
            )
        )
        self.looker = _MobileNet(mobile, style_size)

    def encode(self, painting: Tensor) -> Tensor:
        """The style vector of a painting: (N, 3, H, W) → (N, S)."""
        height, width = painting.shape[2:]
        out: Tensor = self.looker(painting[..., : height // 32 * 32, : width // 32 * 32])
        return out

    def forward(self, x: Tensor, style: Tensor, strength: Tensor | None = None) -> Tensor:
        picture = x
        for conv, norm in zip(self.contract, self.norms, strict=True):
            x = F.relu(norm(conv(x).float()).to(picture.dtype))
        for i in range(0, 2 * _BLOCKS, 2):
            x = x + self.residual[i + 1](F.relu(self.residual[i](x, style)), style)
        x = F.relu(self.expand[0](upsample(x), style))
        x = F.relu(self.expand[1](upsample(x), style))
        painted: Tensor = self.expand[2](x, style).sigmoid()
        if strength is None:
            return painted
        return picture + (painted - picture) * strength[:, None, None, None]


class _Conv(nn.Module):
    def __init__(
        self,
        c_in: int,
        c_out: int,
        size: int = 3,
        *,
        stride: int = 1,
        mirrored: bool,
        separable: bool = False,
    ) -> None:
        super().__init__()
        self.pad, self.mode = size // 2, "reflect" if mirrored else "constant"
        groups = c_in if separable else 1
        between = c_in if separable else c_out
        self.kernel = nn.Conv2d(c_in, between, size, stride, groups=groups, bias=False)
        self.point = nn.Conv2d(c_in, c_out, 1, bias=False) if separable else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.point(self.kernel(F.pad(x, (self.pad,) * 4, mode=self.mode)))
        return out


class _StyledConv(nn.Module):
    """Convolution and instance norm, whose scale and shift the style tells."""

    def __init__(
        self, c_in: int, c_out: int, style_size: int, size: int = 3, *, mirrored: bool,
        separable: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.conv = _Conv(c_in, c_out, size, mirrored=mirrored, separable=separable)
        self.shift = nn.Linear(style_size, c_out)
        self.scale = nn.Linear(style_size, c_out)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        y: Tensor = F.instance_norm(self.conv(x).float(), eps=_STYLE_EPS)
        style = style.float()
        y = y * self.scale(style)[..., None, None] + self.shift(style)[..., None, None]
        return y.to(x.dtype)


class _MobileNet(nn.Module):
    """MobileNetV2 (Sandler et al. 2018) with TensorFlow's padding; sides are multiples of 32."""

    def __init__(self, widths: Sequence[tuple[int, int]], style_size: int) -> None:
        super().__init__()
        c = widths[0][0]  # of the stem; then (expanded, projected) of each block
        self.stem = _MobileConv(3, c, 3, 2)
        self.blocks = nn.ModuleList()
        for i, (expanded, projected) in enumerate(widths[1:-1]):
            block = nn.ModuleDict()
            if i:
                block["expand"] = _MobileConv(c, expanded, 1)
            stride = 2 if i in _HALVING else 1
            block["depthwise"] = _MobileConv(expanded, expanded, 3, stride, groups=expanded)
            block["project"] = _MobileConv(expanded, projected, 1, relu=False)
            self.blocks.append(block)
            c = projected
        self.head = _MobileConv(c, widths[-1][0], 1)
        self.out = nn.Linear(widths[-1][0], style_size)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for i, block in enumerate(self.blocks):
            y = x
            for part in ("expand", "depthwise", "project"):
                if part in block:  # type: ignore[operator]
                    y = block[part](y)  # type: ignore[index]
            x = x + y if i not in _HALVING and x.shape[1] == y.shape[1] else y
        out: Tensor = self.out(self.head(x).mean((2, 3)))
        return out


class _MobileConv(nn.Module):
    def __init__(
        self, c_in: int, c_out: int, size: int, stride: int = 1, *, groups: int = 1,
        relu: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        before = (size - stride) // 2  # TensorFlow pads the end more than the start
        self.pad = (before, size - stride - before) * 2 if size > 1 else (0, 0, 0, 0)
        self.kernel = nn.Conv2d(c_in, c_out, size, stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(c_out, eps=_BATCH_EPS)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.kernel(F.pad(x, self.pad)))
        return F.relu6(x) if self.relu else x


def _transformer_weights(net: Magenta, theirs: Tensors) -> Tensors:
    weights: Tensors = {}
    for i in (1, 2, 3):
        scope = f"transformer/contract/conv{i}"
        weights |= _kernel(theirs, scope, f"contract.{i - 1}")
        weights |= _batch_norm(theirs, f"{scope}/BatchNorm", f"norms.{i - 1}")
    for i in range(2 * _BLOCKS):
        block, conv = f"residual/residual{i // 2 + 1}", f"conv{i % 2 + 1}"
        weights |= _styled(theirs, block, conv, f"residual.{i}")
    for i in (1, 2, 3):
        weights |= _styled(theirs, f"expand/conv{i}", "conv", f"expand.{i - 1}")
    return weights


def _styled(theirs: Tensors, scope: str, conv: str, ours: str) -> Tensors:
    places = (f"transformer/{scope}/{conv}", f"transformer/{scope}/dilate_{conv}")
    weights: Tensors = {}
    for place in places:
        weights |= _kernel(theirs, place, f"{ours}.conv")
    for name, part in (("Conv", "shift"), ("Conv_1", "scale")):
        prefix = f"style_params/transformer/{scope}/{conv}/StyleNorm/{name}"
        if f"{prefix}/weights" in theirs:
            weights[f"{ours}.{part}.weight"] = theirs[f"{prefix}/weights"][0, 0].T
            weights[f"{ours}.{part}.bias"] = theirs[f"{prefix}/biases"]
    return weights


def _kernel(theirs: Tensors, scope: str, ours: str) -> Tensors:
    """A convolution's weights; TensorFlow has (height, width, in, out)."""
    weights: Tensors = {}
    if f"{scope}/weights" in theirs:
        weights[f"{ours}.kernel.weight"] = theirs[f"{scope}/weights"].transpose(3, 2, 0, 1)
    if f"{scope}/depthwise_weights" in theirs:
        depthwise = theirs[f"{scope}/depthwise_weights"]
        weights[f"{ours}.kernel.weight"] = depthwise.transpose(2, 3, 0, 1)
    if f"{scope}/pointwise_weights" in theirs:
        pointwise = theirs[f"{scope}/pointwise_weights"]
        weights[f"{ours}.point.weight"] = pointwise.transpose(3, 2, 0, 1)
    return weights


def _batch_norm(theirs: Tensors, scope: str, ours: str) -> Tensors:
    if f"{scope}/beta" not in theirs:
        return {}
    beta = theirs[f"{scope}/beta"]
    return {
        f"{ours}.weight": theirs.get(f"{scope}/gamma", np.ones_like(beta)),
        f"{ours}.bias": beta,
        f"{ours}.running_mean": theirs[f"{scope}/moving_mean"],
        f"{ours}.running_var": theirs[f"{scope}/moving_variance"],
        f"{ours}.num_batches_tracked": np.array(0),
    }


def _looker_weights(net: Magenta, theirs: Tensors) -> Tensors:
    scopes = {"MobilenetV2/Conv": "stem", "MobilenetV2/Conv_1": "head"}
    for i in range(len(net.looker.blocks)):
        for part in ("expand", "depthwise", "project"):
            scopes[f"MobilenetV2/{_block_name(i)}/{part}"] = f"blocks.{i}.{part}"
    weights: Tensors = {}
    for scope, ours in scopes.items():
        weights |= _kernel(theirs, scope, f"looker.{ours}")
        weights |= _batch_norm(theirs, f"{scope}/BatchNorm", f"looker.{ours}.norm")
    weights["looker.out.weight"] = theirs["mobilenet_conv/Conv/weights"][0, 0].T
    weights["looker.out.bias"] = theirs["mobilenet_conv/Conv/biases"]
    return weights


def _mobile_widths(theirs: Tensors) -> list[tuple[int, int]]:
    """The stem's width, (expanded, projected) of each block, the head's width."""
    try:
        widths = [(theirs["MobilenetV2/Conv/weights"].shape[3], 0)]
        for i in range(_MOBILE_BLOCKS):
            scope = f"MobilenetV2/{_block_name(i)}"
            expanded = theirs[f"{scope}/depthwise/depthwise_weights"].shape[2]
            widths.append((expanded, theirs[f"{scope}/project/weights"].shape[3]))
        widths.append((theirs["MobilenetV2/Conv_1/weights"].shape[3], 0))
    except KeyError as error:
        raise ModelError(f"The style net is no whole MobileNetV2: {error} is missing.") from None
    return widths


def _block_name(i: int) -> str:
    return f"expanded_conv_{i}" if i else "expanded_conv"


def _require_no_dilation(file: CheckpointFile) -> None:
    """Weights do not show whether a convolution is dilated; the graph beside them does."""
    ops = set(re.findall(r'"op"\s*:\s*"(\w+)"', file.content or ""))
    rates = re.findall(r'"dilations"\s*:\s*{\s*"list"\s*:\s*{[^}]*"i"\s*:\s*\[([^\]]*)\]',
                       file.content or "")  # fmt: skip
    if "SpaceToBatchND" in ops or any(set(re.findall(r"\d+", rate)) - {"1"} for rate in rates):
        raise ModelError(f"{file.path} has dilated convolutions, which Magenta's nets do not.")
