"""Any picture as a style: its statistics, as the style encoder of a model tells them."""

from __future__ import annotations

import hashlib
from os import PathLike
from pathlib import Path

import cv2
import numpy as np

from rtstyle.cache import cached
from rtstyle.errors import ModelError, StyleNotFoundError
from rtstyle.frame import Image
from rtstyle.media.picture import read_picture
from rtstyle.model import ModelSpec, find_models, user_folder
from rtstyle.style import Style
from rtstyle.style_encoder import StyleEncoder, encode, read_style_encoder

# Of long and narrow pictures the middle is taken: a strip scaled by its short side would be huge.
MAX_ASPECT = 4


def painting_style(painting: str | PathLike[str] | Image, model: ModelSpec | None = None) -> Style:
    """The style of a picture, given as a file or as (H, W, 3) RGB, for `model`.

    `model` is by default the first one for any painting of the user's and the shipped models. What
    its encoder tells is kept in the user's cache, so that it runs once for every picture.

    Raises `InputNotFoundError` and `MediaError` when the picture cannot be read,
    `StyleNotFoundError` when there is no such model, `ModelError` when its encoder is missing or
    does not fit and `EngineError` when nothing here can run it.
    """
    if isinstance(painting, np.ndarray):
        name, picture = "picture", painting
    else:
        path = Path(painting)
        name, (picture, _) = path.name, read_picture(path)
    model = model or painting_model()
    if model.style_input != "statistics":
        raise ModelError(f"{model.path} paints its own styles only, not like any picture.")
    encoder = read_style_encoder(model)
    scaled = prepare_painting(picture, encoder)
    content = hashlib.sha256(encoder.path.read_bytes())
    content.update(repr(scaled.shape).encode() + scaled.tobytes())
    vector = cached(
        f"{content.hexdigest()}.style", (1, model.style_size), lambda: encode(encoder, scaled)
    )
    vector.setflags(write=False)
    return Style(name, model, vector)


def painting_model() -> ModelSpec:
    """The first model for any painting. Raises `StyleNotFoundError` when there is none."""
    for model in find_models():
        if model.style_input == "statistics":
            return model
    raise StyleNotFoundError(
        "A picture can be the style only where a model for any painting is, and there is none; put "
        f"one into {user_folder()}, or choose a style that `rtstyle styles` lists."
    )


def prepare_painting(picture: Image, encoder: StyleEncoder) -> Image:
    """The picture as the encoder takes it: its short side scaled to `painting_size`, the middle of
    a very long one, cut to multiples of the stride."""
    height, width = picture.shape[:2]
    most = MAX_ASPECT * min(height, width)
    top, left = max(0, height - most) // 2, max(0, width - most) // 2
    picture = picture[top : top + min(height, most), left : left + min(width, most)]
    height, width = picture.shape[:2]
    factor = encoder.painting_size / min(height, width)
    size = (round(width * factor), round(height * factor))
    if size != (width, height):
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    height, width = (side - side % encoder.stride for side in picture.shape[:2])
    return np.ascontiguousarray(picture[:height, :width])
