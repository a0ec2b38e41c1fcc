from __future__ import annotations

import csv
import json
import os
import signal
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from rtstyle.errors import TrainingError, UsageError
from rtstyle.media.images import read_picture
from rtstyle.nets import build_net, per_style
from rtstyle.nets.checkpoint import load_checkpoint_net, read_checkpoint
from rtstyle.train.data import load_photos
from rtstyle.train.loop import train
from rtstyle.train.perceptual import load_perceptual_net
from rtstyle.train.recipe import Recipe
from rtstyle.train.targets import Drawn
from rtstyle.train.trainer import Trainer, start_from
from rtstyle.train.ways.paintings import Paintings
from tests.train.materials import TINY, make_loss_net, make_painting, make_photos


def _trainer(folder: Path, recipe: Recipe = TINY, *, paintings: int = 1) -> Trainer:
    return Trainer(
        recipe,
        Paintings(
            load_photos(make_photos(folder / "photos")),
            [
                read_picture(make_painting(folder / f"painting{i}.png", step=6 + 2 * i))[0]
                for i in range(paintings)
            ],
        ),
        loss_net=load_perceptual_net(make_loss_net(folder / "vgg.safetensors")),
    )


BANK = replace(
    TINY, architecture="stylebank", options={"styles": 3, "width": 4}, stability_weight=0.0
)
KINDS = (
    (TINY, 1),
    (replace(TINY, options=TINY.options | {"norm": "batch"}), 1),
    (replace(TINY, options=TINY.options | {"styles": 3}, style_loss="bn"), 3),
    (BANK, 3),
    (replace(TINY, architecture="adain", options={"channels": [4, 4, 8, 8]}), 2),
    (
        replace(
            TINY, architecture="fast-adain",
            options={"channels": [4, 4, 8, 8], "width": 4, "deep": 8, "blocks": 1, "tail": 4},
        ),
        2,
    ),
)  # fmt: skip


@pytest.mark.parametrize(("recipe", "paintings"), KINDS)
def test_a_training_that_was_killed_goes_on_to_the_same_losses(
    tmp_path: Path, recipe: Recipe, paintings: int
) -> None:
    whole: dict[int, dict[str, float]] = {}
    train(
        _trainer(tmp_path, recipe, paintings=paintings),
        folder=tmp_path / "a",
        on_step=whole.__setitem__,
    )

    class KilledError(Exception):
        pass

    def kill(done: int, losses: dict[str, float]) -> None:
        if done == 9:
            raise KilledError

    folder = tmp_path / "b"
    trainer = _trainer(tmp_path, recipe, paintings=paintings)
    with pytest.raises(KilledError):
        train(trainer, folder=folder, save_every=0, on_step=kill)
    resumed = _trainer(tmp_path, recipe, paintings=paintings)
    resumed.resume(folder / "checkpoint.safetensors")
    assert resumed.done == 8
    rest: dict[int, dict[str, float]] = {}
    train(resumed, folder=folder, on_step=rest.__setitem__)
    assert list(rest) == [9, 10, 11, 12]
    for done, losses in rest.items():
        assert losses == pytest.approx(whole[done], rel=1e-4)
    with (folder / "losses.csv").open(newline="") as file:
        assert [int(row["update"]) for row in csv.DictReader(file)] == list(range(1, 13))


def _interrupted_training(folder: Path, number: signal.Signals) -> None:
    before, seen = signal.getsignal(number), list[int]()
    trainer = _trainer(folder)
    step = trainer.step

    def interrupted() -> dict[str, float]:
        if trainer.done == 3:
            os.kill(os.getpid(), number)
        return step()

    trainer.step = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        train(trainer, folder=folder, on_step=lambda done, _: seen.append(done))
    assert seen == [1, 2, 3, 4]
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_with_a_checkpoint_after_a_whole_update(
    tmp_path: Path, number: signal.Signals
) -> None:
    """In a process of its own: libraries that other tests load have handlers of their own."""
    process = get_context("spawn").Process(target=_interrupted_training, args=(tmp_path, number))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert read_checkpoint(tmp_path / "checkpoint.safetensors")[0]["done"] == 4
    with (tmp_path / "losses.csv").open(newline="") as file:
        assert [int(row["update"]) for row in csv.DictReader(file)] == [1, 2, 3, 4]


