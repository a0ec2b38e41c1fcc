from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from export import trainings
from export.__main__ import main
from export.trainings import BOOK, Material, keep_weights, read_book, run_trainings
from rtstyle.errors import TrainingError, UsageError
from rtstyle.nets import build_net, per_style
from rtstyle.nets.checkpoint import load_checkpoint_net, read_checkpoint, write_checkpoint
from rtstyle.train.recipe import Recipe
from tests.train.materials import make_loss_net, make_painting, make_photos


def test_the_book_is_right() -> None:
    book = read_book()
    for training in book.values():
        build_net(training.recipe.architecture, **training.recipe.options)
    assert len(book["gallery"].paintings) == book["gallery"].recipe.options["styles"] == 16
    for steady, without in (("steady_begun", "without_begun"), ("steady", "without")):
        alike = {"stability_weight": 0.0, "content_weight": 1.0}
        assert replace(book[steady].recipe, **alike) == book[without].recipe
        assert book[steady].recipe.stability_weight > 0
    light = build_net("fast", **book["gallery_light"].recipe.options)
    kernels = [m.weight for m in light.modules() if isinstance(m, torch.nn.Conv2d)]
    assert all(kernel.shape[0] % 8 == 0 for kernel in kernels[:-1])
    for name, kept in (("gallery_vgg16", "gallery"), ("gallery_light", "gallery_light")):
        assert (book[name].recipe.loss_net, book[name].kept_as) == ("vgg16", kept)
        assert book[name].recipe.face_weight > 0
    assert book["gallery_light_begun"].init is None
    assert book["gallery_again"].kept_as == book["gallery"].kept_as == "gallery"


def test_where_weights_are_kept_is_not_taken_from_the_training_it_is_like(tmp_path: Path) -> None:
    (tmp_path / "book.toml").write_text(
        "[a]\npaintings = ['x']\nkept_as = 'net'\n[b]\nlike = 'a'\nupdates = 3\n"
    )
    book = read_book(tmp_path / "book.toml")
    assert (book["a"].kept_as, book["b"].kept_as) == ("net", "b")


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("[a]\nlike = 'a'\n", "like itself"),
        ("[a]\npaintings = ['x']\nupdate = 3\n", "unknown update"),
        ("[a]\nlike = 'b'\n", "'b'"),
        ("[a]\nupdates = 3\n", "paintings"),
        ("a = 1\n", "not right"),
        ("[a]\npaintings = ['x']\nonly = 1\n", "not right"),
        ("[a\n", "not right"),
    ],
)
def test_a_wrong_book_is_refused(text: str, wrong: str, tmp_path: Path) -> None:
    (tmp_path / "book.toml").write_text(text)
    with pytest.raises(UsageError, match=wrong):
        read_book(tmp_path / "book.toml")


@pytest.fixture
def material(tmp_path: Path) -> Material:
    make_painting(tmp_path / "painting.jpg")
    (tmp_path / "book.toml").write_text("""
        [tiny]
        paintings = ["painting"]
        architecture = "johnson"
        options = { width = 4, blocks = 1 }
        updates = 3
        batch = 2
        crop = 32
        finish = 0
        style_size = 64
        report = [{ group = "widths", label = "tiny" }]

        [tinier]
        like = "tiny"
        init = "tiny"
        updates = 1

        [pair]
        like = "tiny"
        paintings = ["painting", "nothing"]
        init = "tiny"
        only = 0

        [endless]
        like = "tiny"
        updates = 1000000

        [alone]
        like = "tiny"
        init = "pair:nothing"
        updates = 1
        lr = 0.0
        lr_end = 0.0

        [nowhere]
        like = "alone"
        init = "pair:something"

        [other]
        like = "tiny"
        loss_net = "vgg16"

        [portraits]
        like = "tiny"
        loss_net = "vgg19_16x"
        portraits = 0.5

        [lost]
        like = "tiny"
        paintings = ["nothing"]
        """)
    return Material(
        content=make_photos(tmp_path / "photos"),
        paintings=tmp_path,
        loss_nets=(make_loss_net(tmp_path / "net.safetensors"),),
        work=tmp_path / "work",
        device="cpu",
    )


