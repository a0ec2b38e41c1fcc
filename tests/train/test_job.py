"""What `rtstyle train` runs, from files to files."""

from __future__ import annotations

import csv
import logging
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from rtstyle.bench.parity import require_parity
from rtstyle.engines import open_engine
from rtstyle.errors import InputNotFoundError, MediaError, ModelError, TrainingError, UsageError
from rtstyle.media.images import read_picture
from rtstyle.model.file import read_model
from rtstyle.model.zoo import shipped_folder
from rtstyle.nets import per_style
from rtstyle.nets.checkpoint import load_checkpoint_net
from rtstyle.nets.onnx_weights import load_onnx_net
from rtstyle.style.encoder import encode, read_style_encoder
from rtstyle.train import job as training
from rtstyle.train.job import Job, find_paintings
from rtstyle.train.recipe import Recipe
from tests.train.materials import TINY, make_loss_net, make_painting, make_photos, make_vgg16

run_job = partial(training.run_job, check=require_parity)


def _job(folder: Path) -> Job:
    make_photos(folder / "photos")
    return Job(
        paintings=(make_painting(folder / "painting.png"),), output=folder / "mine.onnx",
        content=(folder / "photos",), loss_net=make_loss_net(folder / "vgg.safetensors"),
        folder=folder / "work", names=("stripes",), description="Stripes.", device="cpu",
    )  # fmt: skip


def test_a_training_lowers_its_loss_and_ends_in_a_model_file(tmp_path: Path) -> None:
    losses: list[float] = []
    recipe = replace(TINY, updates=40, seed=2)
    spec = run_job(
        _job(tmp_path), recipe, on_step=lambda done, terms: losses.append(terms["style"])
    )
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    assert read_model(tmp_path / "mine.onnx") == spec
    assert spec.styles == ("stripes",)
    assert spec.provenance["updates"] == 40
    work = tmp_path / "work"
    assert not list(work.glob("photos-*")), "the cache of photographs is of no use any more"
    assert read_picture(work / "preview.png")[0].shape == (2 * 256, 4 * 256, 3)
    with (work / "losses.csv").open(newline="") as file:
        assert [int(row["update"]) for row in csv.DictReader(file)] == list(range(1, 41))


def test_vgg16_is_read_at_the_layers_of_its_paper(tmp_path: Path) -> None:
    job = replace(_job(tmp_path), loss_net=make_vgg16(tmp_path / "vgg16.safetensors"))
    recipe = run_job(job, replace(TINY, updates=2)).provenance["recipe"]
    assert list(recipe["style_layers"]) == ["relu1_2", "relu2_2", "relu3_3", "relu4_3"]
    assert list(recipe["content_layers"]) == ["relu2_2", "relu3_3"]
    asked = replace(TINY, content_layers={"relu3_1": 2.0})
    assert asked.suited_to("vgg16") == asked
    assert TINY.suited_to("vgg19_16x") == TINY


def _paintings(folder: Path, count: int = 3) -> tuple[Path, ...]:
    folder.mkdir()
    for i in range(count):
        make_painting(folder / f"p{i}.png", step=5 + 3 * i)
    return tuple(find_paintings(folder))


@pytest.mark.parametrize("architecture", ["johnson", "stylebank"])
def test_a_folder_of_paintings_ends_in_one_model_that_learns_one_more(
    tmp_path: Path, architecture: str, caplog: pytest.LogCaptureFixture
) -> None:
    files = _paintings(tmp_path / "paintings")
    (tmp_path / "paintings" / "p9.jpg").write_bytes(b"broken")
    files = (*files, tmp_path / "paintings" / "p9.jpg")
    options = {"width": 4} | ({"blocks": 1} if architecture == "johnson" else {})
    recipe = replace(TINY, architecture=architecture, options=options, updates=4, seed=1)
    job = replace(_job(tmp_path), paintings=files, names=())
    with caplog.at_level(logging.WARNING, logger="rtstyle"):
        spec = run_job(job, recipe)
    assert "A painting is left out" in caplog.text
    assert spec.styles == ("p0", "p1", "p2")
    assert spec.style_size == 3
    assert spec.provenance["paintings"] == ["p0.png", "p1.png", "p2.png"]
    assert spec.provenance["seconds_per_1000_updates"] > 0

    added = replace(
        job, paintings=(make_painting(tmp_path / "new.png", step=4),), names=("new",),
        add_to=job.output, folder=tmp_path / "added",
    )  # fmt: skip
    before = _stored(job.output)
    more = run_job(added, replace(recipe, architecture="fast", options={}))
    assert more.styles == ("p0", "p1", "p2", "new")
    assert more.architecture == architecture
    assert more.provenance["added"][0]["paintings"] == ["new.png"]
    for name, value in _stored(job.output).items():
        if name in before and value.ndim == 2 and len(value) == 4 and len(before[name]) == 3:
            assert (value[:3] == before[name]).all(), name
        elif name.startswith("net."):
            assert (value == before[name]).all(), name
    with pytest.raises(UsageError, match="has a style 'new' already"):
        run_job(added, recipe)