def test_checkpoints_are_made_by_the_clock_and_the_log_is_never_empty(tmp_path: Path) -> None:
    log, checkpoint = tmp_path / "losses.csv", tmp_path / "checkpoint.safetensors"
    saved: list[int] = []
    train(_trainer(tmp_path), folder=tmp_path, on_save=lambda trainer: saved.append(trainer.done))
    assert saved == [12]
    train(
        _trainer(tmp_path), folder=tmp_path, save_every=0,
        on_save=lambda trainer: saved.append(trainer.done),
    )  # fmt: skip
    assert saved[1:] == list(range(1, 13))
    with log.open("a") as file:
        file.write("13,0.5,")  # killed while writing
    again = _trainer(tmp_path)
    again.resume(checkpoint)

    def rows() -> int:
        return len(log.read_text().splitlines())

    again.recipe = replace(again.recipe, updates=13)
    train(again, folder=tmp_path, on_step=lambda done, _: saved.append(rows()))
    assert saved[-1] == 13  # its heading and 12 rows were there when the update began
    assert rows() == 14


def test_faces_have_a_term_of_their_own(tmp_path: Path) -> None:
    recipe = replace(
        TINY, face_weight=1.0, portraits=1.0, loss_net="vgg19_16x",
        style_layers={"relu1_1": 1.0, "relu2_2": 0.5}, content_layers={"relu3_1": 1.0},
    )  # fmt: skip
    with pytest.raises(TrainingError, match="none are known of these photographs"):
        _trainer(tmp_path, recipe)
    with pytest.raises(TrainingError, match="asks for the perceptual network vgg16"):
        _trainer(tmp_path, replace(TINY, loss_net="vgg16"))
    with pytest.raises(TrainingError, match="no layer relu9_1"):
        _trainer(tmp_path, replace(TINY, style_layers={"relu9_1": 1.0}))
    for wrong in ({"portraits": 1.5}, {"content_layers": {}}):
        with pytest.raises(UsageError, match=r"portraits|content_layers"):
            replace(recipe, **wrong)  # type: ignore[arg-type]
    photos = load_photos(make_photos(tmp_path / "photos"))
    faces = (np.array([[30.0, 30, 40, 40]]), *(np.zeros((0, 4)) for _ in photos.names[1:]))
    trainer = Trainer(
        recipe,
        Paintings(
            replace(photos, faces=faces),
            [read_picture(make_painting(tmp_path / "painting.png"))[0]],
        ),
        loss_net=load_perceptual_net(make_loss_net(tmp_path / "vgg.safetensors")),
    )  # fmt: skip
    first = [trainer.step()["faces"] for _ in range(4)]
    trainer.recipe = replace(recipe, face_weight=100.0, style_weight=0.0)
    for _ in range(60):
        last = trainer.step()["faces"]
    assert 0 < last < 0.7 * max(first)


def test_other_settings_do_not_take_up_a_checkpoint(tmp_path: Path) -> None:
    _trainer(tmp_path).save(tmp_path / "c.safetensors")
    other = _trainer(tmp_path, replace(TINY, lr=1e-4))
    with pytest.raises(TrainingError, match="lr"):
        other.resume(tmp_path / "c.safetensors")


@pytest.mark.parametrize(("updates", "changed"), [(20, "stretched"), (10, "shortened")])
def test_a_training_goes_on_with_more_updates_or_fewer(
    tmp_path: Path, updates: int, changed: str, caplog: pytest.LogCaptureFixture
) -> None:
    begun = _trainer(tmp_path)
    for _ in range(9):
        begun.step()
    begun.save(tmp_path / "c.safetensors")
    resumed = _trainer(tmp_path, replace(TINY, updates=updates))
    resumed.resume(tmp_path / "c.safetensors")
    assert f"{changed} from 12 updates to {updates}, of which 9 are done" in caplog.text
    train(resumed, folder=tmp_path / "work")
    assert resumed.done == updates
    with (tmp_path / "work" / "losses.csv").open(newline="") as file:
        rates = [float(row["lr"]) for row in csv.DictReader(file)]
    expected = [resumed.recipe.lr_at(done) for done in range(9, updates)]
    assert rates == pytest.approx(expected, rel=5e-3)