def test_trainings_stop_in_time_go_on_and_start_from_each_other(
    material: Material, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    book = tmp_path / "book.toml"
    material.work.mkdir()
    assert run_trainings(["tiny"], replace(material, minutes=0.0), book=book) == {"tiny": 1}
    assert run_trainings(["tiny", "tinier"], material, book=book) == {"tiny": 3, "tinier": 1}
    meta, _ = read_checkpoint(material.work / "tiny" / "checkpoint.safetensors")
    assert meta["done"] == 3
    net, settings = load_checkpoint_net(material.work / "tinier" / "checkpoint.safetensors")
    assert settings["updates"] == 1
    assert sum(p.numel() for p in net.parameters())
    assert run_trainings(["pair"], material, book=book) == {"pair": 3}
    meta, _ = read_checkpoint(material.work / "pair" / "checkpoint.safetensors")
    assert meta["styles"] == ["painting", "nothing"]
    assert run_trainings(["alone"], material, book=book) == {"alone": 1}
    pair, _ = load_checkpoint_net(material.work / "pair" / "checkpoint.safetensors")
    alone, _ = load_checkpoint_net(material.work / "alone" / "checkpoint.safetensors")
    rows = {id(parameter) for parameter in per_style(pair)}
    for mine, theirs in zip(alone.parameters(), pair.parameters(), strict=True):
        assert torch.equal(mine, theirs[1] if id(theirs) in rows else theirs)
    with pytest.raises(TrainingError, match="lost"):
        run_trainings(["lost"], material, book=book)
    with pytest.raises(UsageError, match="no training nobody"):
        run_trainings(["nobody"], material, book=book)
    with pytest.raises(TrainingError, match="nowhere"):
        run_trainings(["nowhere"], material, book=book)
    with pytest.raises(TrainingError, match="other, portraits"):
        run_trainings(["other", "portraits"], material, book=book)
    message = capfd.readouterr().err
    assert "pair has no something; it has painting, nothing." in message
    assert "network vgg16, and the weights given are of vgg19_16x; pass" in message
    assert "none are known of these photographs" in message


def test_a_training_goes_on_from_what_another_machine_kept(
    material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book, kept, work = tmp_path / "book.toml", tmp_path / "kept", material.work
    monkeypatch.setattr(trainings, "CHECKPOINTS", kept)
    work.mkdir()
    training = read_book(book)["tiny"]
    trainings._train(training, replace(material, minutes=0.0))
    begun = work / "tiny" / "checkpoint.safetensors"
    assert main(["pause", "tiny", "--work", str(work)]) == 0
    unfinished = kept / "tiny" / "unfinished.safetensors"
    assert unfinished.stat().st_size < 0.7 * begun.stat().st_size
    whole = load_checkpoint_net(begun)[0].state_dict()
    for name, value in load_checkpoint_net(unfinished)[0].state_dict().items():
        torch.testing.assert_close(value, whole[name], rtol=1e-3, atol=1e-4)
    elsewhere = replace(material, work=tmp_path / "elsewhere")
    trainings._train(replace(training, init="what that machine lacks"), elsewhere)
    with (elsewhere.work / "tiny" / "losses.csv").open() as file:
        assert [line.split(",")[0] for line in file] == ["update", "2", "3"]
    assert main(["pause", "tinier", "--work", str(work)]) == 1


def _stored(weights: torch.Tensor) -> torch.Tensor:
    """Weights as kept ones and model files hold them: kernels in half precision."""
    is_kernel = weights.dim() > 1 and weights.numel() >= 256
    return weights.half().float() if is_kernel else weights


def test_weights_are_kept_and_averaged_with_those_before(tmp_path: Path) -> None:
    new, kept = tmp_path / "new.safetensors", tmp_path / "kept"
    nets = [build_net("fast", width=4, deep=4, blocks=1, tail=4) for _ in range(2)]
    recipe = Recipe(options=nets[0].options)  # type: ignore[arg-type]

    def write(net: torch.nn.Module, *names: str) -> None:
        write_checkpoint(new, net, asdict(recipe), done=3, names=names)

    write(nets[0], "a")
    with pytest.raises(TrainingError, match="leave out --before"):
        keep_weights(new, kept, before=0.3)
    keep_weights(new, kept)
    write(nets[1], "a")
    keep_weights(new, kept, before=0.3)
    mean, _ = load_checkpoint_net(kept / "checkpoint.safetensors")
    for average, first, second in zip(*(n.parameters() for n in (mean, *nets)), strict=True):
        expected = second.lerp(_stored(first), 0.3)
        torch.testing.assert_close(average, _stored(expected))
    write(nets[1], "b")
    with pytest.raises(TrainingError, match="different nets or paintings"):
        keep_weights(new, kept, before=0.3)


def test_a_training_outlives_no_killed_parent(material: Material, tmp_path: Path) -> None:
    material.work.mkdir()
    code = (
        "from pathlib import *\nfrom export.trainings import *\n"
        f"run_trainings(['endless'], {material!r}, book=PosixPath({str(tmp_path / 'book.toml')!r}))"
    )
    message = [sys.executable, "-c", code]
    with subprocess.Popen(message, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()  # it says so after 200 updates
        parent.kill()
        rest, _ = parent.communicate(timeout=60)  # to its end: nothing holds the pipe any longer
    assert "to go on" in rest
    meta, _ = read_checkpoint(material.work / "endless" / "checkpoint.safetensors")
    assert 200 <= meta["done"] < 1000000


def test_the_command_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "--content",
        "x",
        "--paintings",
        "x",
        "--loss-net",
        "x",
        "--work",
        str(tmp_path / "w"),
    ]
    assert main(["train", "nobody", *arguments]) == 2
    assert "gallery" in capsys.readouterr().err
    assert main(["train", "gallery", *arguments, "--before", "0.3"]) == 2
    assert "--before goes with --keep" in capsys.readouterr().err
    assert BOOK.exists()
