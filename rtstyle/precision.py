"""A model in other precisions: files of the same name in folders named after the precision."""

from __future__ import annotations

from dataclasses import replace

from rtstyle.errors import ModelError, UsageError
from rtstyle.model import ModelSpec, read_model

VARIANTS = ("fp16", "int8")
CHOICES = ("auto", "fastest")  # that leave it to the engine
PRECISIONS = (*CHOICES, "fp32", *VARIANTS)


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
            f"`python -m export {precision} {model.path}`, or leave --precision out."
        )
    variant = read_model(path)
    facts = ("stride", "styles", "style_size", "style_input", "takes_strength", "layout")
    if any(getattr(variant, fact) != getattr(model, fact) for fact in facts):
        raise ModelError(f"{path} is no variant of {model.path}: they differ; export it again.")
    return replace(model, path=path)


def best_precision(model: ModelSpec, wanted: str) -> ModelSpec:
    """The variant `wanted` where there is one, else the model itself."""
    try:
        return at_precision(model, wanted)
    except ModelError:
        return model
