"""Where the models are: the user's own and those that come with rtstyle, in each precision.

Another precision of a model is a file of the same name in a folder named after the precision.
"""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from importlib import resources
from pathlib import Path

import platformdirs

from rtstyle.errors import ModelError, RtstyleError, UsageError
from rtstyle.model.file import read_model
from rtstyle.model.spec import ModelSpec

VARIANTS = ("fp16", "int8")
CHOICES = ("auto", "fastest")  # that leave it to the engine
PRECISIONS = (*CHOICES, "fp32", *VARIANTS)
_log = logging.getLogger("rtstyle")


def find_models() -> list[ModelSpec]:
    """The user's models by file name, then the shipped ones, those of several styles first.

    This is the order in which a style's name is looked for: what the user put there wins, and among
    the shipped models those that switch between many styles without loading another net.

    A file that cannot be read is left out with a warning in the log, so that one bad download
    does not take all other styles away.
    """
    shipped = sorted(_models_in(shipped_folder()), key=lambda model: len(model.styles) < 2)
    return [*_models_in(user_folder()), *shipped]


def shipped_folder() -> Path:
    """The folder of the models that come with rtstyle."""
    return Path(str(resources.files("rtstyle") / "zoo"))


def user_folder() -> Path:
    """The folder of the user's own models: $RTSTYLE_MODELS, or the platform's place for data."""
    if chosen := os.environ.get("RTSTYLE_MODELS"):
        return Path(chosen)
    return platformdirs.user_data_path("rtstyle", appauthor=False) / "models"


def _models_in(folder: Path) -> list[ModelSpec]:
    specs = []
    for path in sorted(folder.glob("*.onnx")):
        try:
            specs.append(read_model(path))
        except RtstyleError as error:
            _log.warning("A model is left out: %s", error)
    return specs


def at_precision(model: ModelSpec, precision: str) -> ModelSpec:
    """The model's variant: zoo/udnie.onnx → zoo/fp16/udnie.onnx; "fp32" is the model itself.

    Raises `UsageError` for a name that is no precision, `ModelError` when there is no variant.
    """
    if precision == "fp32":
        return model
    if precision not in VARIANTS:
        raise UsageError(f"There is no precision {precision!r}; use {', '.join(PRECISIONS)}.")
    path = model.path.parent / precision / model.path.name
    if not path.is_file():
        raise ModelError(
            f"{model.path.name} has no {precision} variant; make one with "
            f"`rtstyle export {precision} {model.path}`, or leave --precision out."
        )
    variant = read_model(path)
    facts = ("stride", "styles", "style_size", "style_input", "takes_strength", "layout")
    if any(getattr(variant, fact) != getattr(model, fact) for fact in facts):
        raise ModelError(f"{path} is no variant of {model.path}: they differ; export it again.")
    return replace(model, path=path, precision=precision)


def best_precision(model: ModelSpec, wanted: str) -> ModelSpec:
    """The variant `wanted` where there is one, else the model itself."""
    try:
        return at_precision(model, wanted)
    except ModelError:
        return model
