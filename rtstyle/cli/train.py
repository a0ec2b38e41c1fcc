"""`rtstyle train`: options in, one training out."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from rtstyle.cli.options import (
    Group,
    Overwrite,
    TerminalChoice,
    amounts,
    net_options,
)
from rtstyle.cli.train_ways import material_of, way_options
from rtstyle.errors import UsageError, needs_extra

if TYPE_CHECKING:
    from rtstyle.train.trainer import Trainer

_PAINTINGS, _NET, _LOSSES = "Paintings", "The net and its training", "What counts how much"


def _recipe(
    net: Annotated[
        str | None,
        Option(metavar="NAME", rich_help_panel=_NET, help="Architecture; the fast one by default."),
    ] = None,
    net_option: Annotated[
        list[str] | None,
        Option(metavar="KEY=NUMBER", rich_help_panel=_NET, help="Such as width=16."),
    ] = None,
    updates: Annotated[
        int | None,
        Option(min=1, rich_help_panel=_NET, help="Steps of the optimiser; 8000 for paintings."),
    ] = None,
    batch: Annotated[int | None, Option(min=1, rich_help_panel=_NET)] = None,
    crop: Annotated[
        int | None, Option(min=32, rich_help_panel=_NET, help="Pixels a side; a multiple of 32.")
    ] = None,
    lr: Annotated[float | None, Option(min=0, rich_help_panel=_NET)] = None,
    seed: Annotated[int | None, Option(rich_help_panel=_NET)] = None,
    style_size: Annotated[
        int | None,
        Option(
            min=64,
            rich_help_panel=_PAINTINGS,
            help="Shorter side of the painting: decides the strokes' size; 384.",
        ),
    ] = None,
    style_loss: Annotated[
        str | None,
        Option(
            metavar="gram|mmd-linear|mmd-poly|mmd-gaussian|bn",
            rich_help_panel=_PAINTINGS,
            help="What makes two paintings alike.",
        ),
    ] = None,
    style_weight: Annotated[float | None, Option(min=0, rich_help_panel=_LOSSES)] = None,
    content_weight: Annotated[float | None, Option(min=0, rich_help_panel=_LOSSES)] = None,
    tv_weight: Annotated[float | None, Option(min=0, rich_help_panel=_LOSSES)] = None,
    stability_weight: Annotated[
        float | None, Option(min=0, rich_help_panel=_LOSSES, help="Against flicker.")
    ] = None,
    weight: Annotated[
        list[str] | None,
        Option(
            metavar="TERM=NUMBER",
            rich_help_panel=_LOSSES,
            help="Of a term of the other ways, such as l1=4 features=2 texture=3.",
        ),
    ] = None,
) -> dict[str, Any]:
    given = {
        "architecture": net, "options": net_options(net_option or []) or None, "updates": updates,
        "batch": batch, "crop": crop, "lr": lr, "seed": seed, "style_size": style_size,
        "style_loss": style_loss, "style_weight": style_weight, "content_weight": content_weight,
        "tv_weight": tv_weight, "stability_weight": stability_weight,
        "weights": amounts(weight or []) or None,
    }  # fmt: skip
    return {name: value for name, value in given.items() if value is not None}


def train(
    painting: Annotated[
        Path | None, Argument(help="The painting to learn from.", show_default=False)
    ] = None,
    cin: Annotated[
        Path | None,
        Option(
            metavar="DIR",
            rich_help_panel=_PAINTINGS,
            help="One model for a folder of paintings instead.",
        ),
    ] = None,
    bank: Annotated[
        Path | None,
        Option(metavar="DIR", rich_help_panel=_PAINTINGS, help="The same as a StyleBank."),
    ] = None,
    adain: Annotated[
        Path | None,
        Option(
            metavar="DIR",
            rich_help_panel=_PAINTINGS,
            help="A model for any painting, taught by these.",
        ),
    ] = None,
    add: Annotated[
        Path | None,
        Option(
            metavar="PAINTING",
            rich_help_panel=_PAINTINGS,
            help="One more style for the model --to.",
        ),
    ] = None,
    to: Annotated[
        Path | None,
        Option(
            metavar="MODEL.onnx", rich_help_panel=_PAINTINGS, help="The model that --add adds to."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        Option(
            "--output",
            "-o",
            help="The model file to write (.onnx), or a photo filter "
            "with a painting's colours (.cube).",
        ),
    ] = None,
    content: Annotated[
        list[Path] | None,
        Option(
            metavar="DIR|VIDEO",
            help="What to train on, several if repeated: a folder of photographs, hundreds of "
            "them, or a video. The demo clip by default, which is a poor teacher.",
        ),
    ] = None,
    loss_net: Annotated[
        Path | None,
        Option(
            metavar="FILE|vgg16",
            help="Weights of the compressed VGG-19, or torchvision's VGG-16 or 19; vgg16 fetches "
            "torchvision's, 528 MB, once.",
        ),
    ] = None,
    name: Annotated[str | None, Option(help="The style's name; the file's by default.")] = None,
    description: Annotated[str, Option(help="One sentence for the list of styles.")] = "",
    licence: Annotated[str, Option(help="Terms of the model file.")] = "",
    init: Annotated[
        str | None,
        Option(
            metavar="MODEL|FILE|none",
            rich_help_panel=_NET,
            help="Start from this model's or checkpoint's weights; with pairs, teachers and "
            "keyframes the nearest style of the gallery by default.",
        ),
    ] = None,
    device: Annotated[str, Option(metavar="auto|cpu|cuda", rich_help_panel=_NET)] = "auto",
    threads: Annotated[
        int | None, Option(min=1, help="CPU threads; those that other programs leave free.")
    ] = None,
    work: Annotated[
        Path | None, Option(help="Folder for checkpoint, losses.csv, preview.png and pairs.")
    ] = None,
    preview: Annotated[
        Path | None, Option(help="A picture that is renewed every ten seconds meanwhile.")
    ] = None,
    restart: Annotated[bool, Option("--restart", help="Ignore an earlier checkpoint.")] = False,
    overwrite: Overwrite = False,
    *,
    way: Annotated[Any, Group(way_options)],
    changes: Annotated[Any, Group(_recipe)],
    terminal: TerminalChoice,
) -> None:
    """Learn a painting, or many; a program, painted frames, a collection: makes a model file that
    `render --style` takes.

    Stopped at any time, the same command goes on where it was.
    """
    paintings = {"painting": painting, "cin": cin, "bank": bank, "adain": adain, "add": add}
    kind, source = _one_of(way.kind, paintings)
    if (kind == "add") != (to is not None):
        raise UsageError("--add PAINTING and --to MODEL.onnx go together.")
    if output is None and to is not None:
        if not overwrite:
            raise UsageError(
                f"--add would change {to} itself: pass --overwrite for that, or -o NEW.onnx."
            )
        output = to
    elif output is not None and output.exists() and not overwrite:
        raise UsageError(f"{output} exists already; choose another name or pass --overwrite.")
    if output is None:
        raise UsageError("Where to write the model is missing: -o MODEL.onnx.")
    if output.suffix.lower() == ".cube":
        if kind != "painting" or not content:
            raise UsageError("A photo filter is learnt from a PAINTING and --content DIR.")
        _learn_filter(source, content, output, overwrite=overwrite)
        terminal.result(f"The filter is {output}: rtstyle render IN OUT --lut {output}")
        return
    with needs_extra("train", "Training"):
        from rtstyle.bench.parity import require_parity
        from rtstyle.train import perceptual
        from rtstyle.train.job import Job, find_paintings, run_job
        from rtstyle.train.recipe import Recipe
        from rtstyle.train.ways import WAYS
    many = kind in ("cin", "bank", "adain")
    if many and name:
        raise UsageError("A folder's styles are named like its files; leave --name out.")
    if loss_net is None:
        if not perceptual.cached_vgg16().is_file() and not _may_fetch():
            raise UsageError(
                "Training compares features of a fixed network: --loss-net vgg16 fetches "
                "torchvision's VGG-16, 528 MB, once; --loss-net FILE takes one that you have."
            )
        loss_net = Path(perceptual.VGG16)
    if not content and kind not in ("pairs", "keyframe"):
        terminal.note(
            "there is no --content, so the net learns from the three photographs of the demo clip; "
            "a folder of photographs or a video makes a better one"
        )
    row = WAYS.get(kind)
    defaults = row.recipe if row else {"architecture": _NETS[kind]}
    if "architecture" in changes:
        defaults = {k: v for k, v in defaults.items() if k != "options"}
    elif "options" in changes:
        changes["options"] = defaults.get("options", {}) | changes["options"]
    recipe = Recipe(**(defaults | changes))
    if init is None and row is not None and not {"architecture", "options"} & changes.keys():
        init = row.init
    with ExitStack() as stack:
        material = material_of(way, tuple(content or ()), stack) if row else None
        job = Job(
            paintings=() if row else tuple(find_paintings(source)) if many else (source,),
            output=output, content=tuple(content or ()), loss_net=loss_net, material=material,
            folder=work or output.with_suffix(".train"),
            names=() if many else (name or (source if kind == "add" else output).stem,),
            description=description, licence=licence, add_to=to, device=device, threads=threads,
            init=None if init in (None, "none") else Path(init), preview=preview,
        )  # fmt: skip
        seen: dict[str, float] = {}
        update = stack.enter_context(
            terminal.progress("Training", "updates/s", every=_LINE_SECONDS)
        )
        columns: list[str] = []

        def started(trainer: Trainer) -> None:
            columns[:] = trainer.way.columns[:2]
            if not terminal.quiet:
                resumed = f", going on at update {trainer.done}" if trainer.done else ""
                sizes = [
                    f"{n} {what}"
                    for what, n in trainer.way.provenance().items()
                    if isinstance(n, int)
                ]
                typer.echo(f"{', '.join(sizes)} on {trainer.device}{resumed}.", err=True)

        def stepped(done: int, losses: dict[str, float]) -> None:
            seen.update(losses)
            terms = (f"{term} {seen[term]:.3f}" for term in columns if term in seen)
            update(done, recipe.updates, " ".join(terms))

        spec = run_job(
            job, recipe, check=require_parity, restart=restart, on_prepare=update,
            on_start=started, on_step=stepped,
        )  # fmt: skip
    runs = spec.provenance.get("added", [spec.provenance])
    updates = runs[-1]["updates"]
    seconds = runs[-1]["seconds_per_1000_updates"] * updates / 1000
    style = f"{output}:{spec.styles[-1] if spec.styles else 'ANY_PICTURE.jpg'}"
    terminal.result(
        f"The model is {output}; {updates} updates took {seconds:.0f} s.\n"
        f"Try: rtstyle render VIDEO OUT.mp4 --style {style}"
    )


_LINE_SECONDS = 5.0

_NETS = {
    "painting": "fast", "cin": "fast", "bank": "fast-stylebank", "adain": "fast-adain",
    "add": "fast",
}  # fmt: skip
_FILTER_COLOURS = 1_000_000  # of the photographs, from which a filter is learnt


def _may_fetch() -> bool:
    """Whether somebody is there and agrees."""
    return sys.stdin.isatty() and typer.confirm(
        "Training needs the weights of VGG-16. Fetch torchvision's, 528 MB?"
    )


def _one_of(way: str | None, paintings: dict[str, Path | None]) -> tuple[str, Path]:
    """The one thing to learn that was named: its kind and, of paintings, where they are."""
    named = [(kind, path) for kind, path in paintings.items() if path is not None]
    if way is not None:
        named.append((way, Path()))
    if len(named) != 1:
        raise UsageError(
            "Name one thing to learn: a PAINTING, --cin DIR, --bank DIR, --adain DIR, "
            f"--add PAINTING, --teacher, --pairs, --distil, --keyframe, --unpaired or --text; "
            f"{len(named)} were given."
        )
    return named[0]


def _learn_filter(painting: Path, content: list[Path], output: Path, *, overwrite: bool) -> None:
    """Write the photo filter that gives photographs the colours of the painting."""
    import numpy as np

    from rtstyle.lut import learn, write_cube
    from rtstyle.media.images import read_picture

    with needs_extra("train", "Training"):
        from rtstyle.train.data import load_content
    photos = load_content(content).pixels.reshape(-1, 3)
    every = max(1, len(photos) // _FILTER_COLOURS)
    colours = np.ascontiguousarray(read_picture(painting)[0].reshape(-1, 3))
    table = learn(colours, photos[::every])
    write_cube(table, output, title=painting.stem, overwrite=overwrite)
