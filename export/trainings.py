"""The trainings behind the zoo, one table a net in `trainings.toml`: read, run, kept.

Made for machines that are lent for minutes: several run at once, each stops when its time is up
with a checkpoint written, and the next call goes on from there. Needs torch and OpenCV alone.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from export.checkpoint import CHECKPOINT
from rtstyle.errors import InputNotFoundError, RtstyleError, TrainingError, UsageError
from rtstyle.nets import per_style, styles_option
from rtstyle.nets.checkpoint import load_checkpoint_net, read_checkpoint, write_checkpoint
from rtstyle.nets.onnx_weights import MIN_VALUES
from rtstyle.train.data import load_photos, with_faces
from rtstyle.train.job import load_paintings
from rtstyle.train.loop import train
from rtstyle.train.perceptual import PerceptualNet, load_perceptual_net
from rtstyle.train.recipe import Recipe
from rtstyle.train.trainer import Trainer, choose_device
from rtstyle.train.ways import Way
from rtstyle.train.ways.distillation import Distillation
from rtstyle.train.ways.paintings import Paintings

BOOK = Path(__file__).parent / "trainings.toml"
CHECKPOINTS = Path(__file__).parent / "checkpoints"
UNFINISHED = "unfinished.safetensors"  # beside it in `CHECKPOINTS`: a training that is to go on
HELD_OUT = Path(__file__).parents[1] / "benchmarks" / "heldout.txt"
FACES = Path(__file__).parent / "faces.csv"  # of the photographs that the book was trained on
_RECIPE = {field.name for field in fields(Recipe)}


@dataclass(frozen=True, slots=True)
class Training:
    """One net of the book: names of its paintings, its recipe, the net that it starts from, the
    folder of `CHECKPOINTS` that its weights are kept in, and what the quality report is told.
    With a `teacher` it imitates that net, in whose styles it paints, and not the paintings."""

    name: str
    paintings: tuple[str, ...]
    recipe: Recipe
    kept_as: str
    init: str | None = None
    teacher: str | None = None
    report: tuple[Mapping[str, str], ...] = ()

    def taught(self) -> tuple[str, ...]:
        """The paintings that it learns: all of the net's, or the `only` one of its recipe."""
        only = self.recipe.only
        return self.paintings if only is None else (self.paintings[only],)


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Folders of photographs and paintings, the perceptual networks, of which each training takes
    the kind that its recipe names, or the first, and the folder that keeps what is trained. `faces`
    lists those of the photographs, `without` the photographs that the nets are judged by later and
    that none is trained on. `threads` of the CPU for each training, `minutes` for each, or
    None for no limit."""

    content: Path
    paintings: Path
    loss_nets: tuple[Path, ...]
    work: Path
    faces: Path = FACES
    without: Path = HELD_OUT
    device: str = "auto"
    threads: int = 1
    minutes: float | None = None


def read_book(path: Path = BOOK) -> dict[str, Training]:
    """Every training by its name. Raises `UsageError` when the book is not right."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        return {name: _training(name, _whole(tables, name)) for name in tables}
    except (OSError, tomllib.TOMLDecodeError, LookupError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} is not right: {type(error).__name__}: {error}.") from error


def _whole(tables: dict[str, dict[str, Any]], name: str, depth: int = 0) -> dict[str, Any]:
    """The table with all that it takes from the one it is like: what it is trained by, not where
    it goes."""
    table = dict(tables[name])
    like = table.pop("like", None)
    if like is None:
        return table
    if depth > len(tables):
        raise UsageError(f"The training {name} is like itself; name another one.")
    taken = _whole(tables, like, depth + 1)
    return {k: v for k, v in taken.items() if k not in ("report", "kept_as")} | table


def _training(name: str, table: dict[str, Any]) -> Training:
    paintings = tuple(table.pop("paintings"))
    init, teacher = (table.pop(key, "") or None for key in ("init", "teacher"))
    report = tuple(table.pop("report", ()))
    kept_as = table.pop("kept_as", name)
    if unknown := set(table) - _RECIPE:
        raise UsageError(f"The training {name} has the unknown {', '.join(sorted(unknown))}.")
    recipe = Recipe(**table)
    styles = styles_option(recipe.architecture, len(paintings))
    recipe = replace(recipe, options=recipe.options | styles)
    training = Training(name, paintings, recipe, kept_as, init, teacher, report)
    training.taught()  # a number that no painting has is a mistake of the book
    return training


