"""`rtstyle train`: options in, one training out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from rtstyle.cli.options import Overwrite, TerminalChoice, numbers
from rtstyle.errors import UsageError, needs_extra


def train(
    painting: Annotated[
        Path | None, Argument(help="The painting to learn from.", show_default=False)
    ] = None,
    cin: Annotated[
        Path | None, Option(metavar="DIR", help="One model for a folder of paintings instead.")
    ] = None,
    bank: Annotated[Path | None, Option(metavar="DIR", help="The same as a StyleBank.")] = None,
    adain: Annotated[
        Path | None, Option(metavar="DIR", help="A model for any painting, taught by these.")
    ] = None,
    add: Annotated[
        Path | None, Option(metavar="PAINTING", help="One more style for the model --to.")
    ] = None,
    to: Annotated[
        Path | None, Option(metavar="MODEL.onnx", help="The model that --add adds to.")
    ] = None,
    output: Annotated[
        Path | None, Option("--output", "-o", help="The model file to write (.onnx).")
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
    net: Annotated[
        str | None, Option(metavar="NAME", help="Architecture; the fast one by default.")
    ] = None,
    net_option: Annotated[
        list[str] | None, Option(metavar="KEY=NUMBER", help="Such as width=16.")
    ] = None,
    updates: Annotated[int, Option(min=1, help="Steps of the optimiser.")] = 8000,
    batch: Annotated[int, Option(min=1)] = 2,
    crop: Annotated[int, Option(min=64, help="Pixels a side; a multiple of 32.")] = 160,
    style_size: Annotated[
        int, Option(min=64, help="Shorter side of the painting: decides the strokes' size.")
    ] = 384,
    style_weight: Annotated[float, Option(min=0)] = 1.3,
    content_weight: Annotated[float, Option(min=0)] = 1.0,
    tv_weight: Annotated[float, Option(min=0)] = 0.0,
    stability_weight: Annotated[float, Option(min=0, help="Against flicker.")] = 6.0,
    style_loss: Annotated[
        str,
        Option(
            metavar="gram|mmd-linear|mmd-poly|mmd-gaussian|bn",
            help="What makes two paintings alike.",
        ),
    ] = "gram",
    lr: Annotated[float, Option(min=0)] = 1e-3,
    seed: Annotated[int, Option()] = 0,
    init: Annotated[
        Path | None,
        Option(metavar="MODEL|FILE", help="Start from this model's or checkpoint's weights."),
    ] = None,
    device: Annotated[str, Option(metavar="auto|cpu|cuda")] = "auto",
    threads: Annotated[
        int | None, Option(min=1, help="CPU threads; those that other programs leave free.")
    ] = None,
    work: Annotated[
        Path | None, Option(help="Folder for checkpoint, losses.csv and preview.png.")
    ] = None,
    restart: Annotated[bool, Option("--restart", help="Ignore an earlier checkpoint.")] = False,
    overwrite: Overwrite = False,
    *,
    terminal: TerminalChoice,
) -> None:
    """Learn a painting, or many: makes a model file that `render --style` takes.

    Stopped at any time, the same command goes on where it was.
    """
    kind, source = _one_of(painting=painting, cin=cin, bank=bank, adain=adain, add=add)
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
    with needs_extra("train", "Training"):
        from rtstyle.bench.parity import require_parity
        from rtstyle.train import perceptual
        from rtstyle.train.job import Job, find_paintings, run_job
        from rtstyle.train.recipe import Recipe
        from rtstyle.train.trainer import Trainer
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
    if not content:
        terminal.note(
            "there is no --content, so the net learns from the three photographs of the demo clip; "
            "a folder of photographs or a video makes a better one"
        )
    recipe = Recipe(
        architecture=net or _NETS[kind], options=numbers(net_option or []),
        updates=updates, batch=batch, crop=crop, style_size=style_size, style_loss=style_loss,
        lr=lr, seed=seed, style_weight=style_weight, content_weight=content_weight,
        tv_weight=tv_weight, stability_weight=stability_weight,
    )  # fmt: skip
    job = Job(
        paintings=tuple(find_paintings(source)) if many else (source,), output=output,
        content=tuple(content or ()), loss_net=loss_net,
        folder=work or output.with_suffix(".train"),
        names=() if many else (name or (source if kind == "add" else output).stem,),
        description=description, licence=licence, init=init, add_to=to, device=device,
        threads=threads,
    )  # fmt: skip
    seen: dict[str, float] = {}
    with terminal.progress("Training", "updates/s", every=_LINE_SECONDS) as update:

        def started(trainer: Trainer) -> None:
            if not terminal.quiet:
                resumed = f", going on at update {trainer.done}" if trainer.done else ""
                typer.echo(
                    f"{len(trainer.photos)} photographs on {trainer.device}{resumed}.", err=True
                )

        def stepped(done: int, losses: dict[str, float]) -> None:
            seen.update(losses)
            terms = (f"{term} {seen[term]:.3f}" for term in ("style", "content") if term in seen)
            update(done, recipe.updates, " ".join(terms))

        spec = run_job(
            job, recipe, check=require_parity, restart=restart, on_start=started, on_step=stepped
        )
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


def _may_fetch() -> bool:
    """Whether somebody is there and agrees."""
    return sys.stdin.isatty() and typer.confirm(
        "Training needs the weights of VGG-16. Fetch torchvision's, 528 MB?"
    )


def _one_of(**given: Path | None) -> tuple[str, Path]:
    """The one thing to learn that was named."""
    named = [(kind, path) for kind, path in given.items() if path is not None]
    if len(named) != 1:
        raise UsageError(
            "Name one thing to learn: a PAINTING, --cin DIR, --bank DIR, --adain DIR or "
            f"--add PAINTING; {len(named)} were given."
        )
    return named[0]
