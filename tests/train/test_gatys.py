"""Painting by optimisation: the objective, both optimisers, presets, and the files of a job."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from rtstyle.errors import (
    InputNotFoundError,
    MediaError,
    OutputExistsError,
    TrainingError,
    UsageError,
)
from rtstyle.media.images import read_picture
from rtstyle.train.gatys import Objective, Step, Weights, classic_weights, optimise, paint
from rtstyle.train.losses import tv_loss
from rtstyle.train.paint_job import PRESETS, PaintJob, Settings, preset, run_paint_job
from rtstyle.train.perceptual import STYLE_LAYERS, PerceptualNet, load_perceptual_net
from rtstyle.train.style_losses import STYLE_LOSSES, Features, describe, style_loss
from rtstyle.train.style_losses.patches import NearestPatches
from tests.train.materials import make_loss_net, make_painting, make_photos

GRAM = style_loss("gram")


@pytest.fixture(scope="module")
def loss_net_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_loss_net(tmp_path_factory.mktemp("net") / "vgg.safetensors")


@pytest.fixture(scope="module")
def loss_net(loss_net_file: Path) -> PerceptualNet:
    return load_perceptual_net(loss_net_file)


def picture(seed: int) -> Tensor:
    coarse = torch.rand((1, 3, 5, 6), generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, (40, 48), mode="bilinear")


@pytest.fixture(scope="module")
def grams(loss_net: PerceptualNet) -> Features:
    with torch.no_grad():
        return describe(GRAM, loss_net(picture(1)))


def losses(x: Tensor, grams: Features, loss_net: PerceptualNet) -> dict[str, float]:
    weights = Weights(tv=1.0)
    with torch.no_grad():
        _, found = Objective(picture(0), grams, loss_net=loss_net, weights=weights)(x)
    return {name: float(value) for name, value in found.items()}


def test_style_comes_nearer_and_content_stays(loss_net: PerceptualNet, grams: Features) -> None:
    photo, steps = picture(0), list[Step]()
    painted = paint(photo, grams, loss_net=loss_net, steps=30, on_step=steps.append)
    assert painted.shape == photo.shape
    assert painted.min() >= 0
    assert painted.max() <= 1
    before, after = losses(photo, grams, loss_net), losses(painted, grams, loss_net)
    assert after["style"] < before["style"] / 3
    assert after["content"] < 1
    assert [step.done for step in steps] == list(range(1, len(steps) + 1))
    assert 30 <= len(steps) <= 31
    assert steps[0].losses["style"] == pytest.approx(before["style"], rel=1e-5)
    assert steps[0].losses["content"] == 0


def test_is_the_same_every_time(loss_net: PerceptualNet, grams: Features) -> None:
    one, two = (paint(picture(0), grams, loss_net=loss_net, steps=5) for _ in "ab")
    assert torch.equal(one, two)


@pytest.mark.parametrize("name", STYLE_LOSSES)
@pytest.mark.parametrize("method", ["lbfgs", "adam"])
def test_every_loss_with_both_optimisers(name: str, method: Any, loss_net: PerceptualNet) -> None:
    loss, photo, seen = style_loss(name), picture(0), list[float]()
    with torch.no_grad():
        target = describe(loss, loss_net(picture(1)))
    objective = Objective(
        photo, target, loss_net=loss_net, weights=Weights(style=10.0, tv=0.1), style_loss=loss
    )
    optimise(
        photo, objective, method=method, steps=20,
        on_step=lambda step: seen.append(step.losses["style"]),
    )  # fmt: skip
    assert seen[-1] < seen[0] * 0.9


def test_the_objective_is_the_weighted_sum(loss_net: PerceptualNet, grams: Features) -> None:
    x = picture(2)
    by_layer = {name: k + 1.0 for k, name in enumerate(STYLE_LAYERS)}
    features = loss_net(x)
    distances = {name: float(GRAM.distance(features[name], grams[name])) for name in grams}
    for style, expected in (
        (7.0, 7 * sum(distances.values())),
        (by_layer, sum(by_layer[name] * distances[name] for name in distances)),
    ):
        weights = Weights(content=2.0, style=style, tv=3.0)
        total, parts = Objective(picture(0), grams, loss_net=loss_net, weights=weights)(x)
        assert float(parts["tv"]) == pytest.approx(float(tv_loss(x)))
        assert float(parts["style"]) == pytest.approx(sum(distances.values()))
        assert float(total) == pytest.approx(
            2 * float(parts["content"]) + 3 * float(parts["tv"]) + expected, rel=1e-5
        )


def test_more_weight_on_total_variation_is_smoother(
    loss_net: PerceptualNet, grams: Features
) -> None:
    rough, smooth = (
        optimise(
            picture(0),
            Objective(picture(0), grams, loss_net=loss_net, weights=Weights(tv=tv)),
            steps=20,
        )
        for tv in (0.0, 1000.0)
    )
    assert losses(smooth, grams, loss_net)["tv"] < losses(rough, grams, loss_net)["tv"] * 0.8


def test_classic_is_the_squared_errors_of_vgg() -> None:
    """Computed as those programs do, from features of VGG's own widths."""
    generator = torch.Generator().manual_seed(0)
    widths = (64, 128, 256, 512, 512)
    x, photo, painting = (
        {
            name: torch.rand((1, c, 32 >> k, 48 >> k), generator=generator)
            for k, (name, c) in enumerate(zip(STYLE_LAYERS, widths, strict=True))
        }
        for _ in range(3)
    )

    def gram_by_hand(f: Tensor) -> Tensor:
        flat = f[0].flatten(1).double()
        return flat @ flat.T / f.numel()

    content = (x["relu4_1"] - photo["relu4_1"]).double().square().mean()
    style = sum(
        (gram_by_hand(x[name]) - gram_by_hand(painting[name])).square().mean() for name in x
    )
    weights = classic_weights(photo, describe(GRAM, painting), content=1.0, style=1e4)
    assert isinstance(weights.style, dict)
    relative = (x["relu4_1"] - photo["relu4_1"]).square().sum() / photo["relu4_1"].square().sum()
    assert weights.content * float(relative) == pytest.approx(float(content), rel=1e-4)
    target = describe(GRAM, painting)
    ours = sum(weights.style[name] * float(GRAM.distance(x[name], target[name])) for name in x)
    assert ours == pytest.approx(1e4 * float(style), rel=1e-3)


