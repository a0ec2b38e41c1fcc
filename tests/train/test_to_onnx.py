"""A trained net becomes a model file, whole and painting as it did, or no file at all."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from rtstyle.bench import parity
from rtstyle.bench.parity import (
    ENGINE_LIMITS,
    Difference,
    Limits,
    measure_difference,
    measure_runtimes,
    require_parity,
)
from rtstyle.engines import open_engine
from rtstyle.errors import ModelError, OutputError
from rtstyle.model.spec import ModelSpec
from rtstyle.nets import build_net
from rtstyle.nets.contract import Grain
from rtstyle.style.style import styles_of
from rtstyle.train import to_onnx as onnx_export
from rtstyle.train.reference import reference_samples
from rtstyle.train.to_onnx import ModelCard

write_model = partial(onnx_export.write_model, check=require_parity)

CARD = ModelCard(("test",), "A test.", "CC0-1.0")


class Tinted(nn.Module):
    """A net with two styles, each a colour that is laid over the picture."""

    stride, style_size = 2, 2

    def __init__(self) -> None:
        super().__init__()
        self.options: dict[str, int] = {}
        self.colors = nn.Parameter(torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:  # (N, 3, H, W), (N, 2) → (N, 3, H, W)
        color: Tensor = (style @ self.colors)[:, :, None, None]
        return (x + color) / 2


def test_keeps_the_contract(tiny_model: ModelSpec) -> None:
    model = onnx.load(tiny_model.path)
    (frame,), (painted,) = model.graph.input, model.graph.output
    for value, name in ((frame, "frame"), (painted, "stylized")):
        assert value.name == name
        assert value.type.tensor_type.elem_type == onnx.TensorProto.UINT8
        dims = value.type.tensor_type.shape.dim
        assert [dim.dim_param or dim.dim_value for dim in dims] == ["N", "H", "W", 3]
    nodes = model.graph.node
    assert nodes[0].op_type == nodes[-1].op_type == "Cast"  # TensorRT moves no uint8 otherwise
    norms = [node for node in nodes if node.op_type == "InstanceNormalization"]
    assert len(norms) == 7  # each one operation, which every runtime has a kernel for
    assert not model.functions
    assert all(not node.metadata_props and not node.doc_string for node in nodes)


@pytest.mark.parametrize("architecture", ["johnson", "fast", "texture-pyramid"])
def test_every_runtime_paints_as_torch(
    architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_export, "half_weights", lambda model: model)  # rounding aside
    torch.manual_seed(1)
    net = build_net(
        architecture, **({"width": 4, "blocks": 1} if architecture == "johnson" else {})
    )
    spec = write_model(net, tmp_path / "new" / "m.onnx", CARD, architecture=architecture)
    assert (spec.architecture, spec.stride) == (architecture, net.stride)
    found = measure_runtimes(spec, reference_samples(net, spec))
    assert list(found) == ["openvino", "onnxruntime"]
    for difference in found.values():
        assert difference.mean <= 1
        assert difference.p999 <= 1
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["m.onnx"]


def test_a_net_may_take_a_style(tmp_path: Path) -> None:
    card = ModelCard(
        ("red", "blue"), "Two colours.", "CC0-1.0", style_descriptions=("Warm.", "Cold.")
    )
    spec = write_model(Tinted(), tmp_path / "m.onnx", card, architecture="tinted")
    assert (spec.styles, spec.style_size) == (("red", "blue"), 2)
    assert [style.description for style in styles_of(spec)] == ["Warm.", "Cold."]
    with open_engine("auto", spec) as engine:
        frames = np.zeros((3, 8, 6, 3), np.uint8)
        painted = engine.submit(frames, np.eye(2, dtype=np.float32)[:1]).result()
    expected = (Grain()(8, 6).numpy()[..., None] + np.array([255, 0, 0])) / 2
    assert np.abs(painted - expected.clip(0, 255)).max() < 0.51


def test_leaves_no_file_behind_when_the_painting_differs(
    tmp_path: Path, tiny_net: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.onnx"
    path.write_text("the previous one")
    off = {"openvino": Difference(0.2, 4.0, 0.0, worst=4)}
    monkeypatch.setattr(parity, "measure_runtimes", lambda model, samples: off)
    with pytest.raises(ModelError, match="openvino does not paint as torch does"):
        write_model(tiny_net, path, CARD, architecture="johnson")
    assert path.read_text() == "the previous one"
    assert list(tmp_path.iterdir()) == [path]


def test_notices_another_net(tiny_model: ModelSpec) -> None:
    torch.manual_seed(9)
    samples = reference_samples(build_net("johnson", width=4, blocks=1), tiny_model)
    with pytest.raises(ModelError, match="grey levels on average"):
        require_parity(tiny_model, samples)


@pytest.mark.parametrize(
    ("found", "fits"),
    [
        ((1, 3, 8), True),
        ((1.01, 0, 0), False),
        ((0, 3.01, 0), False),
        ((0, 0, 8.01), False),
        ((float("nan"), 0, 0), False),
    ],
)
def test_holds_the_limits(found: tuple[float, float, float], fits: bool) -> None:
    difference = Difference(*found, worst=9)
    if fits:
        ENGINE_LIMITS.require(difference, "It")
    else:
        with pytest.raises(ModelError):
            ENGINE_LIMITS.require(difference, "It")


def test_flat_frames_count_by_their_colour_alone() -> None:
    textured = np.arange(192, dtype=np.uint8).reshape(1, 8, 8, 3)
    flat = np.full((1, 8, 8, 3), 90, np.uint8)
    noisy = flat + np.tile(np.array([0, 4], np.uint8), 96).reshape(flat.shape)
    found = measure_difference([(textured, textured + 1, textured), (flat, noisy, flat)])
    assert found == Difference(mean=1.0, p999=1.0, flat_color=2.0, worst=1)
    with pytest.raises(ModelError, match="at most 9 and 9 are allowed"):
        Limits(9, None, 9).require(measure_difference([(flat, flat, flat)]), "Without texture")


def test_cannot_write_where_a_file_is_in_the_way(tmp_path: Path, tiny_net: nn.Module) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        write_model(tiny_net, tmp_path / "file" / "m.onnx", CARD, architecture="johnson")


@pytest.mark.parametrize(
    "styles", [(), ("",), ("a=b",), ("a,b",), ("a\nb",), ("two", "for one"), ("x.onnx",)]
)
def test_refuses_names_that_cannot_be(
    styles: tuple[str, ...], tmp_path: Path, tiny_net: nn.Module
) -> None:
    with pytest.raises(ModelError):
        write_model(tiny_net, tmp_path / "m.onnx", ModelCard(styles), architecture="johnson")
    assert not list(tmp_path.iterdir())
