from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torch
from safetensors.torch import load_file, save_file

from rtstyle.errors import InputNotFoundError, TrainingError
from rtstyle.train import perceptual
from rtstyle.train.losses import content_loss
from rtstyle.train.perceptual import STYLE_LAYERS, load_perceptual_net
from rtstyle.train.style_losses import describe, style_loss, total_distance
from tests.train.materials import CHANNELS, make_loss_net, make_vgg16


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A server in place of PyTorch's, and an empty cache; yields the folder that it serves."""
    served = tmp_path / "served"
    served.mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=str(served))
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        weights = make_vgg16(tmp_path / "vgg16.safetensors")
        torch.save(load_file(weights), served / "vgg16.pth")
        content = (served / "vgg16.pth").read_bytes()
        name = f"vgg16-{hashlib.sha256(content).hexdigest()[:8]}.pth"
        (served / "vgg16.pth").rename(served / name)
        url = f"http://127.0.0.1:{server.server_address[1]}/{name}"
        monkeypatch.setattr(perceptual, "VGG16_URL", url)
        yield served
        server.shutdown()
        thread.join()


def test_vgg16_is_fetched_once_and_only_by_name(
    hub: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert load_perceptual_net("vgg16").kind == "vgg16"
    assert "Fetching torchvision's VGG-16" in caplog.text
    (file,) = hub.iterdir()
    assert perceptual.cached_vgg16().read_bytes() == file.read_bytes()
    file.unlink()
    assert load_perceptual_net("vgg16").kind == "vgg16"  # from the cache
    with pytest.raises(InputNotFoundError):
        load_perceptual_net("vgg19")


@pytest.mark.parametrize("trouble", ["gone", "changed"])
def test_weights_that_do_not_come_leave_nothing(hub: Path, trouble: str) -> None:
    (file,) = hub.iterdir()
    if trouble == "gone":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-1] + b"!")
    with pytest.raises(TrainingError, match="pass them with --loss-net FILE"):
        load_perceptual_net("vgg16")
    assert not list(perceptual.cached_vgg16().parent.iterdir())


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
        with pytest.raises(TrainingError, match="--loss-net") as caught:
            load_perceptual_net(tmp_path / name)
        assert "weights_only" not in str(caught.value)  # PyTorch's advice to load it all the same