def test_a_loss_that_is_no_number_stops_with_a_sentence(
    loss_net: PerceptualNet, grams: Features
) -> None:
    broken = grams | {"relu2_1": grams["relu2_1"] * float("nan")}
    with pytest.raises(TrainingError, match="The style loss became nan at step 1; lower"):
        paint(picture(0), broken, loss_net=loss_net, steps=3)
    objective = Objective(picture(0), grams, loss_net=loss_net, weights=Weights(style=1e39))
    with pytest.raises(TrainingError, match="The weighted loss became inf at step 1"):
        optimise(picture(0), objective, method="adam", steps=3)


def test_presets() -> None:
    assert preset("relative") == Settings()
    classic = preset("classic", steps=7, style_weight=None)
    assert (classic.optimizer, classic.content_weight, classic.style_weight) == ("adam", 1, 1e4)
    assert classic == replace(PRESETS["classic"], steps=7)
    with pytest.raises(UsageError, match="no preset 'modern'; known are relative, classic"):
        preset("modern")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "sgd"}, "no optimiser 'sgd'; known are lbfgs, adam"),
        ({"start": "style"}, "no start 'style'"),
        ({"style_loss": "x"}, "no style loss 'x'"),
        ({"style_weight": -1.0}, "style weight must be 0 or more, not -1"),
        ({"tv_weight": float("nan")}, "tv weight must be 0 or more, not nan"),
        ({"content_weight": float("inf")}, "not inf"),
        ({"steps": 0}, "At least 1 step"),
        ({"size": 16}, "at least 32 pixels"),
        ({"squared": True, "style_loss": "bn"}, "preset classic is about the loss gram"),
    ],
)
def test_refuses_settings_that_cannot_be(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Settings(**changes)


@pytest.fixture
def job(tmp_path: Path, loss_net_file: Path) -> PaintJob:
    content = make_photos(tmp_path / "photos", 1) / "photo0.png"
    return PaintJob(
        content=content, style=make_painting(tmp_path / "painting.png"),
        output=tmp_path / "out.png", loss_net=loss_net_file, device="cpu",
    )  # fmt: skip


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("start", ["content", "noise"])
def test_a_job_writes_its_picture(name: str, start: str, job: PaintJob) -> None:
    settings = preset(name, steps=4, size=64, start=start)
    run_paint_job(job, settings)
    painted, _ = read_picture(job.output)
    assert painted.shape == (64, 64, 3)
    if start == "noise":
        other = replace(job, output=job.output.with_name("other.png"))
        run_paint_job(other, replace(settings, seed=1))
        assert not np.array_equal(read_picture(other.output)[0], painted)


def test_the_progress_picture_is_written_on_the_way_and_stays(job: PaintJob) -> None:
    job = replace(job, progress=job.output.with_name("far.jpg"), progress_every=2)
    seen = []

    def interrupt(step: Step) -> None:
        assert job.progress
        seen.append(job.progress.exists())
        if step.done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_paint_job(job, Settings(size=48), on_step=interrupt)
    assert seen == [False, True, True, True, True]
    names = {p.name for p in job.output.parent.iterdir()}
    assert names == {"photos", "painting.png", "far.jpg"}


@pytest.mark.parametrize("size", [(1, 1), (5, 300), (33, 40)])
def test_small_pictures_are_enlarged_to_what_the_network_takes(
    size: tuple[int, int], job: PaintJob
) -> None:
    cv2.imwrite(str(job.content), np.full((*size, 3), 90, np.uint8))
    cv2.imwrite(str(job.style), np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8))
    run_paint_job(job, Settings(steps=2))
    assert min(read_picture(job.output)[0].shape[:2]) == max(32, min(size))