def test_a_loss_that_is_no_number_stops_and_keeps_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = _trainer(tmp_path)
    trainer.step()
    before = [p.clone() for p in trainer.net.parameters()]
    monkeypatch.setattr(
        trainer.way.style_loss, "distance", lambda x, target: x.sum((1, 2, 3)) * torch.nan
    )
    with pytest.raises(TrainingError, match="style loss is nan at update 2"):
        trainer.step()
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.net.parameters(), strict=True))


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    trainer = _trainer(tmp_path)
    path = tmp_path / "checkpoint.safetensors"
    trainer.save(path)
    before = path.read_bytes()
    trainer.step()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(TrainingError, match=r"cannot be written .*File too large"):
            trainer.save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.glob("checkpoint*")) == ["checkpoint.safetensors"]


def test_the_average_is_what_a_checkpoint_gives(tmp_path: Path) -> None:
    trainer = _trainer(tmp_path)
    trainer.step()
    trainer.save(tmp_path / "c.safetensors")
    net, settings = load_checkpoint_net(tmp_path / "c.safetensors")
    assert Recipe(**settings) == TINY
    x = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(net(x), trainer.ema.to(memory_format=torch.contiguous_format)(x))


def test_one_style_more_leaves_every_other_number_as_it_was(tmp_path: Path) -> None:
    for recipe in (
        replace(TINY, options=TINY.options | {"styles": 2}),
        replace(BANK, options={"styles": 2, "width": 4}),
    ):
        first = _trainer(tmp_path, recipe, paintings=2)
        first.step()
        more = replace(recipe, options=recipe.options | {"styles": 3}, only=2)
        second = Trainer(
            more, Paintings(first.way.photos, [read_picture(tmp_path / "painting0.png")[0]]),
            loss_net=first.loss_net, init=first.ema,
        )  # fmt: skip
        start = {name: p.clone() for name, p in second.net.named_parameters()}
        for _ in range(3):
            second.step()
        own = {id(p) for p in per_style(second.ema)}
        earlier = dict(first.ema.named_parameters())
        for name, parameter in second.ema.named_parameters():
            if id(parameter) in own:
                assert torch.equal(parameter[:2], earlier[name])
                assert not torch.equal(parameter[2], start[name][2])
            else:
                assert torch.equal(parameter, earlier[name])


def test_each_style_has_its_own_content_weight(tmp_path: Path) -> None:
    def weights_after_an_update(content_weight: float | list[float], style: int) -> torch.Tensor:
        recipe = replace(
            TINY, options=TINY.options | {"styles": 2}, content_weight=content_weight, batch=1
        )
        trainer = _trainer(tmp_path, recipe, paintings=2)
        drawn = Drawn(torch.eye(2)[style : style + 1], trainer.way.styles.draw(rng(0), x).targets)
        trainer.way.styles.draw = lambda *_: drawn  # type: ignore[method-assign]
        trainer.step()
        return torch.cat([p.detach().flatten() for p in trainer.net.parameters()])

    rng, x = np.random.default_rng, torch.zeros(1, 3, 32, 32)
    for style, weights in enumerate(([2.0, 7.0], [7.0, 2.0])):
        once = weights_after_an_update(2.0, style)
        assert torch.equal(once, weights_after_an_update(weights, style))
        assert not torch.equal(once, weights_after_an_update(weights[::-1], style))
    mixed = Drawn(torch.tensor([[1.0, 0.0], [0.25, 0.75]]), ())
    assert mixed.mix([2.0, 6.0]).tolist() == [2.0, 5.0]
    with pytest.raises(TrainingError, match="There are 3 content weights"):
        weights_after_an_update([2.0, 2.0, 2.0], 0)


def test_styles_are_drawn_as_often_as_their_shares_say(tmp_path: Path) -> None:
    options = TINY.options | {"styles": 3}
    trainer = _trainer(
        tmp_path, replace(TINY, options=options, shares=[6.0, 3.0, 1.0]), paintings=3
    )
    rng, x = np.random.default_rng(0), torch.zeros(1, 3, 32, 32)
    drawn = sum(
        mix for _ in range(600) if (mix := trainer.way.styles.draw(rng, x).vector) is not None
    )
    assert (drawn[0] / 600).tolist() == pytest.approx([0.6, 0.3, 0.1], abs=0.04)
    assert len(trainer.way.styles.draw(rng, x.expand(5, -1, -1, -1)).targets[0][0]) == 5
    with pytest.raises(TrainingError, match="There are 2 shares"):
        _trainer(tmp_path, replace(TINY, options=options, shares=[1.0, 1.0]), paintings=3)
    with pytest.raises(UsageError, match="must be above 0"):
        replace(TINY, shares=[1.0, 0.0, 1.0])