def _stored(path: Path) -> dict[str, np.ndarray]:
    return {t.name: numpy_helper.to_array(t) for t in onnx.load(str(path)).graph.initializer}


def test_a_model_for_any_painting_comes_with_its_encoder(tmp_path: Path) -> None:
    recipe = replace(
        TINY, architecture="fast-adain", updates=3, style_size=300,
        options={"channels": [4, 4, 8, 8], "width": 4, "deep": 8, "blocks": 1, "tail": 4},
    )  # fmt: skip
    paintings = _paintings(tmp_path / "paintings")
    spec = run_job(replace(_job(tmp_path), paintings=paintings, names=()), recipe)
    assert spec.styles == ()
    assert spec.style_input == "statistics"
    assert spec.takes_strength
    encoder = read_style_encoder(spec)
    painting = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    style = encode(encoder, painting)
    photo = np.random.default_rng(1).integers(0, 256, (1, 64, 64, 3), np.uint8)
    with open_engine("onnxruntime", spec) as engine:
        strong, weak = (engine.submit(photo, style, s).result() for s in (1.0, 0.2))
    assert strong.shape == photo.shape
    assert (strong != weak).any()


def test_a_model_file_is_a_start(tmp_path: Path) -> None:
    job = _job(tmp_path)
    run_job(job, replace(TINY, updates=30, seed=1))
    first: list[float] = []
    again = replace(job, init=job.output, folder=tmp_path / "again", output=tmp_path / "b.onnx")
    run_job(
        again,
        replace(TINY, updates=1, seed=1),
        on_step=lambda done, terms: first.append(terms["style"]),
    )
    with (job.folder / "losses.csv").open(newline="") as file:
        losses = [float(row["style"]) for row in csv.DictReader(file)]
    assert first[0] < 0.8 * losses[0]


def test_a_shipped_model_of_several_styles_is_a_start_by_its_name(tmp_path: Path) -> None:
    job = replace(_job(tmp_path), init=Path("Gallery"))
    run_job(job, replace(TINY, architecture="fast", options={}, updates=1, lr=0.0, lr_end=0.0))
    mine, _ = load_checkpoint_net(job.folder / "checkpoint.safetensors")
    gallery, _ = load_onnx_net(shipped_folder() / "gallery.onnx")
    rows = {id(parameter) for parameter in per_style(gallery)}
    for one, several in zip(mine.parameters(), gallery.parameters(), strict=True):
        assert torch.equal(one, several.mean(0) if id(several) in rows else several)


def test_what_cannot_learn_one_more_style_says_so(tmp_path: Path) -> None:
    job = _job(tmp_path)
    run_job(job, replace(TINY, updates=1))
    with pytest.raises(UsageError, match="takes no further style"):
        run_job(replace(job, add_to=job.output), TINY)
    other = onnx.load(str(job.output))
    other.graph.initializer[0].name = "other"
    other.graph.node[0].input[0] = "other"
    with pytest.raises(InputNotFoundError):
        find_paintings(tmp_path / "nothing")
    with pytest.raises(ModelError):
        run_job(replace(job, init=tmp_path / "no.safetensors"), TINY)


def test_material_that_is_missing_or_broken_is_reported_in_a_sentence(tmp_path: Path) -> None:
    job = _job(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.jpg").write_text("no picture")
    make_painting(tmp_path / "tiny.png", side=16)
    for changed, error, sentence in (
        (replace(job, output=tmp_path / "mine.pt"), UsageError, ".onnx"),
        (replace(job, content=(tmp_path / "empty",)), TrainingError, "No photographs"),
        (replace(job, paintings=(tmp_path / "text.jpg",)), MediaError, "picture"),
        (replace(job, paintings=(tmp_path / "tiny.png",)), TrainingError, "at least 64"),
    ):
        with pytest.raises(error, match=sentence):
            run_job(changed, TINY)
    assert not (tmp_path / "mine.onnx").exists()
    with pytest.raises(UsageError, match="multiple of 32"):
        Recipe(crop=100)


@pytest.mark.parametrize(("busy", "threads"), [(0.0, 4), (1.2, 3), (2.6, 1), (9.0, 1)])
def test_a_training_takes_the_cores_that_are_free(
    busy: float, threads: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    taken: list[int] = []
    monkeypatch.setattr(training, "busy_cores", lambda: busy)
    monkeypatch.setattr(training, "n_cores", lambda: 4)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    monkeypatch.setattr(torch, "set_num_threads", taken.append)
    training._take_threads(None, torch.device("cpu"))
    assert taken == ([] if threads == 4 else [threads])
    assert (f"keep {busy:.1f} of 4 cores busy" in caplog.text) == (threads < 4)
    training._take_threads(2, torch.device("cpu"))
    assert taken[-1] == 2