def test_wrong_files_are_reported_before_any_work(job: PaintJob, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("a text")
    (tmp_path / "there.png").write_text("precious")
    wrong: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"content": tmp_path / "no.jpg"}, InputNotFoundError, "no.jpg"),
        ({"style": tmp_path / "text.jpg"}, MediaError, "not a picture"),
        ({"loss_net": tmp_path / "no.pth"}, InputNotFoundError, "--loss-net"),
        ({"output": tmp_path / "out.mp4"}, UsageError, "which 'out.mp4' is not"),
        ({"output": tmp_path / "there.png"}, OutputExistsError, "--overwrite"),
        ({"progress": tmp_path / "there.png"}, OutputExistsError, "--overwrite"),
        ({"progress": job.output}, UsageError, "another name"),
        ({"output": job.content, "overwrite": True}, UsageError, "the input itself"),
        ({"device": "tpu"}, UsageError, "no device 'tpu'"),
    ]
    before = sorted(tmp_path.rglob("*"))
    for changes, error, message in wrong:
        with pytest.raises(error, match=message):
            run_paint_job(replace(job, **changes), Settings(steps=2))
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "there.png").read_text() == "precious"


def test_patches_are_matched_by_what_they_look_like() -> None:
    generator = torch.Generator().manual_seed(0)
    painting = torch.rand((1, 4, 21, 21), generator=generator)
    loss = NearestPatches()
    known = loss.describe(painting)
    assert known.shape == (1, 100, 36)
    assert loss.distance(painting, known).item() == 0
    turned = painting.roll((2, 4), (2, 3))  # by whole patches: the same ones, elsewhere
    assert loss.distance(turned[..., 2:, 4:], known).item() == 0
    assert loss.distance(painting.flip(1), known).item() > 0.1


def test_a_picture_is_painted_by_patches(tmp_path: Path) -> None:
    photo, style = (make_painting(tmp_path / f"{i}.png", side=96, step=i) for i in (5, 9))
    job = PaintJob(
        content=photo, style=style, output=tmp_path / "out.png",
        loss_net=make_loss_net(tmp_path / "vgg.safetensors"), device="cpu",
    )  # fmt: skip
    seen: list[float] = []
    settings = preset("relative", method="mrf", steps=8, size=96, style_size=96)
    run_paint_job(job, settings, on_step=lambda step: seen.append(step.losses["style"]))
    assert read_picture(job.output)[0].shape == (96, 96, 3)
    assert len(seen) >= 3 * 8  # at three scales
    assert seen[-1] < seen[-7]  # of the last scale
    with pytest.raises(UsageError, match="a style loss of its own"):
        preset("classic", method="mrf")
