"""`rtstyle paint`: options in, one picture painted by optimisation out."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import Annotated

from typer import Argument, Option

from rtstyle.cli.options import Overwrite, TerminalChoice, Threads
from rtstyle.errors import UsageError, needs_extra


def paint(
    content: Annotated[Path, Argument(help="The photograph to paint.")],
    style: Annotated[Path, Argument(help="The painting to paint it like.")],
    output: Annotated[Path, Option("--output", "-o", help="The picture to write.")],
    loss_net: Annotated[
        Path | None, Option(help="Weights of the compressed VGG-19, or torchvision's VGG-16 or 19.")
    ] = None,
    method: Annotated[
        str | None,
        Option(metavar="gatys|mrf", help="mrf: nearest patches (Li & Wand 2016), coarse to fine."),
    ] = None,
    preset: Annotated[
        str,
        Option(
            metavar="relative|classic",
            help="classic: squared errors, content 1, style 1e4, Adam, as most programs have it.",
        ),
    ] = "relative",
    optimizer: Annotated[str | None, Option(metavar="lbfgs|adam", help="lbfgs by default.")] = None,
    steps: Annotated[int | None, Option(min=1, help="150 by default; 500 with classic.")] = None,
    style_weight: Annotated[
        float | None, Option(min=0, help="10 by default; 1e4 with classic.")
    ] = None,
    content_weight: Annotated[float | None, Option(min=0, help="1 by default.")] = None,
    tv_weight: Annotated[float | None, Option(min=0, help="Against noise; 0 by default.")] = None,
    style_loss: Annotated[
        str | None, Option(metavar="gram|mmd-linear|mmd-poly|mmd-gaussian|bn")
    ] = None,
    size: Annotated[
        int | None, Option(min=32, help="Shorter side of the result at most; 512 by default.")
    ] = None,
    style_size: Annotated[
        int | None, Option(min=32, help="Of the painting: decides the strokes' size; 512.")
    ] = None,
    start: Annotated[
        str | None, Option(metavar="content|noise", help="content by default.")
    ] = None,
    seed: Annotated[int | None, Option(help="Of the noise.")] = None,
    progress_picture: Annotated[Path | None, Option(help="Write the picture so far here.")] = None,
    progress_every: Annotated[int, Option(min=1, help="Steps between two such pictures.")] = 10,
    device: Annotated[str, Option(metavar="auto|cpu|cuda")] = "auto",
    threads: Threads = None,
    overwrite: Overwrite = False,
    *,
    terminal: TerminalChoice,
) -> None:
    """Paint one picture by optimisation: minutes instead of moments, and no trained model.

    Gatys et al. 2015 by default, the reference that the quality of every model is measured against.
    """
    if loss_net is None:
        raise UsageError(
            "Painting compares features of a fixed network: pass its weights with --loss-net FILE, "
            "either the compressed VGG-19 (vgg19_16x.safetensors, from the MIT-licensed "
            "Collaborative-Distillation project) or torchvision's vgg16 / vgg19."
        )
    with needs_extra("train", "Painting"):
        from rtstyle.train.gatys import Step
        from rtstyle.train.paint_job import PaintJob, run_paint_job
        from rtstyle.train.paint_job import preset as settings_of
    settings = settings_of(
        preset, method=method, optimizer=optimizer, steps=steps, style_weight=style_weight,
        content_weight=content_weight, tv_weight=tv_weight, style_loss=style_loss, size=size,
        style_size=style_size, start=start, seed=seed,
    )  # fmt: skip
    job = PaintJob(
        content=content, style=style, output=output, loss_net=loss_net,
        progress=progress_picture, progress_every=progress_every, overwrite=overwrite,
        device=device, threads=threads,
    )  # fmt: skip
    began, remark = perf_counter(), ""
    with terminal.progress("Painting", "steps/s") as update:

        def stepped(step: Step) -> None:
            nonlocal remark
            remark = " ".join(f"{name} {value:.3g}" for name, value in step.losses.items())
            update(min(step.done, settings.steps), settings.steps, remark)  # of one scale

        run_paint_job(job, settings, on_step=stepped)
    terminal.result(f"The painting is {output}: {perf_counter() - began:.1f} s, {remark}.")
