"""Any picture as a style: its statistics, which a model's style encoder computes.

The style encoder is the part of a model for arbitrary styles that looks at the style image, a model
file of its own.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rtstyle.engines.graph import open_graph
from rtstyle.errors import EngineError, InputNotFoundError, ModelError, StyleNotFoundError
from rtstyle.files import cached
from rtstyle.frame import Image
from rtstyle.media.images import read_picture
from rtstyle.model.file import STYLE_ENCODER, describe, fits
from rtstyle.model.onnx_reader import FLOAT, UINT8, read_header
from rtstyle.model.spec import FORMAT, METADATA_KEY, ModelSpec, read_document, take
from rtstyle.model.zoo import find_models, user_folder
from rtstyle.style.style import Style

Vector = NDArray[np.float32]  # (1, S)

# Of long and narrow pictures the middle is taken: a strip scaled by its short side would be huge.
MAX_ASPECT = 4


@dataclass(frozen=True, slots=True)
class StyleEncoder:
    """Maps a painting, uint8 (N, H, W, 3), to its statistics, float32 (N, S).

    `image_size` is the short side in pixels that a painting is scaled to before, `stride` what
    its sides must be multiples of, `style_size` is S.
    """

    path: Path
    stride: int
    image_size: int
    style_size: int

    def metadata(self) -> str:
        """The JSON document for the metadata key `rtstyle`, which `read_style_encoder` reads."""
        return json.dumps(
            {
                "format": FORMAT,
                "architecture": STYLE_ENCODER,
                "stride": self.stride,
                "painting_size": self.image_size,
            }
        )


def encoder_path(model: Path) -> Path:
    """Where the style encoder of the model file lies: zoo/adain.onnx → zoo/encoders/adain.onnx."""
    return model.parent / "encoders" / model.name


def read_style_encoder(model: ModelSpec) -> StyleEncoder:
    """The style encoder of `model`. Raises `ModelError` when it is missing or does not fit."""
    path = encoder_path(model.path)
    try:
        header = read_header(path)
    except InputNotFoundError:
        raise ModelError(
            f"The style encoder of {model.path.name} is missing; copy it to {path}."
        ) from None
    if METADATA_KEY not in header.metadata:
        raise ModelError(f"{path} has no rtstyle metadata; a style encoder was expected.")
    document = read_document(path, header.metadata[METADATA_KEY])
    if (architecture := take(path, document, "architecture", str)) != STYLE_ENCODER:
        raise ModelError(
            f"{path} is a model of architecture {architecture!r:.60}; the style encoder of "
            f"{model.path.name} was expected there."
        )
    stride, size = (take(path, document, key, int) for key in ("stride", "painting_size"))
    if not 1 <= stride <= size <= 4096:
        raise ModelError(
            f"{path} has a stride of {stride} and paintings of {size} pixels; "
            "1 ≤ stride ≤ painting_size ≤ 4096 was expected."
        )
    paintings, statistics = (UINT8, (None, None, None, 3)), (FLOAT, (None, model.style_size))
    for tensors, name, kind in (
        (header.inputs, "painting", paintings),
        (header.outputs, "style", statistics),
    ):
        if len(tensors) != 1 or tensors[0].name != name or not fits(tensors[0], *kind):
            got = ", ".join(f"{t.name!r}: {describe(t)}" for t in tensors) or "nothing"
            raise ModelError(
                f"{path} does not map a painting to {model.style_size} numbers for "
                f"{model.path.name}: {name!r} does not fit (it has {got})."
            )
    return StyleEncoder(path, stride, size, model.style_size)


def encode(encoder: StyleEncoder, painting: Image) -> Vector:
    """The statistics of `painting` (H, W, 3), whose sides are multiples of the stride → (1, S).

    Runs once on the best CPU runtime there is. Raises `ModelError` when the file is not safe to
    load and `EngineError` when no runtime works.
    """
    graph = open_graph(encoder.path)
    style = np.asarray(graph.run(painting[None]), np.float32)
    if style.shape != (1, encoder.style_size) or not np.isfinite(style).all():
        raise EngineError(
            f"The style encoder {encoder.path} gives no {encoder.style_size} finite numbers in "
            f"{graph.runtime}."
        )
    return style


def style_from_image(
    painting: str | PathLike[str] | Image, model: ModelSpec | None = None
) -> Style:
    """The style of a picture, given as a file or as (H, W, 3) RGB, for `model`.

    `model` is by default the first one for any painting of the user's and the shipped models. What
    its encoder computes is kept in the user's cache, so that it runs once for every picture.

    Raises `InputNotFoundError` and `MediaError` when the picture cannot be read,
    `StyleNotFoundError` when there is no such model, `ModelError` when its encoder is missing or
    does not fit and `EngineError` when nothing here can run it.
    """
    if isinstance(painting, np.ndarray):
        name, picture = "picture", painting
    else:
        path = Path(painting)
        name, (picture, _) = path.name, read_picture(path)
    model = model or arbitrary_style_model()
    if model.style_input != "statistics":
        raise ModelError(f"{model.path} paints its own styles only, not like any picture.")
    encoder = read_style_encoder(model)
    scaled = prepare_style_image(picture, encoder)
    content = hashlib.sha256(encoder.path.read_bytes())
    content.update(repr(scaled.shape).encode() + scaled.tobytes())
    vector = cached(
        f"{content.hexdigest()}.style", (1, model.style_size), lambda: encode(encoder, scaled)
    )
    vector.setflags(write=False)
    return Style(name, model, vector)


def arbitrary_style_model() -> ModelSpec:
    """The first model for any painting. Raises `StyleNotFoundError` when there is none."""
    for model in find_models():
        if model.style_input == "statistics":
            return model
    raise StyleNotFoundError(
        "A picture can be the style only where a model for any painting is, and there is none; put "
        f"one into {user_folder()}, or choose a style that `rtstyle styles` lists."
    )


def prepare_style_image(picture: Image, encoder: StyleEncoder) -> Image:
    """The picture as the encoder takes it: its short side scaled to `image_size`, the middle of
    a very long one, cut to multiples of the stride."""
    height, width = picture.shape[:2]
    most = MAX_ASPECT * min(height, width)
    top, left = max(0, height - most) // 2, max(0, width - most) // 2
    picture = picture[top : top + min(height, most), left : left + min(width, most)]
    height, width = picture.shape[:2]
    factor = encoder.image_size / min(height, width)
    size = (round(width * factor), round(height * factor))
    if size != (width, height):
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    height, width = (side - side % encoder.stride for side in picture.shape[:2])
    return np.ascontiguousarray(picture[:height, :width])
