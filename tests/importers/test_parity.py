"""What an imported model paints, in every runtime, against the original net itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor
from torch.nn import functional as F

from export.__main__ import main
from rtstyle.bench.parity import RUNTIMES
from rtstyle.engines import open_engine
from rtstyle.model.file import read_model
from rtstyle.style.encoder import encode, read_style_encoder
from tests.importers import files, originals
from tests.importers.originals import weights_of
from tests.importers.test_importers import save_torch

MEAN, WORST = 0.5, 3  # grey levels


def photo() -> np.ndarray:
    """(1, 96, 128, 3): smooth hills with a camera's noise, an edge and a flat sky."""
    y, x = np.mgrid[0:96, 0:128]
    hills = [np.sin(x / a) + np.cos(y / b) for a, b in ((19, 13), (31, 9), (7, 23))]
    picture = np.stack(hills, -1) * 55 + 127
    picture[:, 80:] = 255 - picture[:, 80:]
    picture[:20] = (120, 160, 220)
    picture += np.random.default_rng(3).normal(0, 2, picture.shape)
    return picture.clip(0, 255).astype(np.uint8)[None]


@dataclass(frozen=True)
class Original:
    """Its files, and what it paints: (N, 3, H, W) from 0 to 255, and a painting if it takes one."""

    files: Sequence[Path]
    paint: Callable[[Tensor, Tensor], Tensor]


def examples(folder: Path) -> Original:
    weights = weights_of(originals.examples_shapes(8))
    path = save_torch(folder / "candy.pth", weights)
    return Original([path], lambda x, _: originals.examples_paint(weights, x))


def adain(folder: Path) -> Original:
    encoder, decoder = (weights_of(shapes, seed=2) for shapes in originals.adain_shapes(8))
    decoder["28.weight"] *= 3
    decoder["28.bias"] += 0.5  # in the middle of what a picture can hold
    paths = [save_torch(folder / "decoder.pth", decoder), save_torch(folder / "vgg.pth", encoder)]
    return Original(
        paths, lambda x, p: originals.adain_paint(encoder, decoder, x / 255, p / 255, 1.0) * 255
    )


def lengstrom(folder: Path) -> Original:
    weights = weights_of(originals.lengstrom_shapes(4))
    for i in range(1, len(weights), 3):  # shift, then scale
        weights[f"Variable_{i + 1}"] = np.abs(weights[f"Variable_{i + 1}"]) + 1
    path = files.write_bundle(folder / "wave.ckpt", weights)
    return Original([path], lambda x, _: originals.lengstrom_paint(weights, x))


def microast(folder: Path) -> Original:
    shapes = originals.microast_shapes(4)
    parts = {
        "content_encoder": weights_of(shapes["encoder"]),
        "style_encoder": weights_of(shapes["encoder"], seed=1),
        "modulator": weights_of(shapes["modulator"]),
        "decoder": weights_of(shapes["decoder"]),
    }
    parts["decoder"]["dec3.10.conv_layer.weight"] *= 2
    parts["decoder"]["dec3.10.conv_layer.bias"] += 0.5
    paths = [save_torch(folder / f"{name}.pth.tar", part) for name, part in parts.items()]
    return Original(
        paths, lambda x, p: originals.microast_paint(parts, x / 255, p / 255, 1.0) * 255
    )


def magenta(folder: Path) -> Original:
    transformer = weights_of(originals.magenta_shapes((4, 6, 8), 10, separable=False))
    looker = weights_of(originals.mobilenet_shapes(10))
    graph = '{"node": [{"op": "Pad", "name": "transformer/contract/Pad"}]}'
    paths = [files.write_manifest(folder / "transformer", transformer, graph=graph),
             files.write_manifest(folder / "looker", looker)]  # fmt: skip

    def paint(x: Tensor, painting: Tensor) -> Tensor:
        style = originals.mobilenet_look(looker, painting / 255)
        return originals.magenta_paint(transformer, x / 255, style) * 255

    return Original(paths, paint)


def jcjohnson(folder: Path) -> Original:
    tree = originals.jcjohnson_tree("reflect")
    path = files.write_torch7(folder / "candy.t7", {"model": tree})
    return Original([path], lambda x, _: originals.jcjohnson_paint(tree, x))


def as_tensor(picture: np.ndarray) -> Tensor:
    return torch.from_numpy(picture).permute(0, 3, 1, 2).float()