def test_a_training_goes_on_that_began_before_a_setting_was_there(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    trainer = _trainer(tmp_path)
    trainer.step()
    trainer.save(path)
    meta, tensors = read_checkpoint(path)
    del meta["recipe"]["content_reached"], meta["recipe"]["shares"]
    save_file(tensors, path, metadata={"rtstyle": json.dumps(meta)})
    again = _trainer(tmp_path)
    again.resume(path)
    assert again.done == 1
    with pytest.raises(TrainingError, match=r"other settings \(content_reached\)"):
        _trainer(tmp_path, replace(TINY, content_reached=2.0)).resume(path)


def test_the_recipe_says_from_where_on_the_content_loss_is_eased(tmp_path: Path) -> None:
    def pull(reached: float) -> float:
        recipe = replace(TINY, batch=1, style_weight=0, stability_weight=0, peak_weight=0, clip=1e9)
        trainer = _trainer(tmp_path, replace(recipe, content_reached=reached))
        content = trainer.step()["content"]
        grads = [p.grad.norm() for p in trainer.net.parameters() if p.grad is not None]
        return float(torch.stack(grads).norm()) * (reached + content) / (3 * reached)

    assert pull(0.3) == pytest.approx(pull(3.0), rel=1e-2)


def test_reconstruction_pulls_as_hard_as_painting_did(tmp_path: Path) -> None:
    trainer = _trainer(tmp_path, replace(BANK, clip=1e9), paintings=3)
    trainer.step()
    assert trainer.step().keys() == {"style", "content", "peaks"}
    pull = trainer.painting_pull
    assert trainer.step().keys() == {"reconstruction"}
    own = {id(p) for p in per_style(trainer.net)}
    grads = [p.grad.norm() for p in trainer.net.parameters() if id(p) not in own]
    assert float(torch.stack(grads).norm()) == pytest.approx(pull, rel=1e-3)
    assert all(p.grad is None for p in per_style(trainer.net))


def test_a_net_of_another_shape_is_no_start(tmp_path: Path) -> None:
    trainer = _trainer(tmp_path)
    with pytest.raises(TrainingError, match="another shape"):
        Trainer(
            replace(TINY, options={"width": 8, "blocks": 1}),
            Paintings(trainer.way.photos, [read_picture(tmp_path / "painting0.png")[0]]),
            loss_net=trainer.loss_net, init=trainer.ema,
        )  # fmt: skip


def test_a_net_of_one_style_starts_from_the_mean_of_several() -> None:
    many, one = (build_net("fast", width=4, deep=4, blocks=1, tail=4, styles=k) for k in (3, 0))
    rows = {id(parameter) for parameter in per_style(many)}
    for parameter in per_style(many):
        torch.nn.init.normal_(parameter)
    start_from(one, many)
    for mine, theirs in zip(one.parameters(), many.parameters(), strict=True):
        assert torch.equal(mine, theirs.mean(0) if id(theirs) in rows else theirs)


def test_a_net_of_the_difference_starts_with_none() -> None:
    """Whatever the net that it starts from paints; one of the same kind it follows."""
    sizes = {"width": 4, "deep": 4, "blocks": 1, "tail": 4}
    whole, difference = build_net("fast", **sizes), build_net("fast", **sizes, norm="batch", skip=1)
    start_from(difference, whole)
    assert torch.equal(difference.stem.conv.weight, whole.stem.conv.weight)
    assert not difference.out.weight.any()
    assert not difference.out.bias.any()
    torch.nn.init.normal_(difference.out.weight)
    start_from(other := build_net("fast", **sizes, norm="batch", skip=1), difference)
    assert torch.equal(other.out.weight, difference.out.weight)


def test_crops_that_do_not_fit_the_net_are_refused(tmp_path: Path) -> None:
    deep = replace(TINY, architecture="texture-pyramid", options={"width": 4, "scales": 6})
    with pytest.raises(TrainingError, match="a multiple of 32, 64 or more"):
        _trainer(tmp_path, deep)
    with pytest.raises(TrainingError, match="Crops of 160 pixels"):
        _trainer(tmp_path, replace(deep, crop=160, options={"width": 4, "scales": 7}))


def test_an_unknown_style_loss_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no style loss 'grim'; known are gram, mmd-linear"):
        _trainer(tmp_path, replace(TINY, style_loss="grim"))
