"""Writes and checks model files: `python -m export --help`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtstyle.errors import InputNotFoundError, ModelError, RtstyleError, UsageError
from rtstyle.model.file import read_model
from rtstyle.model.zoo import shipped_folder
from rtstyle.nets.checkpoint import load_checkpoint_net, read_checkpoint
from rtstyle.train.parity import measure_parity, require_parity
from rtstyle.train.recipe import Recipe
from rtstyle.train.to_onnx import Card, write_model

if TYPE_CHECKING:
    from export.difference import Difference

CHECKPOINT, CARD = "checkpoint.safetensors", "model.json"
FACES = Path(__file__).parent / "faces.csv"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, 1 for a failure, 2 for wrong arguments."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if "-1..1" in given[1:]:  # argparse would take it for an option
        place = given.index("-1..1")
        given[place - 1 : place + 1] = [f"{given[place - 1]}=-1..1"]
    options = _parser().parse_args(given)
    try:
        options.run(options)
    except RtstyleError as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    return 0


def export_checkpoint(checkpoint: Path, output: Path, card: Card) -> None:
    """Write the averaged net of `checkpoint` as the model file `output`.

    The recipe and the number of updates are added to the card's provenance.
    """
    net, settings = load_checkpoint_net(checkpoint)
    recipe = Recipe(**settings)
    meta, _ = read_checkpoint(checkpoint)
    training = {"recipe": asdict(recipe), "updates": meta["done"]}
    card = replace(card, provenance=training | card.provenance)
    spec = write_model(net, output, card, architecture=recipe.architecture)
    print(f"{output}: {', '.join(spec.styles)}, {output.stat().st_size / 1e6:.1f} MB")


def read_card(path: Path) -> Card:
    """The card in a training folder: JSON with description, licence, provenance and either a name
    or "styles", which maps the name of each style to its sentence, in the order of the net's.

    Raises `ModelError` when something is missing.
    """
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        styles = dict(told["styles"]) if "styles" in told else {told["name"]: told["description"]}
        return Card(
            tuple(styles), told["description"], told["licence"],
            dict(told["provenance"]), tuple(styles.values()),
        )  # fmt: skip
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ModelError(
            f"{path} must be a JSON object with name or styles, description, licence and "
            f"provenance ({type(error).__name__}: {error})."
        ) from None


def _onnx(options: argparse.Namespace) -> None:
    if not options.checkpoint.is_file():
        raise InputNotFoundError(f"There is no checkpoint {options.checkpoint}.")
    card = Card((options.name,), options.description, options.licence)
    export_checkpoint(options.checkpoint, options.output, card)


def _all(options: argparse.Namespace) -> None:
    folders = sorted(path.parent for path in options.folder.glob(f"*/{CHECKPOINT}"))
    if not folders:
        raise InputNotFoundError(f"No folder in {options.folder} holds a {CHECKPOINT}.")
    for folder in folders:
        if not (folder / CARD).exists():
            print(f"{folder}: left out, as it has no {CARD}.")
            continue
        card = read_card(folder / CARD)
        export_checkpoint(folder / CHECKPOINT, options.output / f"{folder.name}.onnx", card)


def _parity(options: argparse.Namespace) -> None:
    model = read_model(options.model)
    checkpoint = options.checkpoint or options.model.with_suffix(".safetensors")
    if not checkpoint.is_file():
        raise InputNotFoundError(
            f"There is no checkpoint {checkpoint} to compare with; name it with --checkpoint."
        )
    net, _ = load_checkpoint_net(checkpoint)
    results = measure_parity(net, model)
    for result in results:
        print(f"{result.runtime}: mean {result.mean:.3f}, 99.9th percentile {result.p999:.1f}")
    require_parity(results)


def _variant(options: argparse.Namespace) -> None:
    from export.variant import write_variant

    net = load_checkpoint_net(options.checkpoint)[0] if options.checkpoint else None
    output = options.output or options.model.parent / options.precision / options.model.name
    result = write_variant(options.model, output, options.precision, photos=options.photos, net=net)
    print(f"{output}: {output.stat().st_size / 1e6:.1f} MB, {_told(result)}")


def _variants(options: argparse.Namespace) -> None:
    from export.variants import write_variants, zoo_bytes

    output = options.output or options.zoo
    failed = []
    for made in write_variants(
        options.zoo, output, options.precision or ["fp16", "int8"], names=options.model or (),
        photos=options.photos, checkpoints=options.checkpoints,
    ):  # fmt: skip
        if made.difference is None:
            failed.append(made.path.parent.name + "/" + made.path.name)
            print(f"{made.path}: not written. {made.problem}", flush=True)
        else:
            size = made.path.stat().st_size / 1e6
            print(f"{made.path}: {size:.2f} MB, {_told(made.difference)}", flush=True)
    print(f"All models and variants: {zoo_bytes(options.zoo, output) / 1e6:.1f} MB")
    if failed:
        raise ModelError(f"Outside the limits and not written: {', '.join(failed)}.")


def _told(difference: Difference) -> str:
    left = f", left in float: {', '.join(difference.left_float)}" if difference.left_float else ""
    return (
        f"mean {difference.mean:.3f}, 99.9th percentile {difference.p999:.1f}, colour of flat "
        f"pictures {difference.flat_color:.3f}{left}"
    )


def _import(options: argparse.Namespace) -> None:
    from export.importers.command import import_files

    name = options.name or options.output.stem
    card = Card((name,), options.description, options.licence)
    spec = import_files(options.files, options.output, card, values=options.range)
    print(f"{options.output}: {spec.architecture}, {options.output.stat().st_size / 1e6:.1f} MB")


def _tensorrt(options: argparse.Namespace) -> None:
    from export.compiled import size_of, write_plan

    layers = write_plan(
        options.model, options.output, size_of(options.size), runtime=options.runtime
    )
    half, single = (layers.get(f"CONVOLUTION {kind}", 0) for kind in ("HALF", "FLOAT"))
    place = options.output or "the cache"
    print(f"{place}: {half} convolutions in float16, {single} in float32")


def _torch_tensorrt(options: argparse.Namespace) -> None:
    from export.compiled import size_of, write_program

    output = options.output or options.checkpoint.with_suffix(".trt.pt2")
    write_program(options.checkpoint, output, size_of(options.size))
    print(f"{output}: {output.stat().st_size / 1e6:.1f} MB")


def _train(options: argparse.Namespace) -> None:
    from export.trainings import (
        CHECKPOINTS,
        Material,
        keep_weights,
        read_book,
        run_trainings,
        write_entries,
    )

    material = Material(
        content=options.content, paintings=options.paintings,
        loss_nets=tuple(options.loss_net), faces=options.faces,
        work=options.work, device=options.device, threads=options.threads, minutes=options.minutes,
    )  # fmt: skip
    if not 0 <= options.before < 1 or (options.before and not options.keep):
        raise UsageError(
            f"--before goes with --keep and is a share from 0 to below 1, not {options.before:g}."
        )
    options.work.mkdir(parents=True, exist_ok=True)
    book = read_book()
    for name, done in run_trainings(options.names, material, jobs=options.jobs).items():
        print(f"{name}: {done} updates")
        if options.keep:
            folder = CHECKPOINTS / book[name].kept_as
            keep_weights(options.work / name / CHECKPOINT, folder, before=options.before)
    print(f"For the quality report: --entries {write_entries(options.names, options.work)}")


def _pause(options: argparse.Namespace) -> None:
    from export.trainings import CHECKPOINTS, keep_unfinished

    for name in options.names:
        source = options.work / name / CHECKPOINT
        if not source.exists():
            raise InputNotFoundError(f"There is no {source}; train {name} first.")
        path = keep_unfinished(source, CHECKPOINTS / name)
        done = read_checkpoint(path)[0]["done"]
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, {done} updates")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m export", description=__doc__)
    commands: Any = parser.add_subparsers(required=True, metavar="COMMAND")

    onnx = commands.add_parser("onnx", help="write one checkpoint as a model file")
    onnx.add_argument("checkpoint", type=Path, metavar="CHECKPOINT")
    onnx.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    onnx.add_argument("--name", required=True, help="the name of the style")
    onnx.add_argument("--description", default="", help="one sentence on the style")
    onnx.add_argument("--licence", default="", help="under which terms the weights may be used")
    onnx.set_defaults(run=_onnx)

    every = commands.add_parser("all", help=f"write every DIR/*/{CHECKPOINT} that has a {CARD}")
    every.add_argument("folder", type=Path, metavar="DIR")
    every.add_argument("-o", "--output", type=Path, default=shipped_folder(), metavar="DIR")
    every.set_defaults(run=_all)

    parity = commands.add_parser("parity", help="compare a model file with its checkpoint")
    parity.add_argument("model", type=Path, metavar="MODEL")
    parity.add_argument("--checkpoint", type=Path, metavar="FILE")
    parity.set_defaults(run=_parity)

    for precision, told in (
        ("fp16", "half precision, for GPUs: convolutions in float16, norms in float32"),
        ("int8", "8 bits, for CPUs: convolutions in INT8 as far as the pictures allow it"),
    ):
        variant = commands.add_parser(precision, help=f"write a model file's variant in {told}")
        variant.add_argument("model", type=Path, metavar="MODEL")
        variant.add_argument(
            "-o", "--output", type=Path, metavar="FILE",
            help=f"{precision}/MODEL beside MODEL by default, where --precision finds it",
        )  # fmt: skip
        variant.add_argument(
            "--photos", type=Path, metavar="DIR", help="photographs to measure on; rtstyle has some"
        )
        variant.add_argument(
            "--checkpoint", type=Path, metavar="FILE", help="compare with this, not with MODEL"
        )
        variant.set_defaults(run=_variant, precision=precision)

    variants = commands.add_parser("variants", help="write every variant of every model of a zoo")
    variants.add_argument("zoo", type=Path, nargs="?", default=shipped_folder(), metavar="DIR")
    variants.add_argument(
        "-o", "--output", type=Path, metavar="DIR",
        help="DIR/fp16 and DIR/int8 are written; the zoo itself by default",
    )  # fmt: skip
    variants.add_argument("--precision", choices=("fp16", "int8"), action="append")
    variants.add_argument(
        "--model",
        action="append",
        metavar="NAME",
        help="only this one, such as gallery; or several",
    )
    variants.add_argument("--photos", type=Path, metavar="DIR", help="to calibrate and measure on")
    variants.add_argument(
        "--checkpoints", type=Path, default=Path("export/checkpoints"), metavar="DIR",
        help="DIR/MODEL/checkpoint.safetensors is compared with, where it is there",
    )  # fmt: skip
    variants.set_defaults(run=_variants)

    plan = commands.add_parser("tensorrt", help="build a model file for one size of picture")
    plan.add_argument("model", type=Path, metavar="MODEL")
    plan.add_argument(
        "-o", "--output", type=Path, metavar="FILE",
        help="the cache by default, where the engine finds it",
    )  # fmt: skip
    plan.add_argument("--size", required=True, metavar="1280x720", help="or 2x1280x720 for two")
    plan.add_argument("--runtime", choices=("tensorrt", "tensorrt-rtx"), default="tensorrt")
    plan.set_defaults(run=_tensorrt)

    program = commands.add_parser("torch-tensorrt", help="compile a checkpoint for this card")
    program.add_argument("checkpoint", type=Path, metavar="CHECKPOINT")
    program.add_argument("-o", "--output", type=Path, metavar="FILE")
    program.add_argument("--size", required=True, metavar="1280x720", help="or 2x1280x720 for two")
    program.set_defaults(run=_torch_tensorrt)

    train = commands.add_parser("train", help="train nets of export/trainings.toml, or go on")
    train.add_argument("names", nargs="+", metavar="NAME", help="a table of the book")
    train.add_argument("--content", type=Path, required=True, help="folder of photographs")
    train.add_argument("--paintings", type=Path, required=True, help="folder of paintings")
    train.add_argument(
        "--loss-net", type=Path, required=True, action="append", metavar="FILE",
        help="weights of VGG-16 or the compressed VGG-19; again for another, each training takes "
        "its own",
    )  # fmt: skip
    train.add_argument(
        "--faces", type=Path, default=FACES, help="CSV list of the faces in the photographs"
    )
    train.add_argument("--work", type=Path, required=True, help="folder that keeps the trainings")
    train.add_argument("--minutes", type=float, help="stop each after so long, to go on later")
    train.add_argument("--jobs", type=int, default=1, help="how many at once")
    train.add_argument("--threads", type=int, default=1, help="of the CPU, for each")
    train.add_argument("--device", default="auto", metavar="auto|cpu|cuda")
    train.add_argument(
        "--keep", action="store_true", help="put the weights into export/checkpoints"
    )
    train.add_argument(
        "--before", type=float, default=0.0, metavar="SHARE",
        help="with --keep: average with the weights kept before, which get this share",
    )  # fmt: skip
    train.set_defaults(run=_train)

    pause = commands.add_parser(
        "pause", help="keep a training in export/checkpoints that another machine is to go on with"
    )
    pause.add_argument("names", nargs="+", metavar="NAME", help="a table of the book")
    pause.add_argument("--work", type=Path, required=True, help="folder that keeps the trainings")
    pause.set_defaults(run=_pause)

    bring = commands.add_parser(
        "import", help="write another project's checkpoint or ONNX file as a model file"
    )
    bring.add_argument("files", type=Path, nargs="+", metavar="FILE")
    bring.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    bring.add_argument("--name", help="the name of the style; that of the output by default")
    bring.add_argument("--description", default="", help="one sentence on the style")
    bring.add_argument("--licence", default="", help="under which terms the weights may be used")
    bring.add_argument(
        "--range", choices=("0..1", "0..255", "-1..1", "imagenet"),
        help="what an ONNX file's pixels run from and to",
    )  # fmt: skip
    bring.set_defaults(run=_import)
    return parser


if __name__ == "__main__":
    sys.exit(main())