@pytest.mark.parametrize(
    "make", [examples, adain, lengstrom, microast, magenta, jcjohnson], ids=lambda f: f.__name__
)
def test_an_import_paints_as_the_original(
    make: Callable[[Path], Original], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    original, output = make(tmp_path), tmp_path / "out.onnx"
    assert main(["import", *map(str, original.files), "-o", str(output)]) == 0
    assert "Reading" in caplog.text
    assert "Writing the" in caplog.text
    spec, frame = read_model(output), photo()
    assert not spec.grain
    style, painting = None, np.random.default_rng(1).integers(0, 256, (256, 256, 3), np.uint8)
    if spec.style_input == "statistics":
        encoder = read_style_encoder(spec)
        side = encoder.image_size
        painting = np.ascontiguousarray(np.resize(painting // 2, (side, side, 3)))
        style = encode(encoder, painting)
    with torch.inference_mode():
        expected = original.paint(as_tensor(frame), as_tensor(painting[None]))
    expected = expected.clamp(0, 255).round().permute(0, 2, 3, 1).numpy()
    assert expected.std((1, 2)).min() > 5, "the original must paint something"
    for name in RUNTIMES:
        with open_engine(name, spec) as engine:
            off = np.abs(engine.submit(frame, style).result() - expected)
        print(f"{make.__name__} {name}: mean {off.mean():.3f}, worst {off.max():.0f}")
        assert off.mean() <= MEAN
        assert off.max() <= WORST


def onnx_file(path: Path, opset: int, weights: dict[str, np.ndarray]) -> Path:
    """Down and up again, as an exporter of that operator set would write it."""
    nodes: list[onnx.NodeProto] = []
    tensors = {name: numpy_helper.from_array(value, name) for name, value in weights.items()}

    def add(kind: str, *inputs: str, **attributes: object) -> str:
        nodes.append(helper.make_node(kind, list(inputs), [f"n{len(nodes)}"], **attributes))
        return f"n{len(nodes) - 1}"

    def stored(name: str, value: np.ndarray) -> str:
        tensors[name] = numpy_helper.from_array(value, name)
        return name

    def conv(name: str, x: str, stride: int = 1) -> str:
        pads = [0, 0, 1, 1, 0, 0, 1, 1]
        if opset < 11:
            x = add("Pad", x, mode="reflect", pads=pads)
        else:
            x = add("Pad", x, stored("pads", np.array(pads)), mode="reflect")
        sizes = {"kernel_shape": [3, 3], "strides": [stride, stride]}
        return add("Conv", x, f"{name}.weight", f"{name}.bias", **sizes)

    def enlarge(x: str) -> str:
        scales = np.array([1, 1, 2, 2], np.float32)
        if opset < 9:
            return add("Upsample", x, mode="nearest", scales=scales.tolist())
        if opset < 11:
            kind = "Upsample" if opset == 9 else "Resize"
            return add(kind, x, stored("scales", scales), mode="nearest")
        roi = stored("roi", np.zeros(0, np.float32)) if opset < 13 else ""
        return add(
            "Resize", x, roi, stored("scales", scales), mode="nearest", nearest_mode="floor",
            coordinate_transformation_mode="asymmetric",
        )  # fmt: skip

    x = add("Relu", add("InstanceNormalization", conv("down", "x", 2), "in1.weight", "in1.bias"))
    conv("out", enlarge(x))
    nodes[-1].output[0] = "y"
    shape = ["N", 3, "H", "W"]
    ends = [helper.make_tensor_value_info(end, TensorProto.FLOAT, shape) for end in "xy"]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], list(tensors.values()))
    opsets = [helper.make_opsetid("", opset)]
    onnx.save_model(
        helper.make_model(graph, opset_imports=opsets, ir_version=3 if opset < 9 else 8), path
    )
    return path


@pytest.mark.parametrize("opset", range(7, 23))
def test_onnx_files_of_every_operator_set(opset: int, tmp_path: Path) -> None:
    """Those of sets 7 and 8 are of IR version 3 with initialisers that are not inputs."""
    weights = weights_of({
        "down.weight": (8, 3, 3, 3), "down.bias": (8,), "in1.weight": (8,), "in1.bias": (8,),
        "out.weight": (3, 8, 3, 3), "out.bias": (3,),
    })  # fmt: skip
    weights["out.weight"] *= 60
    weights["out.bias"] += 127
    path, output = onnx_file(tmp_path / "old.onnx", opset, weights), tmp_path / "new.onnx"
    assert main(["import", str(path), "-o", str(output), "--range", "0..255"]) == 0
    spec, frame = read_model(output), photo()
    version = onnx.load(str(output)).opset_import[0].version
    assert version == max(opset, 18)
    w = {name: torch.from_numpy(value) for name, value in weights.items()}
    with torch.inference_mode():
        x = F.conv2d(originals.mirror(as_tensor(frame), 1), w["down.weight"], w["down.bias"], 2)
        x = F.relu(F.instance_norm(x, weight=w["in1.weight"], bias=w["in1.bias"], eps=1e-5))
        x = originals.mirror(F.interpolate(x, scale_factor=2, mode="nearest"), 1)
        expected = F.conv2d(x, w["out.weight"], w["out.bias"]).clamp(0, 255).round()
    expected = expected.permute(0, 2, 3, 1).numpy()
    assert expected.std((1, 2)).min() > 5, "the original must paint something"
    for name in RUNTIMES:
        with open_engine(name, spec) as engine:
            off = np.abs(engine.submit(frame).result() - expected)
        assert off.mean() <= MEAN
        assert off.max() <= WORST
