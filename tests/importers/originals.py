"""How other projects' nets paint, straight from weights under the projects' own names."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

Weights = dict[str, NDArray[np.float32]]
Shape = tuple[int, ...]
_SCALE = re.compile(r"\bin\d\.(weight|scale)$|variance$|gamma$|Conv_1/biases$")


def weights_of(shapes: dict[str, Shape], seed: int = 0) -> Weights:
    """Random weights that keep signals at their size; norms' scales about 1."""
    rng = np.random.default_rng(seed)
    out = {}
    for name, shape in shapes.items():
        fan = np.prod(shape[1:]) if len(shape) > 1 else 1
        value = rng.normal(0, 0.1 if len(shape) < 2 else (2 / fan) ** 0.5, shape)
        if len(shape) < 2 and _SCALE.search(name):
            value = np.abs(value) + 1
        if name.startswith("deconv3"):  # which paints from 0 to 255
            value = value * 60 + 60 * (len(shape) < 2)
        out[name] = value.astype(np.float32)
    return out


def t(value: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.array(value))


def mirror(x: Tensor, pad: int) -> Tensor:
    return F.pad(x, (pad,) * 4, mode="reflect")


# --- pytorch/examples: values from 0 to 255 -------------------------------------------------------


def examples_shapes(width: int, *, old: bool = False) -> dict[str, Shape]:
    scale, shift = ("scale", "shift") if old else ("weight", "bias")
    channels = [(1, 3, width, 9), (2, width, 2 * width, 3), (3, 2 * width, 4 * width, 3)]
    shapes: dict[str, Shape] = {}
    for i, c_in, c_out, k in channels:
        shapes |= {f"conv{i}.conv2d.weight": (c_out, c_in, k, k), f"conv{i}.conv2d.bias": (c_out,)}
        shapes |= {f"in{i}.{scale}": (c_out,), f"in{i}.{shift}": (c_out,)}
    deep = 4 * width
    for block in range(1, 6):
        for i in (1, 2):
            name = f"res{block}.conv{i}.conv2d"
            shapes |= {f"{name}.weight": (deep, deep, 3, 3), f"{name}.bias": (deep,)}
            shapes |= {f"res{block}.in{i}.{part}": (deep,) for part in (scale, shift)}
    for i, c_in, c_out in ((1, deep, 2 * width), (2, 2 * width, width)):
        name = f"deconv{i}.conv2d"
        shapes |= {f"{name}.weight": (c_out, c_in, 3, 3), f"{name}.bias": (c_out,)}
        shapes |= {f"in{i + 3}.{part}": (c_out,) for part in (scale, shift)}
    shapes |= {"deconv3.conv2d.weight": (3, width, 9, 9), "deconv3.conv2d.bias": (3,)}
    return shapes


