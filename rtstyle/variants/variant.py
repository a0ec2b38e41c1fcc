"""Writes a model file's variant of another precision, if it paints as the model does."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from torch import nn

from rtstyle.bench.parity import Difference, Limits, measure_difference
from rtstyle.engines.half import to_half
from rtstyle.errors import OutputError, UsageError
from rtstyle.files import atomic_write
from rtstyle.model.file import read_model
from rtstyle.model.spec import METADATA_KEY
from rtstyle.model.zoo import shipped_folder
from rtstyle.nets.onnx_weights import half_weights
from rtstyle.variants.feeds import GRAIN, feeds_of, hard_pictures, photographs, styles_to_try
from rtstyle.variants.int8 import to_int8
from rtstyle.variants.runners import runner, torch_runner

# Grey levels on average on the photographs that ranges are taken from, tried in turn until those
# that are held back for measuring are within the limit too.
_INT8_AIMS = (2.5, 2.0, 1.5, 1.0)
_HELD_BACK = 3  # every so many photographs, where there are enough
# In a flat frame instance norm amplifies what the precision's own rounding left; the limit on its
# mean colour excludes garbage only.
LIMITS = {"fp16": Limits(1.0, 4.0, 32.0), "int8": Limits(3.0, None, 32.0)}


@dataclass(frozen=True, slots=True)
class Variant:
    """A variant that was written: its difference from the model it was made of, and the
    convolutions that INT8 left in float."""

    difference: Difference
    left_float: tuple[str, ...] = ()


def write_variant(
    source: Path,
    output: Path,
    precision: str,
    *,
    photos: Path | None = None,
    net: nn.Module | None = None,
    float_norms: bool = False,
) -> Variant:
    """Write `source` in `precision`, "fp16" or "int8", to `output`, whole or not at all;
    `float_norms` as in `to_half`.

    The variant is compared with `net`, or without one with `source`, on `photos` (those that come
    with rtstyle by default), noise, black and white, in every style that the model names. INT8
    takes its ranges from two thirds of the photographs and is measured on the rest. Raises
    `ModelError` when it differs too much or any value is no number, `OutputError` when it cannot be
    written.
    """
    if output.resolve() == source.resolve():
        raise UsageError(f"The variant would replace its model {source}; name another file.")
    spec = read_model(source)
    if spec.layout != "nhwc" or source.suffix != ".onnx":
        raise UsageError(
            f"{source.name} is no model file of rtstyle; make it one with `rtstyle import`"
            " or `python -m export onnx` first."
        )
    pictures = photographs(photos or shipped_folder().parent / "samples", spec)
    styles = styles_to_try(spec, pictures)
    held_back = _HELD_BACK if len(pictures) >= 2 * _HELD_BACK else 0
    measured = pictures[::held_back] if held_back else pictures
    seen = [p for i, p in enumerate(pictures) if not held_back or i % held_back]
    model = onnx.load_model(source)
    reference = runner(model) if net is None else torch_runner(net)
    feeds = feeds_of(spec, measured, styles) + feeds_of(spec, hard_pictures(spec), styles[:1])
    expected = [reference(feed) for feed in feeds]
    for aim in _INT8_AIMS if precision == "int8" else (0.0,):
        left: list[str] = []
        if precision == "fp16":
            variant = to_half(model, norms="float" if float_norms else "fused")
        else:
            variant, left = to_int8(model, feeds_of(spec, seen, styles), max_mean=aim)
        variant = half_weights(variant)
        _note_precision(variant, precision)
        stylize = runner(variant, finite=True)
        difference = measure_difference(
            ((feed["frame"], stylize(feed), e) for feed, e in zip(feeds, expected, strict=True)),
            grain=GRAIN,
        )
        if difference.mean <= LIMITS[precision].mean:
            break
    LIMITS[precision].require(difference, f"In {precision}")
    try:
        with atomic_write(output, parents=True) as part:
            part.write_bytes(variant.SerializeToString())
            read_model(part)
    except OSError as error:
        raise OutputError(f"The model {output} cannot be written ({error}).") from error
    return Variant(difference, tuple(left))


def _note_precision(model: onnx.ModelProto, precision: str) -> None:
    """Write the precision into the provenance of the model's metadata."""
    props = {prop.key: prop.value for prop in model.metadata_props}
    if METADATA_KEY in props:
        document: dict[str, Any] = json.loads(props[METADATA_KEY])
        document["provenance"] = document.get("provenance", {}) | {"precision": precision}
        props[METADATA_KEY] = json.dumps(document, ensure_ascii=False)
        onnx.helper.set_model_props(model, props)
