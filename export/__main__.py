"""Writes and checks model files: `python -m export --help`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from export import person_mask, upscaler
from export.checkpoint import CHECKPOINT, MODEL_CARD, export_checkpoint, read_model_card
from rtstyle.bench.parity import measure_runtimes, require_limits
from rtstyle.cli.export import Photos, fp16, import_model, int8, summary, tensorrt, torch_tensorrt
from rtstyle.errors import InputNotFoundError, ModelError, RtstyleError, UsageError
from rtstyle.model.file import read_model
from rtstyle.model.zoo import shipped_folder
from rtstyle.nets.checkpoint import load_checkpoint_net, read_checkpoint
from rtstyle.train.reference import reference_samples
from rtstyle.train.to_onnx import ModelCard

FACES = Path(__file__).parent / "faces.csv"


class Precision(StrEnum):
    """Of a variant."""

    FP16 = "fp16"
    INT8 = "int8"


app = typer.Typer(
    name="python -m export",
    help=__doc__,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Output = Annotated[Path, typer.Option("-o", "--output", metavar="FILE")]
Name = Annotated[str, typer.Option(help="the name of the style")]
Description = Annotated[str, typer.Option(help="one sentence on the style")]
Licence = Annotated[str, typer.Option(help="under which terms the weights may be used")]
Checkpoint = Annotated[Path, typer.Argument(metavar="CHECKPOINT")]
Model = Annotated[Path, typer.Argument(metavar="MODEL")]
Names = Annotated[list[str], typer.Argument(metavar="NAME", help="a table of the book")]
Work = Annotated[Path, typer.Option(help="folder that keeps the trainings")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, 1 for a failure, 2 for wrong arguments."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    logging.basicConfig(format="%(message)s")
    try:
        return app(args=given, prog_name="python -m export", standalone_mode=False) or 0
    except KeyboardInterrupt:
        print("export: Interrupted.", file=sys.stderr)
        return 130
    except RtstyleError as error:
        print(f"export: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except Exception as error:
        if not (show := getattr(error, "show", None)):
            raise
        show()  # typer's own error, with the usage
        return getattr(error, "exit_code", 2)


@app.command("onnx")
def onnx(
    checkpoint: Checkpoint,
    output: Output,
    name: Name,
    description: Description = "",
    licence: Licence = "",
) -> None:
    """Write one checkpoint as a model file."""
    if not checkpoint.is_file():
        raise InputNotFoundError(f"There is no checkpoint {checkpoint}.")
    export_checkpoint(checkpoint, output, ModelCard((name,), description, licence))


@app.command("all", help=f"Write every DIR/*/{CHECKPOINT} that has a {MODEL_CARD}.")
def export_all(
    folder: Annotated[Path, typer.Argument(metavar="DIR")],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", show_default="the shipped models")
    ] = shipped_folder(),  # noqa: B008
) -> None:
    folders = sorted(path.parent for path in folder.glob(f"*/{CHECKPOINT}"))
    if not folders:
        raise InputNotFoundError(f"No folder in {folder} holds a {CHECKPOINT}.")
    for training in folders:
        if not (training / MODEL_CARD).exists():
            print(f"{training}: left out, as it has no {MODEL_CARD}.")
            continue
        card = read_model_card(training / MODEL_CARD)
        export_checkpoint(training / CHECKPOINT, output / f"{training.name}.onnx", card)


@app.command()
def parity(
    model: Model,
    checkpoint: Annotated[Path | None, typer.Option(metavar="FILE")] = None,
) -> None:
    """Compare a model file with its checkpoint."""
    spec = read_model(model)
    checkpoint = checkpoint or model.with_suffix(".safetensors")
    if not checkpoint.is_file():
        raise InputNotFoundError(
            f"There is no checkpoint {checkpoint} to compare with; name it with --checkpoint."
        )
    net, _ = load_checkpoint_net(checkpoint)
    samples = reference_samples(net, spec)
    results = measure_runtimes(spec, samples)
    for name, found in results.items():
        print(f"{name}: mean {found.mean:.3f}, 99.9th percentile {found.p999:.1f}")
    require_limits(results)


@app.command()
def variants(
    zoo: Annotated[
        Path, typer.Argument(metavar="DIR", show_default="the shipped models")
    ] = shipped_folder(),  # noqa: B008
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            help="DIR/fp16 and DIR/int8 are written; the zoo itself by default",
        ),
    ] = None,
    precision: list[Precision] | None = None,
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="only this one, such as gallery; or several"),
    ] = None,
    photos: Photos = None,
    checkpoints: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            help="DIR/MODEL/checkpoint.safetensors is compared with, where there is one",
        ),
    ] = Path("export/checkpoints"),
) -> None:
    """Write every variant of every model of a zoo."""
    from export.variants import write_variants, zoo_bytes

    output = output or zoo
    failed = []
    for made in write_variants(
        zoo,
        output,
        precision or list(Precision),
        names=model or (),
        photos=photos,
        checkpoints=checkpoints,
    ):
        if made.variant is None:
            failed.append(made.path.parent.name + "/" + made.path.name)
            print(f"{made.path}: not written. {made.problem}", flush=True)
        else:
            size = made.path.stat().st_size / 1e6
            print(f"{made.path}: {size:.2f} MB, {summary(made.variant)}", flush=True)
    print(f"All models and variants: {zoo_bytes(zoo, output) / 1e6:.1f} MB")
    if failed:
        raise ModelError(f"Outside the limits and not written: {', '.join(failed)}.")


@app.command()
def tflite(
    style: Annotated[str, typer.Argument(metavar="STYLE")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE.tflite")],
    size: Annotated[str, typer.Option(metavar="WxH", help="of every frame")],
) -> None:
    """Write a style as a TensorFlow Lite file."""
    from export.tflite import write_tflite
    from rtstyle.bench.case import parse_size
    from rtstyle.style.parse import find_style

    width, height = parse_size(size)
    mean, p999 = write_tflite(find_style(style), output, (height, width))
    print(f"{output}: mean {mean:.4f}, 99.9th percentile {p999:.3f} grey levels from the engine")


@app.command()
def clip(
    source: Annotated[str, typer.Argument(metavar="VIDEO", help="of a person before a camera")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE.webp")],
    crop: Annotated[str, typer.Option(metavar="WxH+X+Y", help="the part that is shown")],
    style: Annotated[list[str], typer.Option(help="or several, in turn")],
    width: Annotated[int, typer.Option(help="of the clip in pixels")] = 360,
    fps: Annotated[int, typer.Option(help="frames a second")] = 10,
) -> None:
    """Write the moving picture of the README."""
    from export.clip import parse_crop, write_clip

    write_clip(source, output, styles=style, crop=parse_crop(crop), width=width, fps=fps)
    print(f"{output}: {output.stat().st_size / 1e3:.0f} kB")


@app.command()
def cards(
    check: Annotated[bool, typer.Option("--check", help="write nothing, exit 1 if stale")] = False,
) -> None:
    """Write docs/models/, a model card for every shipped net."""
    from export.cards import model_cards, stale

    found = stale(model_cards())
    for path in found:
        print(f"{path} is not what its model says." if check else f"{path} is written.")
        if not check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(found[path], encoding="utf-8")
    if check and found:
        raise ModelError("Run python -m export cards.")


@app.command()
def site(
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR")] = Path("build/site"),
) -> None:
    """Build the documentation of docs/ as a site."""
    from export.site import build_site

    print(f"{build_site(output)} pages are in {output}; open {output / 'index.html'}.")


for command in (fp16, int8, tensorrt, torch_tensorrt):  # as `rtstyle export` has them
    app.command()(command)
app.command("import")(import_model)
app.command("person-mask")(person_mask.command)
app.command("upscaler")(upscaler.command)


@app.command()
def train(
    names: Names,
    content: Annotated[Path, typer.Option(help="folder of photographs")],
    paintings: Annotated[Path, typer.Option(help="folder of paintings")],
    loss_net: Annotated[
        list[Path],
        typer.Option(
            metavar="FILE",
            help="weights of VGG-16 or the compressed VGG-19; again for another, each training "
            "takes its own",
        ),
    ],
    work: Work,
    faces: Annotated[Path, typer.Option(help="CSV list of the faces in the photographs")] = FACES,
    minutes: Annotated[
        float | None, typer.Option(help="stop each after so long, to go on later")
    ] = None,
    jobs: Annotated[int, typer.Option(help="how many at once")] = 1,
    threads: Annotated[int, typer.Option(help="of the CPU, for each")] = 1,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda")] = "auto",
    keep: Annotated[
        bool, typer.Option("--keep", help="put the weights into export/checkpoints")
    ] = False,
    before: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            help="with --keep: average with the weights kept before, which get this share",
        ),
    ] = 0.0,
) -> None:
    """Train nets of export/trainings.toml, or go on."""
    from export.trainings import (
        CHECKPOINTS,
        Material,
        keep_weights,
        read_book,
        run_trainings,
        write_entries,
    )

    material = Material(
        content=content,
        paintings=paintings,
        loss_nets=tuple(loss_net),
        faces=faces,
        work=work,
        device=device,
        threads=threads,
        minutes=minutes,
    )
    if not 0 <= before < 1 or (before and not keep):
        raise UsageError(
            f"--before goes with --keep and is a share from 0 to below 1, not {before:g}."
        )
    work.mkdir(parents=True, exist_ok=True)
    book = read_book()
    for name, done in run_trainings(names, material, jobs=jobs).items():
        print(f"{name}: {done} updates")
        if keep:
            folder = CHECKPOINTS / book[name].kept_as
            keep_weights(work / name / CHECKPOINT, folder, before=before)
    print(f"For the quality report: --entries {write_entries(names, work)}")


@app.command()
def pause(names: Names, work: Work) -> None:
    """Keep a training in export/checkpoints that another machine is to go on with."""
    from export.trainings import CHECKPOINTS, keep_unfinished

    for name in names:
        source = work / name / CHECKPOINT
        if not source.exists():
            raise InputNotFoundError(f"There is no {source}; train {name} first.")
        path = keep_unfinished(source, CHECKPOINTS / name)
        done = read_checkpoint(path)[0]["done"]
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, {done} updates")


if __name__ == "__main__":
    sys.exit(main())