def examples_paint(w: Weights, x: Tensor, *, old: bool = False) -> Tensor:
    """(N, 3, H, W) from 0 to 255 → the same."""
    parts = ("scale", "shift") if old else ("weight", "bias")

    def conv(name: str, x: Tensor, stride: int = 1) -> Tensor:
        kernel = t(w[f"{name}.conv2d.weight"])
        return F.conv2d(
            mirror(x, kernel.shape[2] // 2), kernel, t(w[f"{name}.conv2d.bias"]), stride
        )

    def norm(name: str, x: Tensor) -> Tensor:
        weight, bias = (t(w[f"{name}.{part}"]) for part in parts)
        return F.instance_norm(x, weight=weight, bias=bias, eps=1e-5)

    for i, stride in ((1, 1), (2, 2), (3, 2)):
        x = F.relu(norm(f"in{i}", conv(f"conv{i}", x, stride)))
    for i in range(1, 6):
        y = F.relu(norm(f"res{i}.in1", conv(f"res{i}.conv1", x)))
        x = x + norm(f"res{i}.in2", conv(f"res{i}.conv2", y))
    for i in (1, 2):
        x = F.interpolate(x, scale_factor=2, mode="nearest")
        x = F.relu(norm(f"in{i + 3}", conv(f"deconv{i}", x)))
    return conv("deconv3", x)


# --- naoto0804/pytorch-AdaIN ----------------------------------------------------------------------

VGG = (0, 2, 5, 9, 12, 16, 19, 22, 25, 29)
DECODER = (1, 5, 8, 11, 14, 18, 21, 25, 28)


def adain_shapes(c: int) -> tuple[dict[str, Shape], dict[str, Shape]]:
    """Of the encoder and of the decoder; `c` is the width of the first layer, 64 in the original.

    The encoder has layers beyond relu4_1, as the published file does.
    """
    widths = (3, c, c, 2 * c, 2 * c, 4 * c, 4 * c, 4 * c, 4 * c, 8 * c)
    encoder: dict[str, Shape] = {}
    c_in = 3
    for place, c_out in zip((*VGG, 32), (*widths, 8 * c), strict=True):
        k = 1 if place == 0 else 3
        encoder |= {f"{place}.weight": (c_out, c_in, k, k), f"{place}.bias": (c_out,)}
        c_in = c_out
    decoder: dict[str, Shape] = {}
    c_in = 8 * c
    for place, c_out in zip(
        DECODER, (4 * c, 4 * c, 4 * c, 4 * c, 2 * c, 2 * c, c, c, 3), strict=True
    ):
        decoder |= {f"{place}.weight": (c_out, c_in, 3, 3), f"{place}.bias": (c_out,)}
        c_in = c_out
    return encoder, decoder


def adain_paint(
    encoder: Weights, decoder: Weights, x: Tensor, painting: Tensor, strength: float
) -> Tensor:
    def conv(w: Weights, place: int, x: Tensor) -> Tensor:
        return F.conv2d(mirror(x, 1), t(w[f"{place}.weight"]), t(w[f"{place}.bias"]))

    def encode(x: Tensor) -> Tensor:
        x = F.conv2d(x, t(encoder["0.weight"]), t(encoder["0.bias"]))
        for place in VGG[1:]:
            if place in (9, 16, 29):
                x = F.max_pool2d(x, 2, ceil_mode=True)
            x = F.relu(conv(encoder, place, x))
        return x

    def mean_std(x: Tensor) -> tuple[Tensor, Tensor]:
        std = (x.flatten(2).var(2) + 1e-5).sqrt()
        return x.flatten(2).mean(2)[..., None, None], std[..., None, None]

    content = encode(x)
    mean, std = mean_std(content)
    style_mean, style_std = mean_std(encode(painting))
    styled = (content - mean) / std * style_std + style_mean
    x = strength * styled + (1 - strength) * content
    for place in DECODER[:-1]:
        x = F.relu(conv(decoder, place, x))
        if place in (1, 14, 21):
            x = F.interpolate(x, scale_factor=2, mode="nearest")
    return conv(decoder, 28, x)


# --- lengstrom/fast-style-transfer: values from 0 to 255 ----------------------------------------


def lengstrom_shapes(width: int, blocks: int = 5) -> dict[str, Shape]:
    """Variables as TensorFlow numbers them; transposed kernels are (h, w, out, in)."""
    deep = 4 * width
    kernels = [(9, 9, 3, width), (3, 3, width, 2 * width), (3, 3, 2 * width, deep)]
    kernels += [(3, 3, deep, deep)] * (2 * blocks)
    kernels += [(3, 3, 2 * width, deep), (3, 3, width, 2 * width), (9, 9, width, 3)]
    shapes: dict[str, Shape] = {}
    for i, kernel in enumerate(kernels):
        c_out = kernel[2] if len(kernels) - 3 <= i < len(kernels) - 1 else kernel[3]
        for j, shape in enumerate((kernel, (c_out,), (c_out,))):
            number = 3 * i + j
            shapes[f"Variable_{number}" if number else "Variable"] = shape
    return shapes


def lengstrom_paint(w: Weights, x: Tensor) -> Tensor:
    """(N, 3, H, W) from 0 to 255 → the same. "SAME" padding is done as TensorFlow defines it."""
    count = len([name for name in w if name.startswith("Variable") and "/" not in name]) // 3

    def value(number: int) -> Tensor:
        return t(w[f"Variable_{number}" if number else "Variable"])

    def same(size: int, k: int, stride: int) -> tuple[int, int]:
        total = max((-(-size // stride) - 1) * stride + k - size, 0)
        return total // 2, total - total // 2

    def layer(i: int, x: Tensor, stride: int = 1, *, up: bool = False, relu: bool = True) -> Tensor:
        kernel, shift, scale = (value(3 * i + j) for j in range(3))
        kernel = kernel.permute(3, 2, 0, 1)
        k = kernel.shape[2]
        if up:
            height, width = (2 * size for size in x.shape[2:])
            (top, _), (left, _) = same(height, k, 2), same(width, k, 2)
            x = F.conv_transpose2d(x, kernel, stride=2)
            x = x[..., top : top + height, left : left + width]
        else:
            rows, columns = same(x.shape[2], k, stride), same(x.shape[3], k, stride)
            x = F.conv2d(F.pad(x, (*columns, *rows)), kernel, stride=stride)
        mean, var = x.mean((2, 3), keepdim=True), x.var((2, 3), keepdim=True, correction=0)
        x = scale[:, None, None] * (x - mean) / (var + 1e-3).sqrt() + shift[:, None, None]
        return F.relu(x) if relu else x

    x = layer(2, layer(1, layer(0, x), 2), 2)
    for i in range(3, count - 3, 2):
        x = x + layer(i + 1, layer(i, x), relu=False)
    x = layer(count - 2, layer(count - 3, x, up=True), up=True)
    return torch.tanh(layer(count - 1, x, relu=False)) * 150 + 255 / 2


# --- EndyWon/MicroAST -----------------------------------------------------------------------------


def microast_shapes(width: int) -> dict[str, dict[str, Shape]]:
    """By file: encoder (for both), modulator, decoder."""
    w1, w2, w4 = width, 2 * width, 4 * width

    def conv(name: str, c_out: int, c_in: int, k: int) -> dict[str, Shape]:
        return {f"{name}.conv_layer.weight": (c_out, c_in, k, k),
                f"{name}.conv_layer.bias": (c_out,)}  # fmt: skip

    def residual(name: str) -> dict[str, Shape]:
        return conv(f"{name}.conv1", w4, w4, 3) | conv(f"{name}.conv2", w4, w4, 3)

    encoder = conv("enc1.0", w1, 3, 9) | conv("enc1.2", w2, 1, 3) | conv("enc1.4", w2, w2, 1)
    encoder |= conv("enc1.6", w4, 1, 3) | conv("enc1.8", w4, w4, 1)
    encoder |= residual("enc1.10") | residual("enc2.0")
    modulator: dict[str, Shape] = {}
    for name in ("weight1", "bias1", "weight2", "bias2"):
        modulator |= conv(f"{name}.0", w4, 1, 3)
    decoder = residual("dec1") | residual("dec2") | conv("dec3.1", w2, 2, 3)
    decoder |= conv("dec3.3", w2, w2, 1) | conv("dec3.6", w1, 2, 3) | conv("dec3.8", w1, w1, 1)
    decoder |= conv("dec3.10", 3, w1, 9)
    return {"encoder": encoder, "modulator": modulator, "decoder": decoder}


def microast_paint(
    files: dict[str, Weights], x: Tensor, painting: Tensor, strength: float
) -> Tensor:
    def conv(w: Weights, name: str, x: Tensor, stride: int = 1) -> Tensor:
        kernel, bias = t(w[f"{name}.conv_layer.weight"]), t(w[f"{name}.conv_layer.bias"])
        if kernel.shape[2] > 1:
            x = mirror(x, kernel.shape[2] // 2)
        return F.conv2d(x, kernel, bias, stride, groups=x.shape[1] // kernel.shape[1])

    def residual(w: Weights, name: str, x: Tensor) -> Tensor:
        return x + conv(w, f"{name}.conv2", F.relu(conv(w, f"{name}.conv1", x)))

    def encode(w: Weights, x: Tensor) -> tuple[Tensor, Tensor]:
        for place, stride in ((0, 1), (2, 2), (4, 1), (6, 2), (8, 1)):
            x = F.relu(conv(w, f"enc1.{place}", x, stride))
        first = residual(w, "enc1.10", x)
        return first, residual(w, "enc2.0", first)

    def modulated(name: str, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        w = files["decoder"]
        x3 = F.relu(weight * conv(w, f"{name}.conv1", x) + bias * x)
        return x + weight * conv(w, f"{name}.conv2", x3) + bias * x3

    def adain(x: Tensor, s: Tensor) -> Tensor:
        def of(x: Tensor) -> tuple[Tensor, Tensor]:
            var = x.var((2, 3), keepdim=True)
            return x.mean((2, 3), keepdim=True), (var + 1e-5).sqrt()

        (mean, std), (style_mean, style_std) = of(x), of(s)
        styled = (x - mean) / std * style_std + style_mean
        return strength * styled + (1 - strength) * x

    style = encode(files["style_encoder"], painting)
    weights, biases = (
        [
            conv(files["modulator"], f"{part}{i + 1}.0", style[i]).mean((2, 3), keepdim=True)
            for i in (0, 1)
        ]
        for part in ("weight", "bias")
    )
    x = adain(encode(files["content_encoder"], x)[1], style[1])
    x = modulated("dec1", x, weights[1], biases[1])
    x = modulated("dec2", adain(x, style[0]), weights[0], biases[0])
    w = files["decoder"]
    for a, b in ((1, 3), (6, 8)):
        x = F.interpolate(x, scale_factor=2, mode="bilinear")
        x = F.relu(conv(w, f"dec3.{b}", F.relu(conv(w, f"dec3.{a}", x))))
    return conv(w, "dec3.10", x)


# --- Magenta's arbitrary stylization, as published for TensorFlow.js ------------------------------


def magenta_shapes(
    widths: tuple[int, int, int], style: int, *, separable: bool
) -> dict[str, Shape]:
    w1, w2, w3 = widths
    shapes: dict[str, Shape] = {"transformer/contract/Pad/paddings": (4, 2)}
    for i, c_in, c_out, k in ((1, 3, w1, 9), (2, w1, w2, 3), (3, w2, w3, 3)):
        scope = f"transformer/contract/conv{i}"
        shapes[f"{scope}/weights"] = (k, k, c_in, c_out)
        for part in ("beta", "moving_mean", "moving_variance"):
            shapes[f"{scope}/BatchNorm/{part}"] = (c_out,)
    layers = [(f"residual/residual{b}", f"conv{i}", w3, w3, 3) for b in range(1, 6) for i in (1, 2)]
    layers += [("expand/conv1", "conv", w3, w2, 3), ("expand/conv2", "conv", w2, w1, 3)]
    for scope, conv, c_in, c_out, k in [*layers, ("expand/conv3", "conv", w1, 3, 9)]:
        if separable:
            name = f"transformer/{scope}/dilate_{conv}"
            shapes[f"{name}/depthwise_weights"] = (k, k, c_in, 1)
            shapes[f"{name}/pointwise_weights"] = (1, 1, c_in, c_out)
        else:
            shapes[f"transformer/{scope}/{conv}/weights"] = (k, k, c_in, c_out)
        for name in ("Conv", "Conv_1"):
            message = f"style_params/transformer/{scope}/{conv}/StyleNorm/{name}"
            shapes |= {f"{message}/weights": (1, 1, style, c_out), f"{message}/biases": (c_out,)}
    return shapes


def tf_kernel(w: Weights, name: str) -> Tensor:
    return t(w[name]).permute(3, 2, 0, 1)


def tf_batch_norm(w: Weights, scope: str, x: Tensor) -> Tensor:
    mean, var, beta = (
        t(w[f"{scope}/BatchNorm/{part}"])[:, None, None]
        for part in ("moving_mean", "moving_variance", "beta")
    )
    gamma = w.get(f"{scope}/BatchNorm/gamma")
    scale = 1 if gamma is None else t(gamma)[:, None, None]
    return (x - mean) / (var + 1e-3).sqrt() * scale + beta


def magenta_paint(w: Weights, x: Tensor, style: Tensor) -> Tensor:
    def linear(name: str) -> Tensor:
        return (style @ t(w[f"{name}/weights"])[0, 0] + t(w[f"{name}/biases"]))[..., None, None]

    def layer(scope: str, conv: str, x: Tensor) -> Tensor:
        plain, separable = f"transformer/{scope}/{conv}", f"transformer/{scope}/dilate_{conv}"
        if f"{plain}/weights" in w:
            kernel = tf_kernel(w, f"{plain}/weights")
            x = F.conv2d(x, kernel, padding=kernel.shape[2] // 2)
        else:
            kernel = t(w[f"{separable}/depthwise_weights"]).permute(2, 3, 0, 1)
            x = F.conv2d(x, kernel, padding=kernel.shape[2] // 2, groups=x.shape[1])
            x = F.conv2d(x, tf_kernel(w, f"{separable}/pointwise_weights"))
        mean, var = x.mean((2, 3), keepdim=True), x.var((2, 3), keepdim=True, correction=0)
        message = f"style_params/{plain}/StyleNorm"
        return (x - mean) / (var + 1e-5).sqrt() * linear(f"{message}/Conv_1") + linear(
            f"{message}/Conv"
        )

    for i, stride in ((1, 1), (2, 2), (3, 2)):
        scope = f"transformer/contract/conv{i}"
        kernel = tf_kernel(w, f"{scope}/weights")
        x = F.conv2d(x, kernel, stride=stride, padding=kernel.shape[2] // 2)
        x = F.relu(tf_batch_norm(w, scope, x))
    for i in range(1, 6):
        y = F.relu(layer(f"residual/residual{i}", "conv1", x))
        x = x + layer(f"residual/residual{i}", "conv2", y)
    for i in (1, 2):
        x = F.interpolate(x, scale_factor=2, mode="nearest")
        x = F.relu(layer(f"expand/conv{i}", "conv", x))
    return torch.sigmoid(layer("expand/conv3", "conv", x))


MOBILE_WIDTHS = (4, 6, 6, 8, 8, 8, 10, 10, 10, 10, 12, 12, 12, 14, 14, 14, 16)


def mobilenet_shapes(style: int) -> dict[str, Shape]:
    """MobileNetV2 with the original's 17 blocks and names, but narrow."""
    shapes: dict[str, Shape] = {}

    def add(scope: str, kind: str, shape: Shape, c: int) -> None:
        shapes[f"MobilenetV2/{scope}/{kind}"] = shape
        for part in ("gamma", "beta", "moving_mean", "moving_variance"):
            shapes[f"MobilenetV2/{scope}/BatchNorm/{part}"] = (c,)

    add("Conv", "weights", (3, 3, 3, 8), 8)
    c = 8
    for i, c_out in enumerate(MOBILE_WIDTHS):
        scope, wide = f"expanded_conv_{i}" if i else "expanded_conv", 2 * c if i else c
        if i:
            add(f"{scope}/expand", "weights", (1, 1, c, wide), wide)
        add(f"{scope}/depthwise", "depthwise_weights", (3, 3, wide, 1), wide)
        add(f"{scope}/project", "weights", (1, 1, wide, c_out), c_out)
        c = c_out
    add("Conv_1", "weights", (1, 1, c, 20), 20)
    shapes |= {"mobilenet_conv/Conv/weights": (1, 1, 20, style),
               "mobilenet_conv/Conv/biases": (style,)}  # fmt: skip
    return shapes


def mobilenet_look(w: Weights, x: Tensor) -> Tensor:
    def conv(scope: str, x: Tensor, stride: int = 1, *, relu: bool = True) -> Tensor:
        scope = f"MobilenetV2/{scope}"
        if f"{scope}/weights" in w:
            kernel, groups = tf_kernel(w, f"{scope}/weights"), 1
        else:
            kernel = t(w[f"{scope}/depthwise_weights"]).permute(2, 3, 0, 1)
            groups = x.shape[1]
        if kernel.shape[2] == 3:  # "SAME": with a stride of 2 only the end is padded
            x = F.pad(x, (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1))
        x = tf_batch_norm(w, scope, F.conv2d(x, kernel, stride=stride, groups=groups))
        return x.clamp(0, 6) if relu else x

    x = conv("Conv", x, 2)
    for i in range(17):
        scope = f"expanded_conv_{i}" if i else "expanded_conv"
        stride = 2 if i in (1, 3, 6, 13) else 1
        y = conv(f"{scope}/expand", x) if i else x
        y = conv(f"{scope}/project", conv(f"{scope}/depthwise", y, stride), relu=False)
        x = x + y if stride == 1 and x.shape == y.shape else y
    x = conv("Conv_1", x).mean((2, 3))
    return x @ t(w["mobilenet_conv/Conv/weights"])[0, 0] + t(w["mobilenet_conv/Conv/biases"])


# --- jcjohnson/fast-neural-style: a tree of Torch7's modules --------------------------------------

Torch7 = tuple[str, dict[str, Any]]  # the module's class and its fields


def jcjohnson_tree(padding: str) -> Torch7:
    """A small net of each of its paddings: "reflect-start", "reflect", "zero"."""
    rng = np.random.default_rng(0)

    def conv(c_in: int, c_out: int, k: int, stride: int = 1, pad: int = 0) -> Torch7:
        weight = rng.normal(0, (2 / (c_in * k * k)) ** 0.5, (c_out, c_in, k, k))
        return ("nn.SpatialConvolution", {
            "nInputPlane": c_in, "nOutputPlane": c_out, "kW": k, "kH": k, "dW": stride,
            "dH": stride, "padW": pad, "padH": pad, "weight": weight,
            "bias": rng.normal(0, 0.1, c_out),
        })  # fmt: skip

    def norm(c: int) -> Torch7:
        return ("nn.InstanceNormalization", {"nOutput": c, "eps": 1e-5,
                "weight": rng.uniform(0.5, 1.5, c), "bias": rng.normal(0, 0.1, c)})  # fmt: skip

    def sequence(*modules: Torch7) -> Torch7:
        return ("nn.Sequential", {"modules": dict(enumerate(modules, 1)), "train": False})

    def mirror(pad: int) -> Torch7:
        sides = {f"pad_{side}": pad for side in "lrtb"}
        return ("nn.SpatialReflectionPadding", sides)

    def padded(c_in: int, c_out: int, k: int, stride: int = 1) -> list[Torch7]:
        if padding == "reflect":
            return [mirror(k // 2), conv(c_in, c_out, k, stride)]
        return [conv(c_in, c_out, k, stride, k // 2)]

    relu = ("nn.ReLU", {"inplace": True, "threshold": 0})
    inner = 0 if padding == "reflect-start" else 1
    pads = [mirror(1)] if padding == "reflect" else []
    zero = 1 if padding == "zero" else 0
    branch = sequence(
        *pads, conv(8, 8, 3, pad=zero), norm(8), relu, *pads, conv(8, 8, 3, pad=zero), norm(8)
    )
    other = ("nn.Identity", {}) if inner else ("nn.ShaveImage", {"size": 2})
    table = ("nn.ConcatTable", {"modules": {1: branch, 2: other}})
    block = sequence(table, ("nn.CAddTable", {"inplace": False}))
    up_weight = rng.normal(0, 0.2, (8, 4, 3, 3))
    up = ("nn.SpatialFullConvolution", {
        "nInputPlane": 8, "nOutputPlane": 4, "kW": 3, "kH": 3, "dW": 2, "dH": 2, "padW": 1,
        "padH": 1, "adjW": 1, "adjH": 1, "weight": up_weight, "bias": rng.normal(0, 0.1, 4),
    })  # fmt: skip
    start = [mirror(4)] if padding == "reflect-start" else []
    return sequence(
        *start, *padded(3, 4, 9), norm(4), relu, *padded(4, 8, 3, 2), norm(8), relu, block,
        up, norm(4), relu, *padded(4, 3, 9), ("nn.Tanh", {}),
        ("nn.MulConstant", {"constant_scalar": 150.0}), ("nn.TotalVariation", {"strength": 1e-6}),
    )  # fmt: skip


def jcjohnson_paint(tree: Torch7, x: Tensor) -> Tensor:
    """(N, 3, H, W) from 0 to 255 → the same."""

    def run(module: Torch7, x: Tensor) -> Tensor:
        kind, message = module
        if kind == "nn.Sequential":
            for inner in message["modules"].values():
                x = run(inner, x)
        elif kind == "nn.ConcatTable":  # the CAddTable after it has nothing left to add
            x = sum(run(inner, x) for inner in message["modules"].values())
        elif kind == "nn.SpatialReflectionPadding":
            x = mirror(x, message["pad_l"])
        elif kind == "nn.SpatialConvolution":
            weight, bias = t(message["weight"]).float(), t(message["bias"]).float()
            x = torch.conv2d(x, weight, bias, message["dW"], message["padW"])
        elif kind == "nn.SpatialFullConvolution":
            weight, bias = t(message["weight"]).float(), t(message["bias"]).float()
            x = torch.conv_transpose2d(x, weight, bias, 2, 1, 1)
        elif kind == "nn.InstanceNormalization":
            mean, var = x.mean((2, 3), keepdim=True), x.var((2, 3), keepdim=True, correction=0)
            weight, bias = (t(message[n]).float()[:, None, None] for n in ("weight", "bias"))
            x = (x - mean) / (var + 1e-5).sqrt() * weight + bias
        elif kind == "nn.ShaveImage":
            x = x[..., 2:-2, 2:-2]
        elif kind == "nn.ReLU":
            x = x.relu()
        elif kind == "nn.Tanh":
            x = x.tanh()
        elif kind == "nn.MulConstant":
            x = x * message["constant_scalar"]
        return x

    mean = torch.tensor([103.939, 116.779, 123.68]).reshape(1, 3, 1, 1)
    return (run(tree, x[:, [2, 1, 0]] - mean) + mean)[:, [2, 1, 0]]
