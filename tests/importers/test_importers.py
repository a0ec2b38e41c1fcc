"""Every foreign format: a file with the original layout and names paints as the original does."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from rtstyle.errors import InputNotFoundError, ModelError
from rtstyle.importers import recognise
from rtstyle.importers.base import Imported
from tests.importers import files, originals
from tests.importers.originals import Weights, t, weights_of


@pytest.fixture
def picture() -> Tensor:
    """(1, 3, 64, 96) from 0 to 1."""
    return torch.rand((1, 3, 64, 96), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def painting() -> Tensor:
    return torch.rand((1, 3, 96, 64), generator=torch.Generator().manual_seed(1)) ** 2


def save_torch(path: Path, weights: Weights, **wrapped: object) -> Path:
    state = OrderedDict((name, t(value)) for name, value in weights.items())
    torch.save({**wrapped, "state_dict": state} if wrapped else state, path)
    return path


def imported(*paths: Path) -> Imported:
    return recognise(paths)[1]


def assert_same(got: Tensor, expected: Tensor, tolerance: float = 2e-3) -> None:
    assert got.shape == expected.shape
    places = expected.flatten(2) if expected.dim() == 4 else expected
    assert places.std(-1).max() > 0.01, "the original must paint something"
    assert float((got - expected).abs().max()) < tolerance


@pytest.mark.parametrize("width", [4, 6])
def test_pytorch_examples(width: int, picture: Tensor, tmp_path: Path) -> None:
    weights = weights_of(originals.examples_shapes(width))
    stored = weights | {"in1.running_mean": np.ones(width, np.float32)}  # old and never used
    found = imported(save_torch(tmp_path / "candy.pth", stored))
    assert found.architecture == "johnson"
    with torch.inference_mode():
        assert_same(found.net(picture), originals.examples_paint(weights, picture * 255) / 255)


def test_pytorch_examples_of_the_first_version(picture: Tensor, tmp_path: Path) -> None:
    """Norms with `scale` and `shift`, of shape (C, 1, 1); from DataParallel, legacy format."""
    weights = weights_of(originals.examples_shapes(4, old=True))
    stored = {
        f"module.{n}": v.reshape(-1, 1, 1) if n.endswith(("scale", "shift")) else v
        for n, v in weights.items()
    }
    path = tmp_path / "mosaic.model"
    state = OrderedDict((n, t(v)) for n, v in stored.items())
    torch.save(state, path, _use_new_zipfile_serialization=False)
    expected = originals.examples_paint(weights, picture * 255, old=True) / 255
    with torch.inference_mode():
        assert_same(imported(path).net(picture), expected)


@pytest.mark.parametrize("strength", [1.0, 0.4])
def test_adain(strength: float, picture: Tensor, painting: Tensor, tmp_path: Path) -> None:
    encoder, decoder = (weights_of(shapes, seed=2) for shapes in originals.adain_shapes(4))
    paths = [save_torch(tmp_path / "decoder.pth", decoder),
             save_torch(tmp_path / "vgg_normalised.pth", encoder)]  # fmt: skip
    net = imported(*paths).net
    with torch.inference_mode():
        got = net(picture, net.encode(painting), torch.tensor([strength]))
        expected = originals.adain_paint(encoder, decoder, picture, painting, strength)
    assert_same(got, expected)
    for path, missing in zip(paths, ("vgg_normalised", "decoder"), strict=True):
        with pytest.raises(ModelError, match=f"name {missing}.pth beside it"):
            recognise([path])


@pytest.mark.parametrize("blocks", [5, 3])
@pytest.mark.parametrize("write", [files.write_bundle, files.write_slices])
def test_lengstrom(write: object, blocks: int, picture: Tensor, tmp_path: Path) -> None:
    weights = weights_of(originals.lengstrom_shapes(4, blocks))
    for i in range(1, len(weights), 3):  # shift, then scale
        weights[f"Variable_{i + 1}"] = np.abs(weights[f"Variable_{i + 1}"]) + 1
    stored = weights | {"Variable/Adam": weights["Variable"] * 0, "beta1_power": np.float32(0.5)}
    path = write(tmp_path / "wave.ckpt", stored)  # type: ignore[operator]
    with torch.inference_mode():
        got = imported(path).net(picture)
        assert_same(got, originals.lengstrom_paint(weights, picture * 255) / 255)


@pytest.mark.parametrize("strength", [1.0, 0.4])
def test_microast(strength: float, picture: Tensor, painting: Tensor, tmp_path: Path) -> None:
    shapes = originals.microast_shapes(4)
    parts = {
        "content_encoder": weights_of(shapes["encoder"]),
        "style_encoder": weights_of(shapes["encoder"], seed=1),
        "modulator": weights_of(shapes["modulator"]),
        "decoder": weights_of(shapes["decoder"]),
    }
    paths = [save_torch(tmp_path / f"{n}_iter_160000.pth.tar", w) for n, w in parts.items()]
    net = imported(*reversed(paths)).net
    with torch.inference_mode():
        got = net(picture, net.encode(painting), torch.tensor([strength]))
        assert_same(got, originals.microast_paint(parts, picture, painting, strength), 5e-3)
    with pytest.raises(ModelError, match="look at the style encoder, of which 0"):
        recognise([paths[0], paths[2], paths[3]])


@pytest.mark.parametrize("separable", [False, True])
def test_magenta(separable: bool, picture: Tensor, painting: Tensor, tmp_path: Path) -> None:
    transformer = weights_of(originals.magenta_shapes((4, 6, 8), 10, separable=separable))
    looker = weights_of(originals.mobilenet_shapes(10))
    graph = '{"node": [{"op": "Pad", "name": "transformer/contract/Pad"}]}'
    paths = [files.write_manifest(tmp_path / "transformer", transformer, graph=graph),
             files.write_manifest(tmp_path / "looker", looker, shards=3)]  # fmt: skip
    net = imported(*paths).net
    style = originals.mobilenet_look(looker, painting)
    with torch.inference_mode():
        assert_same(net.encode(painting), style)
        expected = originals.magenta_paint(transformer, picture, style)
        assert_same(net(picture, style, torch.ones(1)), expected)
        half = net(picture, style, torch.tensor([0.5]))
    assert_same(half, (expected + picture) / 2)
    with pytest.raises(ModelError, match=r"is two nets: name the model\.json of the style net"):
        recognise(paths[:1])
    (tmp_path / "looker" / "group1-shard2of3").unlink()
    with pytest.raises(ModelError, match="all its shards"):
        recognise(paths)


def test_magenta_dilated_or_led_elsewhere_is_refused(tmp_path: Path) -> None:
    transformer = weights_of(originals.magenta_shapes((4, 6, 8), 10, separable=False))
    looker = files.write_manifest(tmp_path / "l", weights_of(originals.mobilenet_shapes(10)))
    dilated = '{"node": [{"attr": {"dilations": {"list": {"s": [], "i": ["1", "2", "2", "1"]}}}}]}'
    with pytest.raises(ModelError, match="dilated"):
        recognise([files.write_manifest(tmp_path / "p", transformer, graph=dilated), looker])
    text = looker.read_text().replace("group1-shard1of2", "../p/group1-shard1of2")
    looker.write_text(text)
    with pytest.raises(ModelError, match="not beside it"):
        recognise([looker])


@pytest.mark.parametrize("padding", ["reflect-start", "reflect", "zero"])
def test_jcjohnson(padding: str, picture: Tensor, tmp_path: Path) -> None:
    tree = originals.jcjohnson_tree(padding)
    held = {"opt": {"preprocessing": "vgg", "padding_type": padding}, "model": tree}
    net = imported(files.write_torch7(tmp_path / "candy.t7", held)).net
    with torch.inference_mode():
        assert_same(net(picture), originals.jcjohnson_paint(tree, picture * 255) / 255)
    assert net.stride % 4 == 0
    assert net.stride > (4 if padding != "zero" else 0)  # what is mirrored must be there


def test_jcjohnson_refuses_code_and_other_modules(tmp_path: Path) -> None:
    other = files.write_torch7(tmp_path / "a.t7", ("nn.Linear", {}))
    with pytest.raises(ModelError, match=r"module nn\.Linear, which is not known"):
        recognise([other])
    (tmp_path / "b.t7").write_bytes(b"\x06\0\0\0" + bytes(40))
    with pytest.raises(ModelError, match="which is code or damage"):
        recognise([tmp_path / "b.t7"])
    whole = other.read_bytes()
    for cut in (3, 9, 20, len(whole) - 2):
        (tmp_path / "c.t7").write_bytes(whole[:cut])
        with pytest.raises(ModelError, match="no binary Torch7 file"):
            recognise([tmp_path / "c.t7"])


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("ran",))


def test_nothing_in_a_file_is_executed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.pth").write_bytes(pickle.dumps({"w": Evil()}, protocol=2))
    torch.save({"state_dict": {"w": Evil()}}, tmp_path / "b.pth")
    for name in ("a.pth", "b.pth"):
        with pytest.raises(ModelError, match=r"state_dict|no PyTorch file"):
            recognise([tmp_path / name])
    assert "ran" not in capsys.readouterr().out


def test_what_is_not_known_is_refused_with_what_was_seen(tmp_path: Path) -> None:
    path = save_torch(tmp_path / "gan.pth", {"layer.weight": np.ones((7, 5), np.float32)})
    with pytest.raises(
        ModelError, match=r"gan.pth \(torch\) holds 1 tensors: layer.weight \[7, 5\]"
    ):
        recognise([path])
    (tmp_path / "text.bin").write_bytes(b"hello")
    with pytest.raises(ModelError, match="no format that is known"):
        recognise([tmp_path / "text.bin"])
    with pytest.raises(InputNotFoundError):
        recognise([tmp_path / "none.pth"])
    weights = weights_of(originals.examples_shapes(4))
    wrong = weights | {"res3.conv1.conv2d.weight": np.ones((16, 8, 3, 3), np.float32)}
    with pytest.raises(ModelError, match=r"body.2.first.conv.weight has the shape \[16, 8, 3, 3\]"):
        recognise([save_torch(tmp_path / "wrong.pth", wrong)])
    nan = weights | {"deconv3.conv2d.bias": np.full(3, np.nan, np.float32)}
    with pytest.raises(ModelError, match="no numbers"):
        recognise([save_torch(tmp_path / "nan.pth", nan, epoch=3)])


def test_damaged_tensorflow_files(tmp_path: Path) -> None:
    path = files.write_slices(tmp_path / "a.ckpt", weights_of(originals.lengstrom_shapes(4)))
    data = path.read_bytes()
    (tmp_path / "b.ckpt").write_bytes(data[:1000] + data[2000:])
    with pytest.raises(ModelError, match="no TensorFlow checkpoint"):
        recognise([tmp_path / "b.ckpt"])
    prefix = files.write_bundle(tmp_path / "c.ckpt", weights_of(originals.lengstrom_shapes(4)))
    prefix.with_name("c.ckpt.data-00000-of-00001").unlink()
    with pytest.raises(ModelError, match="no TensorFlow checkpoint"):
        recognise([prefix])
