"""Makes a model file that paints every region of the frame in a style of its own."""

from __future__ import annotations

from collections.abc import Mapping
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
from rtstyle.nets.stylebank import Banks, Regions
from rtstyle.style.style import Style
from rtstyle.train.to_onnx import Check, ModelCard, write_model

Colour = tuple[int, int, int]  # RGB

_LONG_SIDE = 256  # pixels of the map that is kept: finer than any bank works


def write_regions(
    picture: Path, regions: Mapping[Colour, Style], output: Path, *, check: Check
) -> ModelSpec:
    """Write to `output` the StyleBank of `regions` with the map `picture` inside.

    Every place of the picture belongs to the region whose colour is nearest. The model has one
    style, called as the file, and takes no style vector. Raises `UsageError` when the styles are
    not of one StyleBank or a region is empty, and what `read_picture` and `write_model` raise.
    """
    bank = _the_bank(list(regions.values()))
    net, spec = load_onnx_net(bank)
    if not any(isinstance(module, Banks) for module in net.modules()):
        raise UsageError(
            f"{bank.name} is a {spec.architecture}; regions are painted by a StyleBank, one made "
            "by `rtstyle train --bank` or a style such as stylebank:NAME."
        )
    places = _places(read_picture(picture)[0], list(regions), picture)  # (R, h, w)
    vectors = np.concatenate([style.vector for style in regions.values()])
    maps = np.einsum("rs,rhw->shw", vectors, places)
    _, height, width = maps.shape
    divided = Regions(bank=spec.architecture, options=spec.options, height=height, width=width)
    divided.net.load_state_dict(net.state_dict())
    divided.maps.copy_(torch.from_numpy(maps))
    regions_of_map = {f"#{bytes(colour).hex()}": style.name for colour, style in regions.items()}
    card = ModelCard(
        styles=(output.stem,),
        description=f"By regions: {', '.join(regions_of_map.values())}.",
        licence=spec.licence,
        provenance=spec.provenance | {"regions": regions_of_map, "map": picture.name},
    )
    return write_model(divided.eval(), output, card, architecture="regions", check=check)


def _the_bank(styles: list[Style]) -> Path:
    paths = {style.model.path for style in styles}
    if len(paths) != 1 or any(style.vector is None for style in styles):
        raise UsageError(
            "The regions' styles must be of one StyleBank, not of "
            f"{', '.join(sorted(path.name for path in paths))}; tell it with stylebank:NAME."
        )
    return paths.pop()


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
