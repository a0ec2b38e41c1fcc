"""Makes a model file that paints every region of the frame in a style of its own, or none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from rtstyle.errors import UsageError
from rtstyle.media.images import read_picture
from rtstyle.model.spec import ModelSpec
from rtstyle.nets.onnx_weights import load_onnx_net
from rtstyle.nets.stylebank import Regions
from rtstyle.style.style import Style
from rtstyle.train.patchwork import write_patchwork
from rtstyle.train.to_onnx import Check, ModelCard, write_model

Colour = tuple[int, int, int]  # RGB

KEEP = "keep"  # in place of a style: the frame as it is
_LONG_SIDE = 256  # pixels of the map that is kept: finer than any bank works


def write_regions(
    picture: Path, regions: Mapping[Colour, Style | None], output: Path, *, check: Check
) -> ModelSpec:
    """Write to `output` the model that paints `regions` in their styles, by the map `picture`; None
    leaves the frame as it is.

    Every place of the picture belongs to the region whose colour is nearest. The model has one
    style, called as the file, and takes no style vector. Styles of one StyleBank are painted in one
    pass, all others in one each. Raises `UsageError` when a region is empty or there is no style,
    and what `read_picture`, `write_model` and `write_patchwork` raise.
    """
    styles = list(regions.values())
    painted = [style for style in styles if style is not None]
    if not painted:
        raise UsageError("At least one region is painted in a style; all of them are kept.")
    places = _places(read_picture(picture)[0], list(regions), picture)  # (R, h, w)
    names = [KEEP if style is None else style.name for style in styles]
    colours = [f"#{bytes(colour).hex()}" for colour in regions]
    models = {style.model.path: style.model for style in painted}
    more = {"regions": dict(zip(colours, names, strict=True)), "map": picture.name}
    card = ModelCard(
        styles=(output.stem,),
        description=f"By regions: {', '.join(names)}.",
        licence=" and ".join(dict.fromkeys(m.licence for m in models.values() if m.licence)),
        provenance=more,
    )
    is_bank = painted[0].model.architecture.endswith("stylebank")
    if len(models) > 1 or len(painted) < len(styles) or not is_bank:
        card = replace(card, provenance=more | {"models": [path.name for path in models]})
        return write_patchwork(styles, places, output, card)
    net, spec = load_onnx_net(painted[0].model.path)
    maps = np.einsum("rs,rhw->shw", np.concatenate([style.vector for style in painted]), places)
    _, height, width = maps.shape
    divided = Regions(bank=spec.architecture, options=spec.options, height=height, width=width)
    divided.net.load_state_dict(net.state_dict())
    divided.maps.copy_(torch.from_numpy(maps))
    card = replace(card, provenance=spec.provenance | more)
    return write_model(divided.eval(), output, card, architecture="regions", check=check)


def _places(picture: NDArray[np.uint8], colours: list[Colour], path: Path) -> NDArray[np.float32]:
    """How much of each place belongs to which colour: (R, h, w), summing to 1."""
    picture = _at_most(picture, 4 * _LONG_SIDE, cv2.INTER_NEAREST)  # no colours in between
    apart = np.stack([np.square(picture.astype(np.int32) - c).sum(2) for c in colours])
    nearest = apart.argmin(0)
    found = []
    for index, colour in enumerate(colours):
        mask = (nearest == index).astype(np.float32)
        if not mask.any():
            raise UsageError(
                f"{path} has no region of the colour #{bytes(colour).hex()}: every place is nearer "
                "to another one."
            )
        found.append(_at_most(mask, _LONG_SIDE, cv2.INTER_AREA))
    return np.stack(found).astype(np.float32)


def _at_most(picture: NDArray[Any], long_side: int, method: int) -> NDArray[Any]:
    height, width = picture.shape[:2]
    factor = min(1.0, long_side / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return cv2.resize(picture, size, interpolation=method)
