"""Where people and faces are in a frame: by a small net, steadied, its edges by the picture.

The net is the user's own copy of MediaPipe's selfie segmentation, or one that
`export.person_mask` trains. Edges are refined by a fast guided filter (He and Sun
2015): its coefficients at the net's size, the picture at its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rtstyle.errors import ModelError
from rtstyle.frame import Frame, Image
from rtstyle.model.onnx_reader import check_safe
from rtstyle.model.zoo import user_folder
from rtstyle.steady import SteadyFilter

HEIGHT, WIDTH = 144, 256  # that the net runs at
_NARROWEST = 1.2  # aspect of what is stretched to the net's; narrower pictures get borders
_STEADINESS = 0.6
_RADIUS, _EPSILON = 3, 3e-4  # of the guided filter, at the net's size
_SURE = 0.1  # of a mask, from where on it is 0, and 1 as far from there

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
        self._steady = SteadyFilter(steadiness, starts=starts, lead=lead)
        self._net = _open(path or find_mask_model())

    def __call__(self, frame: Frame) -> dict[str, Mask]:
        """For "background", "person" and "face" the mask of the frame, (H, W)."""
        image = frame.image
        height, width = image.shape[:2]
        aspect = width / height
        inner = WIDTH if aspect >= _NARROWEST else max(16, round(WIDTH * aspect / _NARROWEST))
        left = (WIDTH - inner) // 2
        small = np.asarray(
            cv2.resize(image, (inner, HEIGHT), interpolation=cv2.INTER_AREA), np.uint8
        )
        given = cv2.copyMakeBorder(
            small, 0, 0, left, WIDTH - inner - left, cv2.BORDER_REPLICATE
        )  # fmt: skip
        found = self._net(np.asarray(given, np.uint8))[:, :, left : left + inner]
        levels = np.zeros((HEIGHT, inner, 3), np.uint8)
        levels[..., :2] = (found.transpose(1, 2, 0) * 255 + 0.5).astype(np.uint8)
        steadied = self._steady(levels, frame).astype(np.float32) / np.float32(255)
        small_grey, grey = _grey(small), _grey(image)
        person, face = (_refined(steadied[..., i], small_grey, grey) for i in (0, 1))
        return {"background": 1 - person, "person": person, "face": face}


def find_mask_model() -> Path:
    """The model of the masks: $RTSTYLE_MASKS, or masks/person.onnx in the user's folder of models.
    Raises `ModelError` where there is none."""
    path = Path(os.environ.get("RTSTYLE_MASKS") or user_folder() / "masks" / "person.onnx")
    if not path.is_file():
        raise ModelError(
            f"People are found by a model that is not there: put MediaPipe's selfie_segmentation "
            f"as ONNX, or one of `python -m export.person_mask`, at {path}."
        )
    return path


def _open(path: Path) -> Callable[[NDArray[np.uint8]], NDArray[Any]]:
    """The net: a picture (144, 256, 3) → masks of person and face (2, 144, 256), 0 to 1.

    MediaPipe's has two logits, of everything else and of the person, and knows no faces.
    """
    import openvino as ov

    check_safe(path)
    try:
        model = ov.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        shapes = tuple(model.input(0).shape), tuple(model.output(0).shape)
    except RuntimeError as error:
        raise ModelError(f"{path} is no model of masks that OpenVINO can run.") from error
    batch = (1, HEIGHT, WIDTH, 3)
    if shapes == (batch, (1, 2, HEIGHT, WIDTH)):
        return lambda picture: np.asarray(model(picture[None])[0])[0]
    if shapes == (batch, (1, HEIGHT, WIDTH, 2)):

        def find(picture: NDArray[np.uint8]) -> NDArray[Any]:
            other, person = np.moveaxis(
                np.asarray(model(picture[None].astype(np.float32) / np.float32(255))[0])[0], 2, 0
            )
            person = 1 / (1 + np.exp(other - person))
            return np.stack([person, np.zeros_like(person)])

        return find
    raise ModelError(f"{path} takes and gives {shapes}, not pictures and masks of 256×144.")


def _refined(mask: NDArray[Any], small: Mask, grey: Mask) -> Mask:
    """The mask at the size of the picture, its edges where those of the picture are."""
    size = (2 * _RADIUS + 1, 2 * _RADIUS + 1)

    def mean(x: NDArray[Any]) -> NDArray[Any]:
        return cv2.blur(x, size)

    mean_small, mean_mask = mean(small), mean(mask)
    covariance = mean(small * mask) - mean_small * mean_mask
    slope = covariance / (mean(small * small) - mean_small * mean_small + _EPSILON)
    offset = mean(mean_mask - slope * mean_small)
    whole = grey.shape[::-1]
    slope, offset = (
        cv2.resize(x, whole, interpolation=cv2.INTER_LINEAR) for x in (mean(slope), offset)
    )
    refined = slope * grey + offset
    return np.asarray(np.clip((refined - _SURE) / (1 - 2 * _SURE), 0, 1), np.float32)


def _grey(image: Image) -> Mask:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.float32) / np.float32(255)
