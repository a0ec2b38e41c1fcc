"""Writes and checks model files: `python -m export --help`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rtstyle.errors import InputNotFoundError, ModelError, RtstyleError, UsageError
from rtstyle.model import read_model, shipped_folder
from rtstyle.train.loop import load_checkpoint_net, read_checkpoint
from rtstyle.train.onnx_export import Card, write_model
from rtstyle.train.parity import measure_parity, require_parity

CHECKPOINT, CARD = "checkpoint.safetensors", "model.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, 1 for a failure, 2 for wrong arguments."""
    options = _parser().parse_args(arguments)
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
    net, recipe = load_checkpoint_net(checkpoint)
    meta, _ = read_checkpoint(checkpoint)
    training = {"recipe": asdict(recipe), "updates": meta["done"]}
    card = Card(card.styles, card.description, card.licence, training | card.provenance)
    spec = write_model(net, output, card, architecture=recipe.architecture)
    print(f"{output}: {', '.join(spec.styles)}, {output.stat().st_size / 1e6:.1f} MB")


def read_card(path: Path) -> Card:
    """The card in a training folder: JSON with name, description, licence and provenance.

    Raises `ModelError` when something is missing.
    """
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return Card((told["name"],), told["description"], told["licence"], dict(told["provenance"]))
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ModelError(
            f"{path} must be a JSON object with name, description, licence and provenance "
            f"({type(error).__name__}: {error})."
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
        file = card.styles[0].lower().replace(" ", "_") + ".onnx"
        export_checkpoint(folder / CHECKPOINT, options.output / file, card)


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
        print(
            f"{result.runtime}: mean {result.mean:.3f}, 99.9th percentile {result.p999:.1f}, "
            f"colour of flat pictures {result.flat_color:.3f}"
        )
    require_parity(results)


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
    return parser


if __name__ == "__main__":
    sys.exit(main())
