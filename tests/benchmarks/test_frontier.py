"""The judge, the frontier's cache and the Pareto ratio, on a tiny loss net."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.quality.alexnet import AlexNet
from benchmarks.quality.frontier import WEIGHTS, Frontiers, Wanted, make_frontiers, pareto_ratio
from benchmarks.quality.judge import Judge, Losses, as_tensor
from benchmarks.quality.look import Judges
from benchmarks.quality.near_frontier import NearFrontiers
from rtstyle.media.images import read_picture
from rtstyle.train.perceptual import load_perceptual_net
from tests.train.materials import make_alexnet, make_loss_net, make_painting, make_vgg16

PHOTO = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    loss_net = load_perceptual_net(make_loss_net(tmp_path / "net.safetensors"))
    return Judge(make_painting(tmp_path / "painting.png"), 64, loss_net)


@pytest.mark.parametrize(
    ("losses", "ratio"),
    [
        (Losses(0.2, 0.8), 1.0),  # on the frontier
        (Losses(0.4, 0.8), 1.6),  # 0.8 / 0.5, nearer than twice the style loss of the first
        (Losses(0.5, 0.5), 1.25),  # max(0.5 / 0.4, 0.5 / 0.5), nearer than 2.5 to the first
        (Losses(0.1, 0.2), 0.4),  # max(0.1 / 0.4, 0.2 / 0.5): better than both
    ],
)
def test_pareto_ratio_is_that_of_the_nearest_trade_off(losses: Losses, ratio: float) -> None:
    assert pareto_ratio(losses, [Losses(0.2, 0.8), Losses(0.4, 0.5)]) == pytest.approx(ratio)


def test_painting_and_photograph_judge_themselves(judge: Judge, tmp_path: Path) -> None:
    picture, _ = read_picture(tmp_path / "painting.png")
    photo = as_tensor(PHOTO)
    assert judge.losses(photo, photo).content == 0
    assert judge.losses(photo, photo).style > 0.01
    same = Judge(tmp_path / "painting.png", 96, judge.loss_net)  # its own size
    assert same.losses(as_tensor(picture), as_tensor(picture)).style == 0
    assert same.key != judge.key


def test_a_frontier_trades_style_for_content_and_is_kept(judge: Judge, tmp_path: Path) -> None:
    frontiers = Frontiers(tmp_path / "cache", steps=5)
    points = frontiers.of(judge, PHOTO)
    assert len(points) == len(WEIGHTS)
    assert points[-1].style < points[0].style
    assert points[-1].content > points[0].content
    assert points[0].style < judge.losses(as_tensor(PHOTO), as_tensor(PHOTO)).style
    assert frontiers.of(judge, PHOTO) == points
    (kept,) = (tmp_path / "cache").iterdir()
    assert kept == frontiers.path(judge, PHOTO)
    assert kept.name.startswith(f"gatys-5-{judge.key}-")
    kept.write_text(json.dumps([[0.5, 0.25]]))
    assert frontiers.of(judge, PHOTO) == [Losses(0.5, 0.25)]


def test_several_processes_make_what_one_makes(judge: Judge, tmp_path: Path) -> None:
    photos = (PHOTO, PHOTO // 2)
    one, two = (Frontiers(tmp_path / name, steps=2) for name in ("one", "two"))

    def wanted(frontiers: Frontiers) -> list[Wanted]:
        painting, loss_net = tmp_path / "painting.png", tmp_path / "net.safetensors"
        return [Wanted(painting, 64, photo, loss_net, frontiers) for photo in photos]

    done: list[int] = []
    make_frontiers(wanted(two), jobs=2, on_done=done.append)
    assert done == [1, 2]
    make_frontiers(wanted(one))
    for photo in photos:
        made = [json.loads(frontiers.path(judge, photo).read_text()) for frontiers in (one, two)]
        assert np.allclose(*made, rtol=1e-3)


def test_near_a_nets_own_trade_off_few_points_are_made_and_kept(tmp_path: Path) -> None:
    judges = Judges(
        make_painting(tmp_path / "painting.png"), 64,
        vgg=load_perceptual_net(make_vgg16(tmp_path / "vgg16.safetensors")),
        alexnet=AlexNet(make_alexnet(tmp_path / "alexnet.safetensors")),
    )  # fmt: skip
    near, photo = NearFrontiers(tmp_path, steps=4), as_tensor(PHOTO)
    found = judges.look(judges.optimised(photo, 2.5, 4), photo)
    assert near.ratio(judges, PHOTO, found) == pytest.approx(1, rel=1e-3)
    path = near.path(judges, PHOTO)
    assert [point[0] for point in json.loads(path.read_text())] == [2.5]
    written = path.stat().st_mtime_ns
    assert near.ratio(judges, PHOTO, found) == pytest.approx(1, rel=1e-3)
    assert path.stat().st_mtime_ns == written
    # A net that painted less is compared with an optimisation that paints less.
    light = judges.look(judges.optimised(photo, 0.4, 4), photo)
    assert near.ratio(judges, PHOTO, light) < 1.3
    assert min(point[0] for point in json.loads(path.read_text())) < 2.5
    worse = light._replace(vgg_style=2 * light.vgg_style, vgg_content=2 * light.vgg_content)
    assert 1.6 < near.ratio(judges, PHOTO, worse) < 2.6
