"""Where people and faces are in a frame: by a small net, steadied, its edges by the picture.

The net is that of `export.person_mask`, or the user's own copy of MediaPipe's selfie segmentation.
Edges are refined by a fast guided filter (He and Sun 2015): its coefficients at the net's size, the
picture at its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
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
from rtstyle.steady import CARRIED, SteadyFilter

HEIGHT, WIDTH = 144, 256  # that the net runs at
_NARROWEST = 1.2  # aspect of what is stretched to the net's; narrower pictures get borders
_HELD = 0.97  # share of the last masks that stays where the pictures match
_RADIUS, _EPSILON = 2, 3e-4  # of the guided filter, at the net's size
_FAR = 140.0  # grey levels by which a mask changes not by noise, so that less is held of it
_FAR_HELD = 0.8  # of what is held else, where it changes by far
_SURE = 0.2  # of a mask, from where on it is 0, and 1 as far from there
_PLACES = ("background", "person", "face")

Mask = NDArray[np.uint8]  # (H, W), 0 to 255


class MaskFilter(SteadyFilter):
    """Steadies masks: they have no texture to give back, and are held the less the more they
    change."""

    def stays(
        self, hold: NDArray[np.float32], change: NDArray[np.float32], share: float
    ) -> NDArray[np.float32]:
        if share >= 1:  # what is only carried along is held whatever it was
            return hold
        noise = np.exp(-((cv2.blur(change, (3, 3)) / _FAR) ** 2))
        return np.asarray(hold * (_FAR_HELD + (1 - _FAR_HELD) * noise), np.float32)

    def delivered(self, held: NDArray[np.float32], painted: Image) -> Image:
        return np.asarray(cv2.convertScaleAbs(held), np.uint8)


class PersonMasks:
    """The masks of frames that follow each other, of one size. Used by one thread.

    `starts` and `lead` are as for `SteadyFilter`: what is found from a start on depends on the
    frames from `lead` before alone. The net runs at one frame of `every`; what it found moves along
    with the pictures in between. Raises `ModelError` where the model is missing or another.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        starts: Sequence[Fraction] = (),
        lead: Fraction = Fraction(1),
        every: int = 1,
    ) -> None:
        self._steady = MaskFilter(1.0, starts=starts, lead=lead, reduction=2)
        self._net = _open(path or find_mask_model())
        self._every, self._n_frames = every, 0
        self._levels: Image = np.zeros((0, 0, 3), np.uint8)  # the last ones: person, face, nothing

    def __call__(self, frame: Frame, places: Collection[str] = _PLACES) -> dict[str, Mask]:
        """The masks of the frame, of each of the `places` at least."""
        image = frame.image
        given, columns = fitted(image)
        small = given[:, columns]
        moving = replace(frame, image=small)
        if self._n_frames % self._every and self._levels.shape == small.shape:
            self._levels = self._steady(self._levels, moving, amount=CARRIED)
        else:
            found = self._net(given)[:, :, columns]
            levels = np.zeros(small.shape, np.uint8)
            levels[..., :2] = (found.transpose(1, 2, 0) * 255 + 0.5).astype(np.uint8)
            self._levels = self._steady(levels, moving, amount=_HELD * CARRIED)
        self._n_frames += 1
        small_grey, grey = _grey(small), _grey(image)
        person, face = self._levels[..., 0], self._levels[..., 1]
        masks = {}
        if "person" in places or "background" in places:
            masks["person"] = _refined(person, small_grey, grey)
            masks["background"] = np.asarray(cv2.bitwise_not(masks["person"]), np.uint8)
        if "face" in places:
            seen = face.any()
            masks["face"] = _refined(face, small_grey, grey) if seen else np.zeros_like(grey)
        return masks


def fitted(image: Image) -> tuple[Image, slice]:
    """The whole picture as the net takes it, (144, 256, 3), and the columns that hold it: all, or
    those between borders where it is narrow."""
    aspect = image.shape[1] / image.shape[0]
    inner = WIDTH if aspect >= _NARROWEST else max(16, round(WIDTH * aspect / _NARROWEST))
    left = (WIDTH - inner) // 2
    while image.shape[0] >= 2 * HEIGHT and image.shape[1] >= 2 * inner:  # halving is quick
        half = image.shape[1] // 2, image.shape[0] // 2
        image = np.asarray(cv2.resize(image, half, interpolation=cv2.INTER_AREA), np.uint8)
    small = cv2.resize(image, (inner, HEIGHT), interpolation=cv2.INTER_AREA)
    sides = left, WIDTH - inner - left
    given = cv2.copyMakeBorder(small, 0, 0, *sides, cv2.BORDER_REPLICATE)
    return np.asarray(given, np.uint8), slice(left, left + inner)


def find_mask_model() -> Path:
    """The model of the masks: $RTSTYLE_MASKS, masks/person.onnx in the user's folder of models, or
    the one that comes with rtstyle. Raises `ModelError` where there is none."""
    chosen = os.environ.get("RTSTYLE_MASKS")
    mine = user_folder() / "masks" / "person.onnx"
    shipped = shipped_folder() / "masks" / "person.onnx"
    path = Path(chosen) if chosen else mine if mine.is_file() else shipped
    if not path.is_file():
        raise ModelError(
            f"People are found by a model, and {path} is not there; put MediaPipe's "
            f"selfie_segmentation as ONNX, or one of `python -m export person-mask`, at {mine}."
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
    slope, offset = (
        cv2.resize(line, grey.shape[::-1], interpolation=cv2.INTER_LINEAR)
        for line in (mean(slope) * gain, (offset - _SURE) * (255 * gain))
    )
    scaled = cv2.multiply(slope, grey, dtype=cv2.CV_32F)
    return np.asarray(cv2.add(scaled, offset, dtype=cv2.CV_8U), np.uint8)


def _grey(image: Image) -> Image:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