def run_trainings(
    names: Sequence[str], material: Material, *, jobs: int = 1, book: Path = BOOK
) -> dict[str, int]:
    """Train the nets of that name, `jobs` at once, each in a process of its own; one that is whole
    already is left alone. Returns how many updates each has had.

    Raises `UsageError` for a name that is not in the book, and `TrainingError` when one failed,
    after the others have ended.
    """
    trainings = read_book(book)
    if unknown := [name for name in names if name not in trainings]:
        raise UsageError(
            f"The book has no training {', '.join(unknown)}; it has {', '.join(trainings)}."
        )
    context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
    waiting, failed = list(names), list[str]()
    running: dict[str, Any] = {}
    while waiting or running:
        while waiting and len(running) < jobs:
            name = waiting.pop(0)
            running[name] = context.Process(target=_run, args=(trainings[name], material))
            running[name].start()
        for name, process in list(running.items()):
            process.join(timeout=0.2)
            if process.exitcode is not None:
                del running[name]
                if process.exitcode:
                    failed.append(name)
    if failed:
        raise TrainingError(f"Not trained: {', '.join(failed)}; the reasons stand above.")
    return {name: read_checkpoint(material.work / name / CHECKPOINT)[0]["done"] for name in names}


class _ToGoOn(KeyboardInterrupt):
    """Ends the loop as Ctrl-C does: with a checkpoint."""


def _run(training: Training, material: Material) -> None:
    try:
        _train(training, material)
    except RtstyleError as error:
        sys.exit(f"{training.name}: {error}")


def _train(training: Training, material: Material) -> None:
    torch.set_num_threads(material.threads)
    folder = material.work / training.name
    recipe = training.recipe
    files = [material.paintings / f"{name}.jpg" for name in training.taught()]
    if missing := [file for file in files if not file.is_file()]:
        raise InputNotFoundError(f"There is no painting {missing[0]}.")
    held_out = material.without.read_text(encoding="utf-8").split()
    places = folder / CHECKPOINT, CHECKPOINTS / training.name / UNFINISHED
    begun = next((path for path in places if path.exists()), None)
    photos = load_photos(material.content, cache=material.work, without=held_out)
    if recipe.face_weight or recipe.portraits:
        photos = with_faces(photos, material.faces)
    way: Way
    if training.teacher:
        way = Distillation(photos, _start(training.teacher, material.work), training.paintings)
    else:
        way = Paintings(photos, load_paintings(files, recipe.style_size)[1])
    trainer = Trainer(
        recipe,
        way,
        loss_net=_loss_net(recipe.loss_net, material.loss_nets),
        device=choose_device(material.device),
        init=None if begun or training.init is None else _start(training.init, material.work),
        names=training.paintings,
    )
    if begun:
        trainer.resume(begun)
    before, began = trainer.done, time.monotonic()
    end = None if material.minutes is None else began + 60 * material.minutes
    parent = multiprocessing.parent_process()

    def step(done: int, losses: dict[str, float]) -> None:
        if done % 200 == 0:
            each = (time.monotonic() - began) / (done - before)
            terms = ", ".join(f"{term} {value:.3f}" for term, value in losses.items())
            print(
                f"{training.name} {done}/{recipe.updates}, {each:.3f} s each: {terms}", flush=True
            )
        time_is_up = end is not None and time.monotonic() > end
        if time_is_up or (parent is not None and not parent.is_alive()):  # it may be killed
            raise _ToGoOn

    try:
        train(trainer, folder=folder, on_step=step)
    except KeyboardInterrupt:
        print(f"{training.name}: stopped after {trainer.done} updates, to go on", flush=True)


def _loss_net(kind: str | None, files: Sequence[Path]) -> PerceptualNet:
    """The first of the weights files, or the first of that kind."""
    nets = [load_perceptual_net(file) for file in files]
    for net in nets:
        if kind in (None, net.kind):
            return net
    raise InputNotFoundError(
        f"The recipe asks for the perceptual network {kind}, and the weights given are of "
        f"{', '.join(net.kind for net in nets)}; pass them with --loss-net too."
    )


