"""`rtstyle import` and `rtstyle export`: other projects' nets in, variants for engines out."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from typer import Argument, Option

from rtstyle.cli.options import Overwrite
from rtstyle.errors import needs_extra

if TYPE_CHECKING:
    from rtstyle.variants.variant import Variant

app = typer.Typer(
    help="Write a model file's variants: half precision, 8 bits, plans built beforehand.",
    no_args_is_help=True,
)

Model = Annotated[Path, Argument(metavar="MODEL", show_default=False)]
Size = Annotated[str, Option(metavar="1280x720", help="Or 2x1280x720 for two.", show_default=False)]
Output = Annotated[Path | None, Option("--output", "-o", metavar="FILE")]
VariantOutput = Annotated[
    Path | None,
    Option("--output", "-o", metavar="FILE",
           help="PRECISION/MODEL beside MODEL by default, where --precision finds it."),
]  # fmt: skip
Photos = Annotated[
    Path | None,
    Option(metavar="DIR", help="Photographs to calibrate and measure on; rtstyle has some."),
]
Reference = Annotated[
    Path | None, Option("--checkpoint", metavar="FILE", help="Compare with this, not MODEL.")
]


def import_model(
    files: Annotated[list[Path], Argument(metavar="FILE…", show_default=False)],
    output: Annotated[
        Path, Option("--output", "-o", metavar="FILE.onnx", show_default=False, help="To write.")
    ],
    name: Annotated[
        str | None, Option(help="The name of the style; that of the output by default.")
    ] = None,
    description: Annotated[str, Option(help="One sentence on the style.")] = "",
    licence: Annotated[str, Option(help="Under which terms the weights may be used.")] = "",
    values: Annotated[
        Literal["0..1", "0..255", "-1..1", "imagenet"] | None,
        Option("--range", help="What an ONNX file's pixels run from and to."),
    ] = None,
    domain: Annotated[
        int | None, Option(metavar="N", help="Of StarGAN v2's domains, from 0, the one to read.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write another project's checkpoint or ONNX file as a model file."""
    with needs_extra("train", "rtstyle import"):
        from rtstyle.importers.command import import_files
        from rtstyle.importers.speed import speed_note
        from rtstyle.train.to_onnx import ModelCard
    logging.getLogger("rtstyle").setLevel(logging.INFO)  # it may take a minute: what it is doing
    card = ModelCard((name or output.stem,), description, licence)
    spec = import_files(files, output, card, values=values, domain=domain, overwrite=overwrite)
    typer.echo(f"{output}: {spec.architecture}, {output.stat().st_size / 1e6:.1f} MB")
    typer.echo(speed_note(spec))


@app.command()
def fp16(
    model: Model,
    output: VariantOutput = None,
    photos: Photos = None,
    checkpoint: Reference = None,
    float_norms: Annotated[
        bool, Option("--float-norms", help="Norms in float32 between casts: more bytes.")
    ] = False,
) -> None:
    """Write a model file in half precision, for GPUs: convolutions and norms in float16, the norms
    in the form that TensorRT fuses."""
    _write("fp16", model, output, photos, checkpoint, float_norms=float_norms)


@app.command()
def int8(
    model: Model, output: VariantOutput = None, photos: Photos = None, checkpoint: Reference = None
) -> None:
    """Write a model file in 8 bits, for CPUs: convolutions in INT8 as far as the limit on the
    difference allows."""
    _write("int8", model, output, photos, checkpoint)


def _write(
    precision: str,
    model: Path,
    output: Path | None,
    photos: Path | None,
    checkpoint: Path | None,
    *,
    float_norms: bool = False,
) -> None:
    with needs_extra("train", f"rtstyle export {precision}"):
        from rtstyle.nets.checkpoint import load_checkpoint_net
        from rtstyle.variants.variant import write_variant

    net = load_checkpoint_net(checkpoint)[0] if checkpoint else None
    output = output or model.parent / precision / model.name
    made = write_variant(model, output, precision, photos=photos, net=net, float_norms=float_norms)
    typer.echo(f"{output}: {output.stat().st_size / 1e6:.1f} MB, {summary(made)}")


def summary(made: Variant) -> str:
    """How far a variant is from its original, in grey levels."""
    found = made.difference
    left = f", left in float: {', '.join(made.left_float)}" if made.left_float else ""
    return (
        f"mean {found.mean:.3f}, 99.9th percentile {found.p999:.1f}, colour of flat "
        f"pictures {found.flat_color:.3f}{left}"
    )


@app.command()
def tensorrt(
    model: Model,
    size: Size,
    output: Annotated[
        Path | None,
        Option("--output", "-o", metavar="FILE",
               help="The cache by default, where the engine finds it."),
    ] = None,
    runtime: Literal["tensorrt", "tensorrt-rtx"] = "tensorrt",
    device: Annotated[int, Option(min=0, help="The GPU's number.")] = 0,
) -> None:  # fmt: skip
    """Build a model file for one frame size."""
    with needs_extra("train", "rtstyle export tensorrt"):
        from rtstyle.variants.compiled import size_of, write_plan

    layers = write_plan(model, output, size_of(size), runtime=runtime, device=device)
    half, single = (layers.get(f"CONVOLUTION {kind}", 0) for kind in ("HALF", "FLOAT"))
    typer.echo(f"{output or 'the cache'}: {half} convolutions in float16, {single} in float32")


@app.command()
def torch_tensorrt(
    checkpoint: Annotated[Path, Argument(metavar="CHECKPOINT", show_default=False)],
    size: Size,
    output: Output = None,
) -> None:
    """Compile a checkpoint for this machine's GPU."""
    with needs_extra("train", "rtstyle export torch-tensorrt"):
        from rtstyle.variants.compiled import size_of, write_program

    output = output or checkpoint.with_suffix(".trt.pt2")
    write_program(checkpoint, output, size_of(size))
    typer.echo(f"{output}: {output.stat().st_size / 1e6:.1f} MB")
