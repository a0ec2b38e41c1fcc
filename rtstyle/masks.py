"""Where people and faces are in a frame: by a small net, steadied, its edges by the picture.

The net is that of `export.person_mask`, or the user's own copy of MediaPipe's selfie segmentation.
Edges are refined by a fast guided filter (He and Sun 2015): its coefficients at the net's size, the
picture at its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rtstyle.engines.graph import open_graph
from rtstyle.errors import EngineError, ModelError
from rtstyle.frame import Frame, Image
from rtstyle.model.zoo import shipped_folder, user_folder
from rtstyle.steady import SteadyFilter

HEIGHT, WIDTH = 144, 256  # that the net runs at
_NARROWEST = 1.2  # aspect of what is stretched to the net's; narrower pictures get borders
_STEADINESS = 0.9
_RADIUS, _EPSILON = 3, 3e-4  # of the guided filter, at the net's size
_SURE = 0.2  # of a mask, from where on it is 0, and 1 as far from there

Mask = NDArray[np.float32]  # (H, W), 0 to 1


class PersonMasks:
    """The masks of frames that follow each other, of one size. Used by one thread.

    `starts` and `lead` are as for `SteadyFilter`: what is found from a start on depends on the
    frames from `lead` before alone. Raises `ModelError` where the model is missing or another.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        starts: Sequence[Fraction] = (),
        lead: Fraction = Fraction(1),
        steadiness: float = _STEADINESS,
    ) -> None:
        self._steady = SteadyFilter(steadiness, starts=starts, lead=lead, sharpens=False)
        self._net = _open(path or find_mask_model())

    def __call__(self, frame: Frame) -> dict[str, Mask]:
        """For "background", "person" and "face" the mask of the frame, (H, W)."""
        image = frame.image
        given, columns = fitted(image)
        found = self._net(given)[:, :, columns]
        small = given[:, columns]
        levels = np.zeros((*found.shape[1:], 3), np.uint8)
        levels[..., :2] = (found.transpose(1, 2, 0) * 255 + 0.5).astype(np.uint8)
        steadied = self._steady(levels, replace(frame, image=small))
        small_grey, grey = _grey(small), _grey(image)
        person = _refined(steadied[..., 0], small_grey, grey)
        faces = steadied[..., 1]
        face = _refined(faces, small_grey, grey) if faces.any() else np.zeros_like(person)
        return {"background": 1 - person, "person": person, "face": face}


def fitted(image: Image) -> tuple[Image, slice]:
    """The whole picture as the net takes it, (144, 256, 3), and the columns that hold it: all, or
    those between borders where it is narrow."""
    aspect = image.shape[1] / image.shape[0]
    inner = WIDTH if aspect >= _NARROWEST else max(16, round(WIDTH * aspect / _NARROWEST))
    left = (WIDTH - inner) // 2
    small = cv2.resize(image, (inner, HEIGHT), interpolation=cv2.INTER_AREA)
    sides = left, WIDTH - inner - left
    given = cv2.copyMakeBorder(small, 0, 0, *sides, cv2.BORDER_REPLICATE)
    return np.asarray(given, np.uint8), slice(left, left + inner)


def find_mask_model() -> Path:
    """The model of the masks: $RTSTYLE_MASKS, masks/person.onnx in the user's folder of models, or
    the one that comes with rtstyle. Raises `ModelError` where there is none."""
    chosen = os.environ.get("RTSTYLE_MASKS")
    mine, shipped = (f / "masks" / "person.onnx" for f in (user_folder(), shipped_folder()))
    path = Path(chosen) if chosen else mine if mine.is_file() else shipped
    if not path.is_file():
        raise ModelError(
            f"People are found by a model, and {path} is not there; put MediaPipe's "
            f"selfie_segmentation as ONNX, or one of `python -m export.person_mask`, at {mine}."
        )
    return path


def _open(path: Path) -> Callable[[Image], NDArray[Any]]:
    """The net: a picture (144, 256, 3) → masks of person and face (2, 144, 256), 0 to 1.

    MediaPipe's has two logits, of everything else and of the person, and knows no faces.
    """
    try:
        graph = open_graph(path, threads=1)  # the engine paints beside it
    except EngineError as error:
        raise ModelError(f"{path} is no model of masks that can be run here. {error}") from error
    shapes, batch = (graph.input_shape, graph.output_shape), (1, HEIGHT, WIDTH, 3)
    if shapes == (batch, (1, 2, HEIGHT, WIDTH)):
        return lambda picture: graph.run(picture[None])[0]
    if shapes == (batch, (1, HEIGHT, WIDTH, 2)):

        def find(picture: Image) -> NDArray[Any]:
            logits = graph.run(picture[None].astype(np.float32) / np.float32(255))[0]
            person = 1 / (1 + np.exp(logits[..., 0] - logits[..., 1]))
            return np.stack([person, np.zeros_like(person)])

        return find
    raise ModelError(f"{path} takes and gives {shapes}, not pictures and masks of 256×144.")


def _refined(mask: Image, small: Image, grey: Image) -> Mask:
    """The mask, levels of 0 to 255 as the grey pictures, at the size of the picture, its edges
    where those of the picture are."""
    size = (2 * _RADIUS + 1, 2 * _RADIUS + 1)

    def mean(x: NDArray[Any]) -> NDArray[Any]:
        return cv2.blur(x, size)

    guide, wanted = (x.astype(np.float32) / np.float32(255) for x in (small, mask))
    mean_guide, mean_wanted = mean(guide), mean(wanted)
    covariance = mean(guide * wanted) - mean_guide * mean_wanted
    slope = covariance / (mean(guide * guide) - mean_guide * mean_guide + _EPSILON)
    offset = mean(mean_wanted - slope * mean_guide)
    # What `_SURE` cuts off is cut by saturation: the mask in levels, of grey in levels.
    gain = 1 / (1 - 2 * _SURE)
    lines = cv2.merge([mean(slope) * gain, (offset - _SURE) * (255 * gain)])
    slope, offset = cv2.split(cv2.resize(lines, grey.shape[::-1], interpolation=cv2.INTER_LINEAR))
    scaled = cv2.multiply(slope, grey, dtype=cv2.CV_32F)
    levels = cv2.add(scaled, offset, dtype=cv2.CV_8U)
    return np.asarray(levels, np.float32) * np.float32(1 / 255)


def _grey(image: Image) -> Image:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
