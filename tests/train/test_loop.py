from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rtstyle.errors import MediaError, TrainingError, UsageError
from rtstyle.media.picture import read_picture
from rtstyle.model import read_model
from rtstyle.train.data import load_photos, random_crops
from rtstyle.train.job import Job, run_job
from rtstyle.train.loop import Recipe, Trainer, load_checkpoint_net, train
from rtstyle.train.perceptual import load_perceptual_net
from tests.train.materials import make_loss_net, make_painting, make_photos

TINY = Recipe(
    architecture="johnson", options={"width": 4, "blocks": 1}, updates=12, batch=2, crop=32,
    finish=2, finish_crop=64, warm_up=2, style_size=64, lr=1e-2,
    stability_weight=1.0, stability_from=0.5,
)  # fmt: skip


def _trainer(folder: Path, recipe: Recipe = TINY) -> Trainer:
    return Trainer(
        recipe,
        photos=load_photos(make_photos(folder / "photos")),
        painting=read_picture(make_painting(folder / "painting.png"))[0],
        loss_net=load_perceptual_net(make_loss_net(folder / "vgg.safetensors")),
    )


def _job(folder: Path) -> Job:
    make_photos(folder / "photos")
    return Job(
        painting=make_painting(folder / "painting.png"), output=folder / "mine.onnx",
        content=folder / "photos", loss_net=make_loss_net(folder / "vgg.safetensors"),
        folder=folder / "work", name="stripes", description="Stripes.", device="cpu",
    )  # fmt: skip


def test_a_training_lowers_its_loss_and_ends_in_a_model_file(tmp_path: Path) -> None:
    losses: list[float] = []
    recipe = replace(TINY, updates=40)
    spec = run_job(
        _job(tmp_path), recipe, on_step=lambda done, terms: losses.append(terms["style"])
    )
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    assert read_model(tmp_path / "mine.onnx") == spec
    assert spec.styles == ("stripes",)
    assert spec.provenance["updates"] == 40
    work = tmp_path / "work"
    assert read_picture(work / "preview.png")[0].shape == (2 * 256, 3 * 256, 3)
    with (work / "losses.csv").open(newline="") as file:
        assert [int(row["update"]) for row in csv.DictReader(file)] == list(range(1, 41))


def test_a_training_that_was_killed_goes_on_to_the_same_losses(tmp_path: Path) -> None:
    whole: dict[int, dict[str, float]] = {}
    train(_trainer(tmp_path), folder=tmp_path / "a", on_step=whole.__setitem__)

    class KilledError(Exception):
        pass

    def kill(done: int, losses: dict[str, float]) -> None:
        if done == 9:
            raise KilledError

    folder = tmp_path / "b"
    with pytest.raises(KilledError):
        train(_trainer(tmp_path), folder=folder, save_every=4, on_step=kill)
    resumed = _trainer(tmp_path)
    resumed.resume(folder / "checkpoint.safetensors")
    assert resumed.done == 8
    rest: dict[int, dict[str, float]] = {}
    train(resumed, folder=folder, on_step=rest.__setitem__)
    assert list(rest) == [9, 10, 11, 12]
    for done, losses in rest.items():
        assert losses == pytest.approx(whole[done], rel=1e-4)
    with (folder / "losses.csv").open(newline="") as file:
        assert [int(row["update"]) for row in csv.DictReader(file)] == list(range(1, 13))


def test_other_settings_do_not_take_up_a_checkpoint(tmp_path: Path) -> None:
    _trainer(tmp_path).save(tmp_path / "c.safetensors")
    other = _trainer(tmp_path, replace(TINY, lr=1e-4))
    with pytest.raises(TrainingError, match="lr"):
        other.resume(tmp_path / "c.safetensors")


def test_a_loss_that_is_no_number_stops_and_keeps_the_weights(tmp_path: Path) -> None:
    trainer = _trainer(tmp_path)
    trainer.step()
    before = [p.clone() for p in trainer.net.parameters()]
    trainer.style = {name: torch.full_like(x, torch.nan) for name, x in trainer.style.items()}
    with pytest.raises(TrainingError, match="style loss is nan at update 2"):
        trainer.step()
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.net.parameters(), strict=True))


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = _trainer(tmp_path)
    path = tmp_path / "checkpoint.safetensors"
    trainer.save(path)
    before = path.read_bytes()

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rtstyle.train.loop.save_file", full)
    trainer.step()
    with pytest.raises(TrainingError, match="No space left"):
        trainer.save(path)
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.glob("checkpoint*")) == ["checkpoint.safetensors"]


def test_the_average_is_what_a_checkpoint_gives(tmp_path: Path) -> None:
    trainer = _trainer(tmp_path)
    trainer.step()
    trainer.save(tmp_path / "c.safetensors")
    net, recipe = load_checkpoint_net(tmp_path / "c.safetensors")
    assert recipe == TINY
    x = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(net(x), trainer.ema.to(memory_format=torch.contiguous_format)(x))


def test_broken_photographs_are_skipped_and_listed(tmp_path: Path) -> None:
    folder = make_photos(tmp_path / "photos")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing more")
    (folder / "tiny.png").write_bytes((folder / "photo0.png").read_bytes()[:40])
    photos = load_photos(folder, cache=tmp_path / "cache")
    assert len(photos) == 3
    assert photos.skipped == ("broken.jpg", "tiny.png")
    again = load_photos(folder, cache=tmp_path / "cache")  # this time from the cache
    assert again.skipped == photos.skipped
    assert (again.pixels == photos.pixels).all()


def test_crops_have_the_size_asked_for_whatever_the_photograph(tmp_path: Path) -> None:
    for side in (64, 400):
        photos = load_photos(make_photos(tmp_path / f"photos{side}", side=side))
        crops = random_crops(photos, size=160, batch=20, rng=np.random.default_rng(0))
        assert crops.shape == (20, 160, 160, 3)
    assert (
        len({crop.tobytes() for crop in crops}) == 20
    )  # there is room to choose in the large ones


def test_material_that_is_missing_or_broken_is_told_in_a_sentence(tmp_path: Path) -> None:
    job = _job(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.jpg").write_text("no picture")
    make_painting(tmp_path / "tiny.png", side=16)
    for changed, error, sentence in (
        (replace(job, output=tmp_path / "mine.pt"), UsageError, ".onnx"),
        (replace(job, content=tmp_path / "empty"), TrainingError, "No photographs"),
        (replace(job, painting=tmp_path / "text.jpg"), MediaError, "picture"),
        (replace(job, painting=tmp_path / "tiny.png"), TrainingError, "at least 64"),
    ):
        with pytest.raises(error, match=sentence):
            run_job(changed, TINY)
    assert not (tmp_path / "mine.onnx").exists()
    with pytest.raises(UsageError, match="multiple of 32"):
        Recipe(crop=100)
