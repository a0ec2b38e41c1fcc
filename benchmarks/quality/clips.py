"""Real clips with the motion between their frames, for the warping error."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.warping import Flow, Mask, is_unoccluded, warping_error
from rtstyle.errors import MediaError
from rtstyle.media import open_source
from rtstyle.model.file import UNKNOWN_STRIDE
from rtstyle.train.data import resize_short_side

Picture = NDArray[np.uint8]  # (H, W, 3)


@dataclass(frozen=True)
class Clip:
    """The first frames of a video, small, and for each pair of neighbours the flow from the first
    to the second and where it can be followed."""

    name: str
    frames: tuple[Picture, ...]
    motions: tuple[tuple[Flow, Mask], ...]  # one fewer than frames

    def error(self, paint: Callable[[Picture], Picture] = lambda picture: picture) -> float | None:
        """The mean warping error over pairs of frames, each painted by itself; of the clip's own
        frames without `paint`. None when no pixel of any pair can be followed."""
        painted = [paint(frame) for frame in self.frames]
        errors = [
            error
            for first, second, motion in zip(painted[:-1], painted[1:], self.motions, strict=True)
            if (error := warping_error(first, second, *motion)) is not None
        ]
        return fmean(errors) if errors else None

    def key(self) -> str:
        """Tells clips apart by what is seen in them."""
        digest = hashlib.sha256()
        for frame in self.frames:
            digest.update(str(frame.shape).encode() + frame.tobytes())
        return digest.hexdigest()[:16]


def read_clip(path: Path, *, frames: int, short_side: int) -> Clip:
    """The first `frames` frames of the video at `path`, upright, scaled to `short_side` and cropped
    to multiples of every usual stride. The motion is OpenCV's DIS optical flow (Kroeger et al.
    2016), at its preset "medium".

    Raises `InputNotFoundError` and `MediaError`, also when there are fewer than two frames.
    """
    pictures: list[Picture] = []
    with open_source(path) as source:
        for frame in source.frames():
            pictures.append(_fit(frame.image, short_side))
            if len(pictures) == frames:
                break
    if len(pictures) < 2:
        raise MediaError(f"{path} has {len(pictures)} frame; motion needs two or more.")
    grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in pictures]
    motions = []
    for first, second in pairwise(grey):
        forward = _flow(first, second)
        motions.append((forward, is_unoccluded(forward, _flow(second, first))))
    return Clip(path.name, tuple(pictures), tuple(motions))


def _fit(image: Picture, short_side: int) -> Picture:
    image = resize_short_side(image, short_side)
    height, width = (side - side % UNKNOWN_STRIDE for side in image.shape[:2])
    return np.ascontiguousarray(image[:height, :width])


def _flow(first: NDArray[np.generic], second: NDArray[np.generic]) -> Flow:
    """From one grey picture (H, W) to the next, estimated from no motion on."""
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    still = np.zeros((*first.shape, 2), np.float32)
    return np.asarray(estimator.calc(np.asarray(first), np.asarray(second), still), np.float32)