def _start(init: str, work: Path) -> torch.nn.Module:
    """The net to start from: what was trained here, or what is in the repository. After a colon,
    the painting whose row alone is wanted."""
    name, _, painting = init.partition(":")
    for folder in (work / name, CHECKPOINTS / name):
        if (folder / CHECKPOINT).exists():
            break
    else:
        raise InputNotFoundError(f"There is nothing to start from called {name}; train it first.")
    net, _ = load_checkpoint_net(folder / CHECKPOINT)
    if painting:
        paintings = read_checkpoint(folder / CHECKPOINT)[0]["styles"]
        if painting not in paintings:
            raise UsageError(f"{name} has no {painting}; it has {', '.join(paintings)}.")
        row = paintings.index(painting)
        for parameter in per_style(net):
            parameter.data = parameter.data[row : row + 1]
    return net


def keep_weights(source: Path, folder: Path, *, before: float = 0.0) -> None:
    """Write the averaged net of the checkpoint `source` into `folder`: without what going on needs,
    and with its kernels in float16, as model files store them.

    Where `folder` holds one already, the mean of the two is written, in which the one `before` has
    that share: of two trainings that both ended at a low rate it is better than the later (Izmailov
    et al. 2018, "Averaging weights leads to wider optima").

    Raises `TrainingError` when the two are of different shapes or paintings."""
    net, settings = load_checkpoint_net(source)
    meta, _ = read_checkpoint(source)
    if before:
        kept = folder / CHECKPOINT
        if not kept.exists():
            raise TrainingError(f"There is no {kept} to average with; leave out --before.")
        earlier = load_checkpoint_net(kept)[0].state_dict()
        shapes = {name: value.shape for name, value in earlier.items()}
        if shapes != {name: value.shape for name, value in net.state_dict().items()} or (
            read_checkpoint(kept)[0]["styles"] != meta["styles"]
        ):
            raise TrainingError(
                f"{kept} and {source} are of different nets or paintings; leave out --before."
            )
        with torch.no_grad():
            for name, value in net.state_dict().items():
                if value.is_floating_point():
                    value.lerp_(earlier[name], before)
    for parameter in net.parameters():  # as model files store them
        if parameter.dim() > 1 and parameter.numel() >= MIN_VALUES:
            parameter.data = parameter.data.half()
    folder.mkdir(parents=True, exist_ok=True)
    write_checkpoint(folder / CHECKPOINT, net, settings, done=meta["done"], names=meta["styles"])


def keep_unfinished(source: Path, folder: Path) -> Path:
    """Write all that a training needs to go on from the checkpoint `source` into `folder`, in half
    precision: the weights in float16, the optimiser's state, whose range is wider, in bfloat16.
    Returns the file."""
    meta, tensors = read_checkpoint(source)
    net, settings = load_checkpoint_net(source)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / UNFINISHED
    rest = {
        name: value.to(torch.bfloat16 if name.startswith("optimizer.") else torch.float16)
        if value.is_floating_point() and value.dim()
        else value
        for name, value in tensors.items()
        if not name.startswith("ema.")
    }
    write_checkpoint(
        path, net.half(), settings,
        tensors=rest, done=meta["done"], names=meta["styles"], state=meta["state"],
    )  # fmt: skip
    return path


def write_entries(names: Sequence[str], work: Path, book: Path = BOOK) -> Path:
    """The list for `python -m benchmarks quality --entries` of those trainings that it is told of
    and that have a checkpoint in `work`; returns the file."""
    lines: list[str] = []
    for name, training in read_book(book).items():
        if name not in names or not (work / name / CHECKPOINT).exists():
            continue
        where = {"file": f"{name}/{CHECKPOINT}", "painting": f"{training.paintings[0]}.jpg"}
        for entry in training.report:
            rows = (f'{key} = "{value}"' for key, value in (dict(entry) | where).items())
            lines += ["[[entry]]", *rows, ""]
    path = work / "entries.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path
