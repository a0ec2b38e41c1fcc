"""Training from pairs, teachers and painted keyframes, from files to files."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from rtstyle.bench.parity import require_parity
from rtstyle.engines import open_engine
from rtstyle.errors import InputNotFoundError, RtstyleError, TrainingError, UsageError
from rtstyle.media.images import read_picture, write_picture
from rtstyle.nets import build_net, per_style
from rtstyle.nets.onnx_weights import load_onnx_net
from rtstyle.train import job as training
from rtstyle.train.data import load_photos
from rtstyle.train.job import Job
from rtstyle.train.perceptual import load_perceptual_net
from rtstyle.train.preview import stylize
from rtstyle.train.recipe import Recipe
from rtstyle.train.teacher import Teacher
from rtstyle.train.to_onnx import ModelCard, write_model
from rtstyle.train.trainer import Trainer
from rtstyle.train.views import (
    begin_in_ink,
    colour_distance,
    edges,
    flattened,
    in_one_ink,
    spread,
    surface,
    texture,
)
from rtstyle.train.ways.distillation import Larger
from rtstyle.train.ways.keyframes import Keyframe, Keyframes
from rtstyle.train.ways.pairs import Pair, PairFolders, Pairs, crop_of
from rtstyle.train.ways.text import Clip as ClipModel
from rtstyle.train.ways.text import Text, Words, load_clip
from rtstyle.train.ways.unpaired import Collection
from tests.media.clips import Clip, make_clip
from tests.train.materials import make_loss_net, make_painting, make_photos

run_job = partial(training.run_job, check=require_parity)

TINY = Recipe(
    architecture="fast", options={"width": 8, "deep": 8, "blocks": 1, "tail": 8, "norm": "batch"},
    updates=60, batch=2, crop=32, finish=0, warm_up=2, lr=2e-2, stability_weight=1.0,
    stability_from=0.9,
)  # fmt: skip


def nothing(done: int, total: int | None, remark: str) -> None: ...


def _negative(folder: Path) -> PairFolders:
    """Pictures and their negatives: colours that no instance norm could tell."""
    before, after = make_photos(folder / "before", 3), folder / "after"
    after.mkdir()
    for path in before.iterdir():
        cv2.imwrite(str(after / path.name), 255 - cv2.imread(str(path)))
    return PairFolders(before=before, after=after)


def _job(folder: Path, **changes: object) -> Job:
    return Job(
        output=folder / "mine.onnx", loss_net=make_loss_net(folder / "vgg.safetensors"),
        folder=folder / "work", names=("mine",), device="cpu", **changes,  # type: ignore[arg-type]
    )  # fmt: skip


def test_a_net_learns_what_was_made_of_pictures(tmp_path: Path) -> None:
    losses: list[dict[str, float]] = []
    job = _job(tmp_path, material=_negative(tmp_path), preview=tmp_path / "preview.png")
    spec = run_job(job, TINY, on_step=lambda done, terms: losses.append(terms))
    assert losses[0].keys() == {"l1", "features", "texture", "adversarial", "critic"}
    assert "stability" in losses[-1]
    assert losses[-1]["l1"] < 0.5 * losses[0]["l1"]
    assert spec.provenance["pairs"] == 3
    assert read_picture(tmp_path / "preview.png")[0].shape == (3 * 256, 3 * 256, 3)
    photo = read_picture(tmp_path / "before" / "photo0.png")[0][None, :64, :64]
    with open_engine("onnxruntime", spec) as engine:
        painted = engine.submit(np.ascontiguousarray(photo)).result()
    assert np.corrcoef(painted.ravel(), photo.ravel())[0, 1] < -0.5
    net, _ = load_onnx_net(job.output)
    assert np.abs(stylize(net, photo.copy()).astype(int) - painted).max() <= 1


def test_a_training_on_pairs_goes_on_with_its_critic(tmp_path: Path) -> None:
    material = _negative(tmp_path)
    seen: list[dict[int, dict[str, float]]] = [{}, {}]
    run_job(_job(tmp_path, material=material), replace(TINY, updates=6),
            on_step=seen[0].__setitem__)  # fmt: skip

    def stop(done: int, losses: dict[str, float]) -> None:
        if done == 4:
            raise KeyboardInterrupt

    job = replace(_job(tmp_path, material=material), folder=tmp_path / "b")
    with pytest.raises(KeyboardInterrupt):
        run_job(job, replace(TINY, updates=6), on_step=stop)
    with pytest.raises(TrainingError, match=r"other settings \(weights\)"):
        run_job(job, replace(TINY, updates=6, weights={"l1": 1.0}))
    run_job(job, replace(TINY, updates=6), on_step=seen[1].__setitem__)
    assert list(seen[1]) == [5, 6]
    for done, losses in seen[1].items():
        assert losses == pytest.approx(seen[0][done], rel=1e-3)


def test_pairs_that_do_not_match_are_left_out_in_a_sentence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    material = _negative(tmp_path)
    write_picture(material.after / "photo0.png", np.zeros((8, 9, 3), np.uint8), overwrite=True)
    (material.after / "photo1.png").unlink()
    with caplog.at_level(logging.WARNING, logger="rtstyle"):
        assert len(material.open(tmp_path, nothing).taught) == 1
    assert "is 9×8 pixels, but" in caplog.text
    assert "Left out, as the other folder has none of that name: photo1." in caplog.text
    (material.after / "photo2.png").write_bytes(b"broken")
    with pytest.raises(TrainingError, match="None of the 2 pairs"):
        material.open(tmp_path, nothing)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(TrainingError, match="must be called alike"):
        PairFolders(before=material.before, after=empty).open(tmp_path, nothing)


def test_some_pairs_are_kept_for_the_preview() -> None:
    pairs = [Pair(np.full((64, 64, 3), i, np.uint8), np.zeros((64, 64, 3), np.uint8))
             for i in range(45)]  # fmt: skip
    way = Pairs(pairs)
    assert [int(pair.before[0, 0, 0]) for pair in way.shown] == [9, 19, 29, 39]
    assert len(way.taught) == 41


def _teacher(folder: Path, *, bad: str = "-", does: str = ":", limit: float = 60) -> Teacher:
    """A teacher that copies pictures, and does worse for those with `bad` in their names."""
    folder.mkdir(exist_ok=True)
    write_picture(folder / "small.png", np.zeros((9, 96, 3), np.uint8), overwrite=True)
    script = folder / "teacher.sh"
    script.write_text(f"case $1 in *{bad}*) {does} ;; esac\ncp $1 $2\n")
    return Teacher(
        command=f"sh {script} {{input}} {{output}}", limit=limit, jobs=2,
        content=(make_photos(folder / "photos", 4),),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("does", "sentence"),
    [
        ("echo no more paint >&2; exit 1", "ended with status 1 (no more paint)"),
        ("sleep 300", "took more than 6 s"),
        ("exit", "wrote no picture"),
        ("cp {folder}/small.png $2; exit", "made 96×9 pixels"),
        ("echo x > $2; exit", "is not a picture"),
    ],
)
def test_what_a_teacher_fails_at_is_told_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, does: str, sentence: str
) -> None:
    limit = 6 if "sleep" in does else 60
    teacher = _teacher(tmp_path, bad="00000", does=does.format(folder=tmp_path), limit=limit)
    began = time.monotonic()
    with caplog.at_level(logging.WARNING, logger="rtstyle"):
        pairs = teacher.open(tmp_path / "work", nothing)
    assert time.monotonic() - began < 200
    assert len(pairs.taught) == 3
    assert sentence in caplog.text
    after = tmp_path / "work" / "pairs" / "after"
    kept = {path.name: path.stat().st_mtime_ns for path in after.iterdir()}
    assert sorted(kept) == ["00001-photo1.png", "00002-photo2.png", "00003-photo3.png"]
    assert len(_teacher(tmp_path).open(tmp_path / "work", nothing).taught) == 4
    assert kept.items() <= {p.name: p.stat().st_mtime_ns for p in after.iterdir()}.items()
    with pytest.raises(UsageError, match="of another teacher"):
        replace(teacher, command="cat {input} {output}").open(tmp_path / "work", nothing)


def test_a_teacher_that_always_fails_or_is_not_there_ends_the_training(tmp_path: Path) -> None:
    hopeless = _teacher(tmp_path, bad="photo", does="exit 3")
    with pytest.raises(TrainingError, match="painted none of the pictures: it ended with status 3"):
        hopeless.open(tmp_path / "work", nothing)
    for command, sentence in (
        ("no-such-program {input} {output}", "no-such-program is not installed"),
        ("cat {input}", "{output} is missing"),
        ("cat '{input} {output}", "cannot be read"),
    ):
        with pytest.raises(UsageError, match=sentence):
            replace(hopeless, command=command).open(tmp_path / "w", nothing)


def test_a_function_is_a_teacher_too(tmp_path: Path) -> None:
    def negative(picture: np.ndarray) -> np.ndarray:
        return 255 - picture

    teacher = replace(_teacher(tmp_path), command=negative, count=2)
    pairs = teacher.open(tmp_path / "work", nothing)
    assert len(pairs.taught) == 2
    assert (pairs.taught[0].after == 255 - pairs.taught[0].before).all()


def _keyframes(clip: Path, folder: Path, frame: str, **masks: Path) -> Keyframes:
    with_mask = f"={masks['mask']}" if masks else ""
    keyframe = Keyframe.from_text(f"{frame}={folder / 'painted.png'}{with_mask}")
    return Keyframes(video=clip, frames=(keyframe,))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    odd = Clip(width=68, height=52)  # no multiples of the net's stride
    return make_clip(tmp_path_factory.mktemp("clip") / "in.mp4", odd)


@pytest.fixture
def painted(tmp_path: Path, clip: Path) -> np.ndarray:
    """Frame 3 of the clip, whose negative is painted.png."""
    capture = cv2.VideoCapture(str(clip))
    for _ in range(4):
        _, frame = capture.read()
    cv2.imwrite(str(tmp_path / "frame_3.png"), frame)
    cv2.imwrite(str(tmp_path / "painted.png"), 255 - frame)
    return frame


def test_a_painted_frame_teaches_the_rest_of_the_video(
    tmp_path: Path, clip: Path, painted: np.ndarray
) -> None:
    mask = np.zeros_like(painted)
    mask[: painted.shape[0] // 2] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    by_number = _keyframes(clip, tmp_path, "3").open(tmp_path, nothing)
    by_picture = _keyframes(
        clip, tmp_path, str(tmp_path / "frame_3.png"), mask=tmp_path / "mask.png"
    )
    way = by_picture.open(tmp_path, nothing)
    assert np.abs(by_number.taught[0].before.astype(int) - way.taught[0].before).mean() < 12
    assert way.taught[0].mask is not None
    assert way.taught[0].mask.mean() == pytest.approx(0.5, abs=0.02)
    for _ in range(9):
        assert crop_of(way.taught[0], 32, np.random.default_rng()).mask.any()  # type: ignore[union-attr]
    losses: list[dict[str, float]] = []
    run_job(
        _job(tmp_path, material=by_picture), replace(TINY, updates=40, batch=4),
        on_step=lambda done, terms: losses.append(terms),
    )  # fmt: skip
    assert losses[-1]["l1"] < 0.6 * losses[0]["l1"]


def test_a_keyframe_that_is_not_of_the_video_is_refused(
    tmp_path: Path, clip: Path, painted: np.ndarray
) -> None:
    cv2.imwrite(str(tmp_path / "other.png"), np.random.default_rng(0).permuted(painted, axis=0))
    cv2.imwrite(str(tmp_path / "small.png"), painted[:32, :32])
    cv2.imwrite(str(tmp_path / "black.png"), np.zeros_like(painted))
    for frame, sentence in (
        ("frame_9999.png", "frame 9999 is not in"),
        (str(tmp_path / "other.png"), "is no frame of"),
        (str(tmp_path / "small.png"), "is 32×32 pixels"),
    ):
        with pytest.raises(TrainingError, match=sentence):
            _keyframes(clip, tmp_path, frame).open(tmp_path, nothing)
    with pytest.raises(TrainingError, match="black everywhere"):
        _keyframes(clip, tmp_path, "3", mask=tmp_path / "black.png").open(tmp_path, nothing)
    with pytest.raises(RtstyleError, match="small"):
        _keyframes(clip, tmp_path, "3", mask=tmp_path / "small.png").open(tmp_path, nothing)
    for text in ("3", "a=b.png", "1=2=3=4"):
        with pytest.raises(UsageError):
            Keyframe.from_text(text)


def test_a_start_is_taken_from_the_style_that_is_nearest(tmp_path: Path) -> None:
    several = build_net("fast", width=8, deep=8, blocks=1, tail=8, styles=3).eval()
    for norm in several.modules():
        if getattr(norm, "styles", 0):
            torch.nn.init.normal_(norm.weight, generator=torch.Generator().manual_seed(5))
    photos = [
        read_picture(p)[0] for p in sorted(make_photos(tmp_path / "photos", side=256).iterdir())
    ]
    for style in range(3):
        vector = torch.eye(3)[style : style + 1]
        squares = [np.ascontiguousarray(p[:256, :256]) for p in photos]
        pairs = [Pair(p, stylize(several, p[None], vector)[0]) for p in squares]
        trainer = Trainer(
            TINY, Pairs(pairs), init=several,
            loss_net=load_perceptual_net(make_loss_net(tmp_path / "vgg.safetensors")),
        )  # fmt: skip
        stem = trainer.net.stem.norm.weight
        assert torch.equal(stem, several.stem.norm.weight[style])


def _set(folder: Path, count: int = 8) -> Path:
    folder.mkdir()
    for i in range(count):
        make_painting(folder / f"p{i}.png", step=4 + i)
    return folder


@pytest.mark.parametrize(
    ("method", "extra", "terms"),
    [
        ("fastcut", {}, {"nce"}),
        ("cut", {"ink": True}, {"nce", "identity", "ink", "edges", "colours"}),
        ("sincut", {}, {"nce", "identity"}),
        ("cyclegan", {}, {"back", "cycle", "identity"}),
        ("cyclegan", {"ink": True}, {"back", "cycle", "identity", "ink", "edges", "colours"}),
        ("fastcut", {"cartoon": True},
         {"nce", "surface", "texture", "structure", "content", "tv"}),
    ],
)  # fmt: skip
def test_a_collection_is_learnt_without_pairs(
    tmp_path: Path, method: str, extra: dict[str, bool], terms: set[str]
) -> None:
    paintings = _set(tmp_path / "set")
    material = Collection(
        paintings=paintings / "p3.png" if method == "sincut" else paintings,
        content=(make_photos(tmp_path / "photos"),), method=method, **extra,
    )  # fmt: skip
    recipe = replace(TINY, options=TINY.options | {"norm": "instance"}, muon=False, lr=1e-3,
                     stability_weight=0.0, peak_weight=0.0)  # fmt: skip
    trainer = Trainer(
        recipe, material.open(tmp_path / "work", nothing),
        loss_net=load_perceptual_net(make_loss_net(tmp_path / "vgg.safetensors")),
    )  # fmt: skip
    seen = [trainer.step() for _ in range(25)]
    assert seen[0].keys() == terms | {"adversarial", "projected", "critic"}
    for term in terms & {"nce", "cycle"}:
        assert np.mean([s[term] for s in seen[-5:]]) < np.mean([s[term] for s in seen[:3]])
    assert seen[-1]["critic"] < seen[0]["critic"]
    assert trainer.way.sheet(trainer.ema).shape == (3 * 256, 6 * 256, 3)
    trainer.save(tmp_path / "c.safetensors")
    again = Trainer(recipe, material.open(tmp_path / "work", nothing), loss_net=trainer.loss_net)
    again.resume(tmp_path / "c.safetensors")
    for a, b in zip(trainer.way.parameters(), again.way.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_set_that_is_too_small_is_refused(tmp_path: Path) -> None:
    photos, paintings = make_photos(tmp_path / "photos"), _set(tmp_path / "set", 2)
    for place, method, sentence in (
        (paintings, "fastcut", "2 paintings; 8 or more are expected, or one with --method sincut"),
        (paintings / "p0.png", "cut", "1 paintings; 8 or more"),
        (paintings, "sincut", "2 paintings"),
    ):
        with pytest.raises(TrainingError, match=sentence):
            Collection(paintings=place, content=(photos,), method=method).open(tmp_path, nothing)
    with pytest.raises(UsageError, match="no unpaired method 'gan'; known are fastcut, cut"):
        Collection(paintings=paintings, content=(photos,), method="gan").open(tmp_path, nothing)


def test_a_weight_of_no_loss_is_refused(tmp_path: Path) -> None:
    material = Collection(
        paintings=_set(tmp_path / "set"), content=(make_photos(tmp_path / "photos"),)
    )
    recipe = replace(TINY, weights={"projekted": 3.0})
    loss_net = load_perceptual_net(make_loss_net(tmp_path / "vgg.safetensors"))
    with pytest.raises(UsageError, match="no loss 'projekted' to weight here; did you mean proj"):
        Trainer(recipe, material.open(tmp_path / "work", nothing), loss_net=loss_net)


def test_scrolls_are_seen_in_one_ink(tmp_path: Path) -> None:
    folder = tmp_path / "scrolls"
    folder.mkdir()
    grey = np.arange(220, dtype=np.uint8)
    tints = ((0, 30, 0), (30, 0, 0), (0, 0, 30), (10, 10, 10)) * 2
    for i, tint in enumerate(tints):
        scroll = np.broadcast_to(grey[:, None, None] + np.uint8(tint), (220, 64, 3))
        write_picture(folder / f"{i}.png", np.ascontiguousarray(scroll), overwrite=False)
    found = in_one_ink(load_photos(folder)).pixels.reshape(-1, 3).astype(int)
    levels = cv2.cvtColor(found.astype(np.uint8)[None], cv2.COLOR_RGB2GRAY)[0]
    for level in np.unique(levels):  # one colour for each grey
        assert len(np.unique(found[levels == level], axis=0)) <= 2
    middle = (levels > 40) & (levels < 200)  # that every scroll has
    assert np.ptp(found[middle], axis=1).max() <= 5  # where three of four have 30


def test_a_net_that_mixes_colours_begins_in_the_ink_of_the_set() -> None:
    options = {"width": 8, "deep": 8, "blocks": 1, "tail": 8, "norm": "batch"}
    grey = torch.linspace(0, 1, 50)[:, None]
    palette = grey * torch.tensor([0.9, 0.8, 0.6]) + 0.1  # sepia
    net = build_net("fast", **options, skip=2).eval()
    begin_in_ink(net, palette)
    x = torch.rand(1, 3, 16, 16)
    light = (x * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1)
    found = net(x).detach()[0]
    brightness = (palette @ torch.tensor([0.299, 0.587, 0.114])).flatten()
    for i in range(3):
        wanted = np.interp(light[0].numpy(), brightness.numpy(), palette[:, i].numpy())
        inside = (light[0] > brightness[0]) & (light[0] < brightness[-1])
        assert np.abs(found[i].numpy() - wanted)[inside].max() < 1e-3
    before = {name: value.clone() for name, value in net.state_dict().items()}
    begin_in_ink(net, grey.expand(-1, 3))  # it has learnt how
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_the_distance_of_colours_sees_no_places() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, 3, 16, 16, generator=generator)
    palette = x.permute(0, 2, 3, 1).reshape(-1, 3)
    shuffled = palette[torch.randperm(len(palette), generator=generator)]
    assert colour_distance(x, shuffled).max() < 1e-6
    assert (colour_distance(x * 0.5, shuffled) > 0.05).all()


def test_what_the_critics_see() -> None:
    x = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    step = torch.cat([torch.zeros(1, 3, 32, 16), torch.ones(1, 3, 32, 16)], 3)
    assert surface(x).var() < 0.5 * x.var()
    assert (surface(step) - step).abs().max() < 0.15  # the edge stays
    assert texture(x).shape == (1, 1, 32, 32)
    assert spread(step).mean() < step.mean() - 0.05  # the dark half has grown
    assert spread(step)[..., -4:].min() > 0.99
    assert edges(step)[..., 15:17].min() > 0.9
    assert edges(step)[..., :14].max() < 0.01
    assert len(np.unique(flattened(step))) == 2


def _clip(seed: int = 0) -> ClipModel:
    """A CLIP of one random layer, which sees colours; words are vectors by their letters."""
    generator = torch.Generator().manual_seed(seed)
    eye = torch.randn(3 * 4 * 4, 16, generator=generator)

    def images(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(
            torch.nn.functional.adaptive_avg_pool2d(x, 4).flatten(1) @ eye, dim=1
        )

    def texts(sentences: list[str]) -> torch.Tensor:
        rows = [torch.randn(16, generator=torch.Generator().manual_seed(sum(map(ord, s))))
                for s in sentences]  # fmt: skip
        return torch.nn.functional.normalize(torch.stack(rows), dim=1)

    return ClipModel(images, texts, 32)


def test_pictures_move_in_the_direction_of_the_words(tmp_path: Path) -> None:
    photos = load_photos(make_photos(tmp_path / "photos"))
    recipe = replace(TINY, options=TINY.options | {"norm": "instance"}, stability_weight=0.0)
    trainer = Trainer(
        recipe, Text(photos, _clip(), "an oil painting of fire"),
        loss_net=load_perceptual_net(make_loss_net(tmp_path / "vgg.safetensors")),
    )  # fmt: skip
    seen = [trainer.step() for _ in range(40)]
    assert seen[0].keys() == {"patches", "direction", "content", "tv"}
    first, last = (np.mean([s["direction"] for s in part]) for part in (seen[:5], seen[-5:]))
    assert last < first - 0.2
    with pytest.raises(TrainingError, match="sees no difference"):
        Text(photos, _clip(), "a photo")


def test_a_clip_that_is_none_is_refused(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos")
    with pytest.raises(InputNotFoundError, match="There is no CLIP at"):
        Words(text="fire", clip=tmp_path, content=(photos,)).open(tmp_path, nothing)
    with pytest.raises(UsageError, match="needs words"):
        Words(text=" ", clip=tmp_path, content=(photos,)).open(tmp_path, nothing)
    pytest.importorskip("transformers")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(TrainingError, match="holds no CLIP"):
        Words(text="fire", clip=tmp_path, content=(photos,)).open(tmp_path, nothing)


def test_a_tiny_clip_is_read_from_its_folder(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    letters = "abcdefghijklmnopqrstuvwxyz"
    tokens = [*letters, *(f"{c}</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
    folder = tmp_path / "clip"
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\na b\n")
    tokenizer = transformers.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    tokenizer.save_pretrained(folder)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
             "num_attention_heads": 2, "projection_dim": 8}  # fmt: skip
    config = transformers.CLIPConfig(
        text_config=small | {"vocab_size": len(tokens), "max_position_embeddings": 32,
                             "bos_token_id": 52, "eos_token_id": 53},
        vision_config=small | {"image_size": 32, "patch_size": 16}, projection_dim=8,
    )  # fmt: skip
    transformers.CLIPModel(config).save_pretrained(folder)
    clip = load_clip(folder)
    assert clip.size == 32
    assert clip.texts(["a dog", "fire"]).norm(dim=1).tolist() == pytest.approx([1, 1], rel=1e-5)
    assert clip.images(torch.rand(3, 3, 32, 32)).shape == (3, 8)


def _two_styles(folder: Path) -> Path:
    """A model of two styles, each with random weights of its own."""
    torch.manual_seed(4)
    net = build_net("fast", width=8, deep=16, blocks=1, tail=8, styles=2).eval()
    with torch.no_grad():
        for parameter in per_style(net):
            parameter += 0.5 * torch.randn_like(parameter)
    card = ModelCard(styles=("one", "other"))
    return write_model(
        net, folder / "large.onnx", card, architecture="fast", check=require_parity
    ).path


def test_a_smaller_net_learns_every_style_of_a_larger_one(tmp_path: Path) -> None:
    large = _two_styles(tmp_path)
    losses: list[dict[str, float]] = []
    material = Larger(model=large, content=(make_photos(tmp_path / "photos"),))
    options = {"width": 8, "deep": 8, "blocks": 1, "tail": 8}
    recipe = replace(TINY, options=options, stability_weight=0.0, updates=70)
    spec = run_job(
        replace(_job(tmp_path, material=material), names=()),
        recipe,
        on_step=lambda done, terms: losses.append(terms),
    )
    assert spec.styles == ("one", "other")
    assert spec.style_size == 2
    assert spec.provenance["imitates"] == ["one", "other"]
    assert np.mean([x["l1"] for x in losses[-10:]]) < 0.8 * np.mean([x["l1"] for x in losses[:5]])
    photo = read_picture(tmp_path / "photos" / "photo0.png")[0][None, :64, :64]
    wanted, painted = (
        [
            stylize(load_onnx_net(path)[0], photo, style[None]).astype(float)
            for style in torch.eye(2)
        ]
        for path in (large, spec.path)
    )
    for own, other in ((0, 1), (1, 0)):  # each style is nearest to its own
        away = [np.abs(painted[own] - target).mean() for target in (wanted[own], wanted[other])]
        assert away[0] < 0.9 * away[1]


def test_a_model_of_any_painting_has_no_styles_to_imitate(tmp_path: Path) -> None:
    material = Larger(model=Path("any_picture"), content=())
    with pytest.raises(TrainingError, match="paints any picture"):
        material.open(tmp_path, nothing)
