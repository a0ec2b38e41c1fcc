"""`rtstyle train`: options in, one training out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rtstyle.arguments import NoProgress, Overwrite, Quiet, Threads, numbers
from rtstyle.errors import RtstyleError, UsageError
from rtstyle.terminal import progress_bar


def train(
    painting: Annotated[Path, typer.Argument(help="The painting to learn from.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The model file to write (.onnx).")
    ],
    content: Annotated[
        Path, typer.Option("--content", help="A folder of photographs, hundreds of them.")
    ],
    loss_net: Annotated[
        Path,
        typer.Option(
            "--loss-net", help="Weights of the compressed VGG-19, or torchvision's VGG-16 or 19."
        ),
    ],
    name: Annotated[
        str | None, typer.Option("--name", help="The style's name; the file's by default.")
    ] = None,
    description: Annotated[
        str, typer.Option("--description", help="One sentence for the list of styles.")
    ] = "",
    licence: Annotated[str, typer.Option("--licence", help="Terms of the model file.")] = "",
    net: Annotated[
        str, typer.Option("--net", metavar="fast|johnson", help="Architecture.")
    ] = "fast",
    net_option: Annotated[
        list[str] | None,
        typer.Option("--net-option", metavar="KEY=NUMBER", help="Such as width=16."),
    ] = None,
    updates: Annotated[
        int, typer.Option("--updates", min=1, help="Steps of the optimiser.")
    ] = 8000,
    batch: Annotated[int, typer.Option("--batch", min=1)] = 4,
    crop: Annotated[
        int, typer.Option("--crop", min=64, help="Pixels a side; a multiple of 32.")
    ] = 160,
    style_size: Annotated[
        int,
        typer.Option(
            "--style-size", min=64, help="Shorter side of the painting: decides the strokes' size."
        ),
    ] = 384,
    style_weight: Annotated[float, typer.Option("--style-weight", min=0)] = 1.3,
    content_weight: Annotated[float, typer.Option("--content-weight", min=0)] = 1.0,
    tv_weight: Annotated[float, typer.Option("--tv-weight", min=0)] = 0.0,
    stability_weight: Annotated[
        float, typer.Option("--stability-weight", min=0, help="Against flicker.")
    ] = 6.0,
    lr: Annotated[float, typer.Option("--lr", min=0)] = 1e-3,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    init: Annotated[
        Path | None, typer.Option("--init", help="Start from this checkpoint's weights.")
    ] = None,
    device: Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda")] = "auto",
    threads: Threads = None,
    work: Annotated[
        Path | None,
        typer.Option("--work", help="Folder for checkpoint, losses.csv and preview.png."),
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Ignore an earlier checkpoint.")
    ] = False,
    overwrite: Overwrite = False,
    no_progress: NoProgress = False,
    quiet: Quiet = False,
) -> None:
    """Learn a painting: makes a model file that `render --style FILE` takes.

    Stopped at any time, the same command goes on where it was.
    """
    if output.exists() and not overwrite:
        raise UsageError(f"{output} exists already; choose another name or pass --overwrite.")
    try:
        from rtstyle.train.job import Job, run_job
        from rtstyle.train.loop import Recipe, Trainer
    except ImportError as error:
        raise RtstyleError(
            f"Training needs {error.name}, which is not installed: pip install 'rtstyle[train]'."
        ) from error
    recipe = Recipe(
        architecture=net, options=numbers(net_option or []),
        updates=updates, batch=batch, crop=crop, style_size=style_size, lr=lr, seed=seed,
        style_weight=style_weight, content_weight=content_weight, tv_weight=tv_weight,
        stability_weight=stability_weight,
    )  # fmt: skip
    job = Job(
        painting=painting, output=output, content=content, loss_net=loss_net,
        folder=work or output.with_suffix(".train"), name=name or output.stem,
        description=description, licence=licence, init=init, device=device, threads=threads,
    )  # fmt: skip
    with progress_bar("Training", hidden=quiet or no_progress, unit="updates/s") as update:

        def started(trainer: Trainer) -> None:
            if not quiet:
                resumed = f", going on at update {trainer.done}" if trainer.done else ""
                typer.echo(
                    f"{len(trainer.photos)} photographs on {trainer.device}{resumed}.", err=True
                )

        def stepped(done: int, losses: dict[str, float]) -> None:
            update(
                done, recipe.updates, f"style {losses['style']:.3f} content {losses['content']:.3f}"
            )

        spec = run_job(job, recipe, restart=restart, on_start=started, on_step=stepped)
    if not quiet:
        typer.echo(
            f"The style {spec.styles[0]} is {output}; try: rtstyle render VIDEO OUT.mp4 -s {output}"
        )
