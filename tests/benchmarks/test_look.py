"""The independent judges, on tiny random networks in the files' own format."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from benchmarks.quality.alexnet import AlexNet
from benchmarks.quality.davis import measure_motion
from benchmarks.quality.judge import as_tensor
from benchmarks.quality.look import Judges
from rtstyle.errors import InputNotFoundError, TrainingError
from rtstyle.media.images import read_picture
from rtstyle.train.perceptual import load_perceptual_net
from tests.train.materials import make_alexnet, make_loss_net, make_painting, make_vgg16


def test_lpips_is_that_of_its_definition(tmp_path: Path) -> None:
    net = AlexNet(make_alexnet(tmp_path / "alexnet.safetensors"))
    generator = torch.Generator().manual_seed(1)
    a, b = (torch.rand(2, 3, 80, 96, generator=generator) for _ in range(2))
    expected = torch.zeros(2)
    for k, (x, y) in enumerate(
        zip(net.features(a).values(), net.features(b).values(), strict=True)
    ):
        x, y = (torch.nan_to_num(f / f.norm(dim=1, keepdim=True)) for f in (x, y))
        for n in range(2):
            weighted = (x[n] - y[n]) ** 2 * net._heads[k][0]
            expected[n] += weighted.sum(0).mean()
    torch.testing.assert_close(net.lpips(a, b), expected, rtol=1e-4, atol=1e-5)
    assert net.lpips(a, a).abs().max() == 0
    assert [x.shape[2] for x in net.features(a).values()] == [19, 9, 4, 4, 4]  # torchvision's


def test_a_painting_and_a_photograph_are_nearest_to_themselves(tmp_path: Path) -> None:
    painting = make_painting(tmp_path / "painting.png", side=96)
    judges = Judges(
        painting,
        96,
        vgg=load_perceptual_net(make_vgg16(tmp_path / "vgg16.safetensors")),
        alexnet=AlexNet(make_alexnet(tmp_path / "alexnet.safetensors")),
    )
    style = as_tensor(read_picture(painting)[0])
    photo = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(2))
    copied, left = judges.look(style, photo), judges.look(photo, photo)
    assert copied.vgg_style == pytest.approx(0, abs=1e-6)
    assert copied.alex_style == pytest.approx(0, abs=1e-6)
    assert left.vgg_content == left.lpips == 0
    assert min(copied.vgg_content, copied.lpips, left.vgg_style, left.alex_style) > 1e-3


def test_networks_that_are_no_judges_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match="no AlexNet weights"):
        AlexNet(tmp_path / "nothing.safetensors")
    compressed = make_loss_net(tmp_path / "vgg19_16x.safetensors")
    with pytest.raises(TrainingError, match="holds no AlexNet"):
        AlexNet(compressed)
    with pytest.raises(TrainingError, match="measured in VGG-16, not in vgg19_16x"):
        Judges(
            make_painting(tmp_path / "painting.png"),
            96,
            vgg=load_perceptual_net(compressed),
            alexnet=AlexNet(make_alexnet(tmp_path / "alexnet.safetensors")),
        )


def test_motion_is_followed_and_what_flickers_is_measured() -> None:
    rng = np.random.default_rng(0)
    scene = cv2.resize(
        rng.integers(0, 256, (24, 24, 3), np.uint8), (192, 192), interpolation=cv2.INTER_CUBIC
    )
    frames = [np.ascontiguousarray(scene[16:144, 16 + 2 * t : 144 + 2 * t]) for t in range(4)]
    moving = measure_motion(frames)
    standing = np.mean([np.abs(a - b.astype(float)) for a, b in pairwise(frames)])
    assert moving.warp < 0.3 * standing

    count = iter(range(4))
    flickering = measure_motion(frames, lambda frame: frame // 2 + np.uint8(20 * (next(count) % 2)))
    assert flickering.warp == pytest.approx(20, abs=3)
    assert flickering.sobel == pytest.approx(moving.sobel / 2, rel=0.1)
    assert measure_motion(frames, lambda frame: cv2.blur(frame, (9, 9))).sobel < 0.7 * moving.sobel
