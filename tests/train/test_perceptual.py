from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from rtstyle.errors import InputNotFoundError, TrainingError
from rtstyle.train.losses import content_loss
from rtstyle.train.perceptual import STYLE_LAYERS, load_perceptual_net
from rtstyle.train.style_losses import describe, style_loss, total_distance
from tests.train.materials import CHANNELS, make_loss_net


def _picture(seed: int) -> torch.Tensor:
    return torch.rand((1, 3, 32, 48), generator=torch.Generator().manual_seed(seed))


def test_layers_have_the_sizes_of_vgg(tmp_path: Path) -> None:
    net = load_perceptual_net(make_loss_net(tmp_path / "vgg.safetensors"))
    features = net(_picture(0))
    assert tuple(features) == STYLE_LAYERS
    for k, (name, channels) in enumerate(zip(STYLE_LAYERS, CHANNELS, strict=True)):
        assert features[name].shape == (1, channels + 1, 32 >> k, 48 >> k)


def test_only_the_layers_asked_for_are_computed_and_none_deeper(tmp_path: Path) -> None:
    net = load_perceptual_net(make_loss_net(tmp_path / "vgg.safetensors"))
    assert net.kind == "vgg19_16x"
    ran: list[int] = []
    for stage in net.stages:
        for conv in stage:  # type: ignore[attr-defined]
            conv.register_forward_hook(lambda *_: ran.append(1))
    features = net(_picture(0), ("relu3_1", "relu2_2"))
    assert set(features) == {"relu2_2", "relu3_1"}
    assert len(ran) == 5
    assert torch.equal(features["relu3_1"], net(_picture(0))["relu3_1"])
    with pytest.raises(TrainingError, match="no layer relu3_9; it has relu1_1, relu1_2"):
        net(_picture(0), ("relu3_9", "relu1_1"))


def test_the_narrow_maps_give_the_losses_of_the_wide_ones(tmp_path: Path) -> None:
    path = make_loss_net(tmp_path / "vgg.safetensors")
    weights = load_file(path)
    net = load_perceptual_net(path)
    narrow = [net(_picture(seed)) for seed in (0, 1)]
    net.maps = None
    plain = [net(_picture(seed)) for seed in (0, 1)]
    wide = [
        {
            name: torch.nn.functional.conv2d(
                x, weights[f"conv{k}1_aux.weight"], weights[f"conv{k}1_aux.bias"]
            )
            for k, (name, x) in enumerate(features.items(), start=1)
        }
        for features in plain
    ]
    losses = [
        (
            total_distance(style_loss("gram"), a, describe(style_loss("gram"), b)),
            content_loss(a["relu4_1"], b["relu4_1"]),
        )
        for a, b in (narrow, wide)
    ]
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(("third_stage", "depth"), [(3, 16), (4, 19)])
def test_torchvision_s_weights_are_recognised(tmp_path: Path, third_stage: int, depth: int) -> None:
    weights, index, c_in = {}, 0, 3
    for count, channels in zip((2, 2, third_stage, third_stage, 1), CHANNELS, strict=True):
        for _ in range(count):
            weights[f"features.{index}.weight"] = torch.rand(channels, c_in, 3, 3)
            weights[f"features.{index}.bias"] = torch.rand(channels)
            index, c_in = index + 2, channels
        index += 1
    torch.save(weights, tmp_path / f"vgg{depth}.pth")
    net = load_perceptual_net(tmp_path / f"vgg{depth}.pth")
    assert net.kind == f"vgg{depth}"
    assert sum(len(stage) for stage in net.stages) == 5 + 2 * third_stage  # type: ignore[arg-type,misc]
    assert [x.shape[1] for x in net(_picture(0)).values()] == list(CHANNELS)


def test_what_is_no_perceptual_network_is_refused_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match="--loss-net"):
        load_perceptual_net(tmp_path / "missing.safetensors")
    (tmp_path / "text.pth").write_text("not weights")
    save_file({"layer": torch.zeros(1)}, tmp_path / "other.safetensors")
    for name in ("text.pth", "other.safetensors"):
        with pytest.raises(TrainingError, match="--loss-net"):
            load_perceptual_net(tmp_path / name)
