"""Trained checkpoints as model files."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

from rtstyle.bench.parity import require_parity
from rtstyle.errors import ModelError
from rtstyle.nets.checkpoint import load_checkpoint_net, read_checkpoint
from rtstyle.train.recipe import Recipe
from rtstyle.train.to_onnx import ModelCard, write_model

CHECKPOINT, MODEL_CARD = "checkpoint.safetensors", "model.json"


def export_checkpoint(checkpoint: Path, output: Path, card: ModelCard) -> None:
    """Write the averaged net of `checkpoint` as the model file `output`.

    The recipe and the number of updates are added to the model card's provenance.
    """
    net, settings = load_checkpoint_net(checkpoint)
    recipe = Recipe(**settings)
    meta, _ = read_checkpoint(checkpoint)
    training = {"recipe": asdict(recipe), "updates": meta["done"]}
    card = replace(card, provenance=training | card.provenance)
    spec = write_model(net, output, card, architecture=recipe.architecture, check=require_parity)
    print(f"{output}: {', '.join(spec.styles)}, {output.stat().st_size / 1e6:.1f} MB")


def read_model_card(path: Path) -> ModelCard:
    """The model card in a training folder: JSON with description, licence, provenance and either a
    name or "styles", which maps each style's name to its sentence, in the net's order.

    Raises `ModelError` when something is missing.
    """
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        description = fields["description"]
        styles = dict(fields["styles"]) if "styles" in fields else {fields["name"]: description}
        return ModelCard(
            tuple(styles),
            description,
            fields["licence"],
            dict(fields["provenance"]),
            tuple(styles.values()),
        )
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ModelError(
            f"{path} must be a JSON object with name or styles, description, licence and "
            f"provenance ({type(error).__name__}: {error})."
        ) from None
