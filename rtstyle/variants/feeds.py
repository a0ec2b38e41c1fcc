"""What variants of a model are calibrated and compared on: photographs, hard pictures, styles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rtstyle.engines.batch import to_inputs
from rtstyle.errors import InputNotFoundError
from rtstyle.frame import Image
from rtstyle.media.images import read_picture
from rtstyle.media.options import PICTURE_SUFFIXES
from rtstyle.model.spec import ModelSpec
from rtstyle.style.encoder import encode, read_style_encoder

Feed = dict[str, NDArray[Any]]  # inputs of the graph by name
GRAIN = 2  # grey levels: no more contrast than a camera's noise
_SHORT_SIDE, _LONG_SIDE = 256, 384  # of photographs, rounded to the stride
_MAX_PHOTOS = 24
_PAINTINGS = 6  # that a model for any painting is tried with


def feeds_of(
    spec: ModelSpec, pictures: Sequence[Image], styles: Sequence[NDArray[np.float32]]
) -> list[Feed]:
    """Every picture and every style at least once, paired in turn."""
    pairs = range(max(len(pictures), len(styles)))
    return [
        to_inputs(
            spec, pictures[i % len(pictures)][None], styles[i % len(styles)] if styles else None
        )
        for i in pairs
    ]


def styles_to_try(spec: ModelSpec, pictures: Sequence[Image]) -> list[NDArray[np.float32]]:
    """Each (1, S): a mix of all styles, then each alone; or the statistics of photographs'
    negatives, upside down, in place of paintings."""
    if not spec.style_size:
        return []
    if spec.style_input == "statistics":
        encoder = read_style_encoder(spec)
        side = -(-encoder.image_size // encoder.stride) * encoder.stride
        squares = (
            cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)[::-1]
            for picture in pictures[:_PAINTINGS]
        )
        return [encode(encoder, np.ascontiguousarray(255 - square)) for square in squares]
    weights = np.arange(1, spec.style_size + 1, dtype=np.float32)
    each = np.eye(spec.style_size, dtype=np.float32)[:, None]  # (S, 1, S)
    return [np.asarray(weights[None] / weights.sum()), *each]


def photographs(folder: Path, spec: ModelSpec) -> list[Image]:
    """Up to 24 photographs from below `folder`, of a video's shape, as the net would see them.

    Raises `InputNotFoundError` when there is none, `MediaError` for one that cannot be read.
    """
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in PICTURE_SUFFIXES)
    if not files:
        raise InputNotFoundError(f"There is no photograph in {folder}; --photos names a folder.")
    height, width = spec.size or (_round(_SHORT_SIDE, spec), _round(_LONG_SIDE, spec))
    images: list[Image] = []
    for file in files[:: -(-len(files) // _MAX_PHOTOS)]:
        photo = read_picture(file)[0]
        scale = max(height / photo.shape[0], width / photo.shape[1])
        size = (max(width, round(photo.shape[1] * scale)),
                max(height, round(photo.shape[0] * scale)))  # fmt: skip
        scaled = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
        images.append(np.ascontiguousarray(scaled[:height, :width], dtype=np.uint8))
    return images


def hard_pictures(spec: ModelSpec) -> list[Image]:
    """Noise, black and white, with a camera's grain and without."""
    height, width = spec.size or (_round(96, spec), _round(128, spec))
    shape = (height, width, 3)
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, shape, dtype=np.uint8)
    grain = rng.integers(0, GRAIN + 1, shape, dtype=np.uint8)  # black as a camera gives it
    return [noise, grain, 255 - grain, np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8)]


def _round(side: int, spec: ModelSpec) -> int:
    return -(-side // spec.stride) * spec.stride
