"""Generators of unpaired and cartoon projects: each paints as its original does, written down here
a second time as plain functions of the file's weights."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from rtstyle.engines import open_engine
from rtstyle.errors import ModelError, UsageError
from rtstyle.importers import speed
from rtstyle.importers.command import import_files
from rtstyle.model.spec import ModelSpec
from rtstyle.train.to_onnx import ModelCard
from tests.importers import files
from tests.importers.originals import Weights, mirror, t, weights_of
from tests.importers.test_importers import assert_same, imported, save_torch

Shapes = dict[str, tuple[int, ...]]
W, BLOCKS = 4, 6


@pytest.fixture
def picture() -> Tensor:
    return torch.rand((1, 3, 64, 96), generator=torch.Generator().manual_seed(0))


def conv(w: Weights, name: str, x: Tensor, stride: int = 1, pad: int = 0) -> Tensor:
    bias = t(w[f"{name}.bias"]) if f"{name}.bias" in w else None
    return F.conv2d(x, t(w[f"{name}.weight"]), bias, stride, pad)


def up(w: Weights, name: str, x: Tensor, pad: int = 1, more: int = 1) -> Tensor:
    bias = t(w[f"{name}.bias"]) if f"{name}.bias" in w else None
    return F.conv_transpose2d(x, t(w[f"{name}.weight"]), bias, 2, pad, more)


def resnet_shapes(*, smooth: bool, second: int) -> Shapes:
    shapes: Shapes = {"model.1.weight": (W, 3, 7, 7), "model.1.bias": (W,)}
    at = 4
    for a in (W, 2 * W):
        shapes |= {f"model.{at}.weight": (2 * a, a, 3, 3), f"model.{at}.bias": (2 * a,)}
        at += 3
        if smooth:
            shapes[f"model.{at}.filt"] = (2 * a, 1, 3, 3)
            at += 1
    for i in range(BLOCKS):
        for k in (1, second):
            name = f"model.{at + i}.conv_block.{k}"
            shapes |= {f"{name}.weight": (4 * W, 4 * W, 3, 3), f"{name}.bias": (4 * W,)}
    at += BLOCKS
    for a in (4 * W, 2 * W):
        if smooth:
            shapes[f"model.{at}.filt"] = (a, 1, 4, 4)
            at += 1
        kernel = (a // 2, a, 3, 3) if smooth else (a, a // 2, 3, 3)
        shapes |= {f"model.{at}.weight": kernel, f"model.{at}.bias": (a // 2,)}
        at += 3
    return shapes | {f"model.{at + 1}.weight": (3, W, 7, 7), f"model.{at + 1}.bias": (3,)}


def resnet_weights(*, smooth: bool, second: int) -> Weights:
    weights = weights_of(resnet_shapes(smooth=smooth, second=second))
    for name, value in weights.items():
        if name.endswith(".filt"):
            line = np.array([1, 2, 1] if value.shape[-1] == 3 else [1, 3, 3, 1], np.float32)
            kernel = np.outer(line, line) / line.sum() ** 2 * (1 if len(line) == 3 else 4)
            weights[name] = np.broadcast_to(kernel, value.shape).astype(np.float32)
    return weights


def resnet_paint(w: Weights, x: Tensor, *, smooth: bool, second: int) -> Tensor:
    def normed(x: Tensor) -> Tensor:
        return F.relu(F.instance_norm(x))

    x = normed(conv(w, "model.1", mirror(x * 2 - 1, 3)))
    at = 4
    for _ in range(2):
        x = normed(conv(w, f"model.{at}", x, 1 if smooth else 2, 1))
        at += 3
        if smooth:
            x = F.conv2d(mirror(x, 1), t(w[f"model.{at}.filt"]), stride=2, groups=x.shape[1])
            at += 1
    for i in range(BLOCKS):
        y = normed(conv(w, f"model.{at + i}.conv_block.1", mirror(x, 1)))
        x = x + F.instance_norm(conv(w, f"model.{at + i}.conv_block.{second}", mirror(y, 1)))
    at += BLOCKS
    for _ in range(2):
        if smooth:
            padded = F.pad(x, (1,) * 4, mode="replicate")
            kernel = t(w[f"model.{at}.filt"])
            x = F.conv_transpose2d(padded, kernel, stride=2, padding=2, groups=x.shape[1])
            x = conv(w, f"model.{at + 1}", x[:, :, 1:, 1:][:, :, :-1, :-1], 1, 1)
            at += 1
        else:
            x = up(w, f"model.{at}", x)
        x = normed(x)
        at += 3
    return (torch.tanh(conv(w, f"model.{at + 1}", mirror(x, 3))) + 1) / 2


@pytest.mark.parametrize(("smooth", "second"), [(False, 5), (False, 6), (True, 5)])
def test_resnet_generators(smooth: bool, second: int, picture: Tensor, tmp_path: Path) -> None:
    weights = resnet_weights(smooth=smooth, second=second)
    old = {"model.2.running_mean": np.ones(W, np.float32)}  # of an old PyTorch, never used
    found = imported(save_torch(tmp_path / "latest_net_G.pth", weights | old))
    assert found.origin == ("CUT" if smooth else "CycleGAN")
    with torch.inference_mode():
        assert_same(
            found.net(picture), resnet_paint(weights, picture, smooth=smooth, second=second)
        )


def unet_weights(depth: int, *, batch: bool) -> Weights:
    shapes: Shapes = {}
    widths = [min(W * 2**i, 4 * W) for i in range(depth)]
    prefix = "model."
    for i, width in enumerate(widths):
        outer, inner = (3 if i == 0 else widths[i - 1]), i == depth - 1
        down, top = (0, 3) if i == 0 else (1, 3) if inner else (1, 5)
        shapes[f"{prefix}model.{down}.weight"] = (width, outer, 4, 4)
        shapes[f"{prefix}model.{top}.weight"] = (width * (1 if inner else 2), outer, 4, 4)
        if not batch or i == 0:
            shapes[f"{prefix}model.{top}.bias"] = (outer,)
        if not batch:
            shapes[f"{prefix}model.{down}.bias"] = (width,)
        if batch and i:
            norms = [(top + 1, outer)] if inner else [(2, width), (top + 1, outer)]
            for at, channels in norms:
                for part in ("weight", "bias", "running_mean", "running_var"):
                    shapes[f"{prefix}model.{at}.{part}"] = (channels,)
                shapes[f"{prefix}model.{at}.num_batches_tracked"] = ()
        prefix += "model.1." if i == 0 else "model.3."
    weights = weights_of(shapes)
    return {
        k: np.abs(v) + 0.5 if v.ndim == 1 and k.endswith(("running_var", "weight")) else v
        for k, v in weights.items()
    }


def unet_paint(w: Weights, x: Tensor, depth: int) -> Tensor:
    def norm(name: str, x: Tensor) -> Tensor:
        if f"{name}.weight" not in w:
            return F.instance_norm(x)
        mean, var, weight, bias = (
            t(w[f"{name}.{part}"]) for part in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, var, weight, bias)

    def level(i: int, prefix: str, x: Tensor) -> Tensor:
        if i == 0:
            y = conv(w, "model.model.0", x, 2, 1)
            return torch.tanh(up(w, "model.model.3", F.relu(level(1, "model.model.1.", y)), 1, 0))
        x = F.leaky_relu(x, 0.2)
        y = conv(w, f"{prefix}model.1", x, 2, 1)
        if i == depth - 1:
            return torch.cat(
                [x, norm(f"{prefix}model.4", up(w, f"{prefix}model.3", F.relu(y), 1, 0))], 1
            )
        y = level(i + 1, f"{prefix}model.3.", norm(f"{prefix}model.2", y))
        return torch.cat(
            [x, norm(f"{prefix}model.6", up(w, f"{prefix}model.5", F.relu(y), 1, 0))], 1
        )

    return (level(0, "model.", x * 2 - 1) + 1) / 2


@pytest.mark.parametrize("batch", [False, True])
def test_unet_generators(batch: bool, tmp_path: Path) -> None:
    weights = unet_weights(5, batch=batch)
    picture = torch.rand((1, 3, 64, 128), generator=torch.Generator().manual_seed(0))
    net = imported(save_torch(tmp_path / "latest_net_G.pth", weights)).net
    assert net.stride == 32
    with torch.inference_mode():
        assert_same(net(picture), unet_paint(weights, picture, 5))


def cartoongan_weights() -> Weights:
    shapes: Shapes = {}
    kernels = {"conv01_1": (W, 3, 7), "conv02_1": (2 * W, W, 3), "conv02_2": (2 * W, 2 * W, 3),
               "conv03_1": (4 * W, 2 * W, 3), "conv03_2": (4 * W, 4 * W, 3),
               "deconv01_1": (4 * W, 2 * W, 3), "deconv01_2": (2 * W, 2 * W, 3),
               "deconv02_1": (2 * W, W, 3), "deconv02_2": (W, W, 3),
               "deconv03_1": (3, W, 7)}  # fmt: skip
    norms = {"in01_1": W, "in02_1": 2 * W, "in03_1": 4 * W, "in12_1": 2 * W, "in13_1": W}
    for i in range(4, 12):
        for k in (1, 2):
            kernels[f"conv{i:02d}_{k}"] = (4 * W, 4 * W, 3)
            norms[f"in{i:02d}_{k}"] = 4 * W
    for name, (a, b, side) in kernels.items():
        out = b if name in ("deconv01_1", "deconv02_1") else a
        shapes |= {f"{name}.weight": (a, b, side, side), f"{name}.bias": (out,)}
    for name, channels in norms.items():
        shapes |= {f"{name}.scale": (channels,), f"{name}.shift": (channels,)}
    weights = weights_of(shapes)
    return {k: np.abs(v) + 1 if k.endswith(".scale") else v for k, v in weights.items()}


def cartoongan_paint(w: Weights, x: Tensor) -> Tensor:
    def norm(name: str, x: Tensor) -> Tensor:
        mean, var = x.mean((2, 3), keepdim=True), x.var((2, 3), keepdim=True, unbiased=False)
        scale, shift = (t(w[f"{name}.{part}"]).view(1, -1, 1, 1) for part in ("scale", "shift"))
        return (x - mean) / torch.sqrt(var + 1e-9) * scale + shift

    x = x[:, [2, 1, 0]] * 2 - 1
    x = F.relu(norm("in01_1", conv(w, "conv01_1", mirror(x, 3))))
    x = F.relu(norm("in02_1", conv(w, "conv02_2", conv(w, "conv02_1", x, 2, 1), 1, 1)))
    x = F.relu(norm("in03_1", conv(w, "conv03_2", conv(w, "conv03_1", x, 2, 1), 1, 1)))
    for i in range(4, 12):
        y = F.relu(norm(f"in{i:02d}_1", conv(w, f"conv{i:02d}_1", mirror(x, 1))))
        x = x + norm(f"in{i:02d}_2", conv(w, f"conv{i:02d}_2", mirror(y, 1)))
    x = F.relu(norm("in12_1", conv(w, "deconv01_2", up(w, "deconv01_1", x), 1, 1)))
    x = F.relu(norm("in13_1", conv(w, "deconv02_2", up(w, "deconv02_1", x), 1, 1)))
    return (torch.tanh(conv(w, "deconv03_1", mirror(x, 3))) * 0.5 + 0.5)[:, [2, 1, 0]]


def test_cartoongan(picture: Tensor, tmp_path: Path) -> None:
    weights = cartoongan_weights()
    net = imported(save_torch(tmp_path / "Hayao_net_G_float.pth", weights)).net
    with torch.inference_mode():
        assert_same(net(picture), cartoongan_paint(weights, picture))


def white_box_weights() -> Weights:
    sizes = [(3, W, 7), (W, W, 3), (W, 2 * W, 3), (2 * W, 2 * W, 3), (2 * W, 4 * W, 3),
             (4 * W, 2 * W, 3), (2 * W, 2 * W, 3), (2 * W, W, 3), (W, W, 3), (W, 3, 7)]  # fmt: skip
    shapes: Shapes = {}
    for i, (a, b, side) in enumerate(sizes):
        name = f"generator/Conv_{i}" if i else "generator/Conv"
        shapes |= {f"{name}/weights": (side, side, a, b), f"{name}/biases": (b,)}
    for block in range(4):
        for name in ("Conv", "Conv_1"):
            place = f"generator/block_{block}/{name}"
            shapes |= {f"{place}/weights": (3, 3, 4 * W, 4 * W), f"{place}/biases": (4 * W,)}
    return weights_of(shapes)


def white_box_paint(w: Weights, x: Tensor) -> Tensor:
    """As TensorFlow computes it, in numpy's layout where that differs from torch's."""

    def layer(name: str, x: Tensor, stride: int = 1) -> Tensor:
        kernel = t(np.transpose(w[f"generator/{name}/weights"], (3, 2, 0, 1)).copy())
        side = kernel.shape[2]
        pads = []
        for length in (x.shape[3], x.shape[2]):
            total = max((-(-length // stride) - 1) * stride + side - length, 0)
            pads += [total // 2, total - total // 2]
        return F.conv2d(F.pad(x, pads), kernel, t(w[f"generator/{name}/biases"]), stride)

    def leaky(x: Tensor) -> Tensor:
        return torch.maximum(x, 0.2 * x)

    def doubled(x: Tensor) -> Tensor:
        """resize_bilinear of TensorFlow 1: output pixel i is the input at i / 2."""
        for dim in (2, 3):
            n = x.shape[dim]
            at = torch.arange(2 * n) / 2
            low = at.floor().long()
            high = (low + 1).clamp(max=n - 1)
            share = (at - low).view([-1 if d == dim else 1 for d in range(4)])
            x = x.index_select(dim, low) * (1 - share) + x.index_select(dim, high) * share
        return x

    photo = x * 2 - 1
    x0 = leaky(layer("Conv", photo))
    x1 = leaky(layer("Conv_2", leaky(layer("Conv_1", x0, 2))))
    x2 = leaky(layer("Conv_4", leaky(layer("Conv_3", x1, 2))))
    for i in range(4):
        x2 = x2 + layer(f"block_{i}/Conv_1", leaky(layer(f"block_{i}/Conv", x2)))
    x3 = doubled(leaky(layer("Conv_5", x2)))
    x3 = leaky(layer("Conv_7", leaky(layer("Conv_6", x3 + x1))))
    out = layer("Conv_9", leaky(layer("Conv_8", doubled(x3) + x0)))

    def box(y: Tensor) -> Tensor:
        return F.conv2d(y, torch.ones(3, 1, 3, 3) / 9, padding=1, groups=3)

    n = box(torch.ones_like(photo))
    mean_x, mean_y = box(photo) / n, box(out) / n
    a = (box(photo * out) / n - mean_x * mean_y) / (box(photo * photo) / n - mean_x**2 + 5e-3)
    out = box(a) / n * photo + box(mean_y - a * mean_x) / n
    return (out.clamp(-1, 1) + 1) / 2


def test_white_box_cartoon(picture: Tensor, tmp_path: Path) -> None:
    weights = white_box_weights()
    net = imported(files.write_bundle(tmp_path / "model-33999", weights)).net
    with torch.inference_mode():
        assert_same(net(picture), white_box_paint(weights, picture))


def stargan_weights() -> tuple[Weights, Weights]:
    """Of pictures of 32 pixels: one block that shrinks, two that do not."""
    widths, style = [W, 2 * W, 2 * W, 2 * W], 6
    shapes: Shapes = {"from_rgb.weight": (W, 3, 3, 3), "from_rgb.bias": (W,)}
    for part in ("weight", "bias"):
        shapes[f"to_rgb.0.{part}"] = (W,)
    shapes |= {"to_rgb.2.weight": (3, W, 1, 1), "to_rgb.2.bias": (3,)}
    for i, (a, b) in enumerate(itertools.pairwise(widths)):
        j = 2 - i  # the decoder's blocks in reverse
        for name, c_in, c_out in (
            (f"encode.{i}.conv1", a, a), (f"encode.{i}.conv2", a, b),
            (f"decode.{j}.conv1", b, a), (f"decode.{j}.conv2", a, a),
        ):  # fmt: skip
            shapes |= {f"{name}.weight": (c_out, c_in, 3, 3), f"{name}.bias": (c_out,)}
        for k in (1, 2):
            for part in ("weight", "bias"):
                shapes[f"encode.{i}.norm{k}.{part}"] = (a,)
        for k, channels in ((1, b), (2, a)):
            shapes[f"decode.{j}.norm{k}.fc.weight"] = (2 * channels, style)
            shapes[f"decode.{j}.norm{k}.fc.bias"] = (2 * channels,)
        if a != b:
            shapes[f"encode.{i}.conv1x1.weight"] = (b, a, 1, 1)
            shapes[f"decode.{j}.conv1x1.weight"] = (a, b, 1, 1)
    looks: Shapes = {"shared.0.weight": (W, 3, 3, 3), "shared.0.bias": (W,)}
    for i, (a, b) in enumerate(itertools.pairwise(widths), start=1):
        for name, c_out in (("conv1", a), ("conv2", b)):
            looks[f"shared.{i}.{name}.weight"] = (c_out, a, 3, 3)
            looks[f"shared.{i}.{name}.bias"] = (c_out,)
        if a != b:
            looks[f"shared.{i}.conv1x1.weight"] = (b, a, 1, 1)
    looks |= {"shared.5.weight": (2 * W, 2 * W, 4, 4), "shared.5.bias": (2 * W,)}
    for domain in range(3):
        looks |= {f"unshared.{domain}.weight": (style, 2 * W), f"unshared.{domain}.bias": (style,)}
    return weights_of(shapes), weights_of(looks, seed=1)


def stargan_code(w: Weights, x: Tensor, domain: int = 0) -> Tensor:
    x = conv(w, "shared.0", x * 2 - 1, 1, 1)
    for i in (1, 2, 3):
        y = F.avg_pool2d(conv(w, f"shared.{i}.conv1", F.leaky_relu(x, 0.2), 1, 1), 2)
        y = conv(w, f"shared.{i}.conv2", F.leaky_relu(y, 0.2), 1, 1)
        if f"shared.{i}.conv1x1.weight" in w:
            x = conv(w, f"shared.{i}.conv1x1", x)
        x = (F.avg_pool2d(x, 2) + y) / 2**0.5
    x = F.leaky_relu(conv(w, "shared.5", F.leaky_relu(x, 0.2)), 0.2).flatten(1)
    return x @ t(w[f"unshared.{domain}.weight"]).T + t(w[f"unshared.{domain}.bias"])


def stargan_paint(w: Weights, x: Tensor, code: Tensor) -> Tensor:
    def plain(name: str, x: Tensor) -> Tensor:
        return F.instance_norm(x, weight=t(w[f"{name}.weight"]), bias=t(w[f"{name}.bias"]))

    def styled(name: str, x: Tensor) -> Tensor:
        h = code @ t(w[f"{name}.fc.weight"]).T + t(w[f"{name}.fc.bias"])
        gamma, beta = h.view(len(x), -1, 1, 1).chunk(2, dim=1)
        return (1 + gamma) * F.instance_norm(x) + beta

    x = conv(w, "from_rgb", x * 2 - 1, 1, 1)
    for i in range(3):
        y = conv(w, f"encode.{i}.conv1", F.leaky_relu(plain(f"encode.{i}.norm1", x), 0.2), 1, 1)
        if f"encode.{i}.conv1x1.weight" in w:
            x = conv(w, f"encode.{i}.conv1x1", x)
        if i == 0:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
        y = conv(w, f"encode.{i}.conv2", F.leaky_relu(plain(f"encode.{i}.norm2", y), 0.2), 1, 1)
        x = (x + y) / 2**0.5
    for j in range(3):
        y = F.leaky_relu(styled(f"decode.{j}.norm1", x), 0.2)
        if j == 2:
            x, y = (z.repeat_interleave(2, 2).repeat_interleave(2, 3) for z in (x, y))
        y = F.leaky_relu(styled(f"decode.{j}.norm2", conv(w, f"decode.{j}.conv1", y, 1, 1)), 0.2)
        if f"decode.{j}.conv1x1.weight" in w:
            x = conv(w, f"decode.{j}.conv1x1", x)
        x = (x + conv(w, f"decode.{j}.conv2", y, 1, 1)) / 2**0.5
    return (conv(w, "to_rgb.2", F.leaky_relu(plain("to_rgb.0", x), 0.2)) + 1) / 2


def test_stargan2(picture: Tensor, tmp_path: Path) -> None:
    generator, encoder = stargan_weights()
    paths = [save_torch(tmp_path / "encoder.pth", encoder),
             save_torch(tmp_path / "generator.pth", generator)]  # fmt: skip
    net = imported(*paths).net
    assert (net.stride, net.image_size) == (2, 32)
    reference = torch.rand((1, 3, 32, 32), generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        code = stargan_code(encoder, reference)
        assert_same(net.encode(reference), code)
        net.domain = 2
        assert_same(net.encode(reference), stargan_code(encoder, reference, 2))
        painted = net(picture, code, torch.ones(1))
        assert_same(painted, stargan_paint(generator, picture, code), tolerance=5e-3)
        assert (net(picture, code, torch.zeros(1)) - painted).abs().max() > 0.01
    for domain, sentence in ((3, "domains 0 to 2, not 3"), (-1, "not -1")):
        with pytest.raises(UsageError, match=sentence):
            import_files(paths, tmp_path / "a.onnx", ModelCard(("a",)), domain=domain)
    with pytest.raises(UsageError, match="an ONNX file has none"):
        import_files([tmp_path / "net.onnx"], tmp_path / "a.onnx", ModelCard(("a",)), domain=1)
    with pytest.raises(ModelError, match="imported from two files"):
        imported(paths[0])
    generator |= {"encode.3.conv2.weight": np.zeros((2 * W, 2 * W, 3, 3), np.float32)}
    with pytest.raises(ModelError, match="high-pass skip"):
        imported(paths[0], save_torch(tmp_path / "hpf.pth", generator))


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: save_torch(folder / "g.pth", resnet_weights(smooth=True, second=5)),
        lambda folder: save_torch(folder / "u.pth", unet_weights(3, batch=True)),
        lambda folder: save_torch(folder / "c.pth", cartoongan_weights()),
        lambda folder: files.write_bundle(folder / "model-1", white_box_weights()),
    ],
    ids=["cut", "pix2pix", "cartoongan", "white-box"],
)
def test_the_model_file_paints_within_a_grey_level(
    make: Callable[[Path], Path], picture: Tensor, tmp_path: Path
) -> None:
    source = make(tmp_path)
    spec = import_files([source], tmp_path / "mine.onnx", ModelCard(("mine",)))
    frame = (picture * 255).round().byte().permute(0, 2, 3, 1).numpy()
    with open_engine("onnxruntime", spec) as engine:
        painted = engine.submit(frame).result()
    with torch.inference_mode():
        wanted = imported(source).net(t(frame).permute(0, 3, 1, 2) / 255).clamp(0, 1) * 255
    expected = wanted.round().permute(0, 2, 3, 1).numpy()
    assert np.abs(painted.astype(float) - expected).mean() <= 1


def test_a_generator_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    weights = resnet_weights(smooth=False, second=5)
    del weights["model.4.bias"], weights["model.4.weight"]
    with pytest.raises(ModelError, match=r"cyclegan|missing"):
        imported(save_torch(tmp_path / "g.pth", weights))


def test_a_slow_model_is_offered_as_a_teacher(
    tiny_model: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "LIVE", 0.0)
    assert re.fullmatch(r"[\d.]+ frames a second at 640×360 here\.", speed.speed_note(tiny_model))
    monkeypatch.setattr(speed, "LIVE", 1e9)
    assert f"--teacher {tiny_model.path}" in speed.speed_note(tiny_model)
