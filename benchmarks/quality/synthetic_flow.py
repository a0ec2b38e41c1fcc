"""A motion that is known exactly: a photograph moved by a smooth random flow."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.warping import Flow, Mask, stays_inside, warp

_COARSE = 5  # control points a side
_LOCAL_PX, _SHIFT_PX = 4.0, 8.0


def smooth_flow(height: int, width: int, rng: np.random.Generator) -> Flow:
    """N(0, 4 px) at a coarse grid, interpolated, and a shift of up to ±8 px of the whole."""
    coarse = rng.normal(0, _LOCAL_PX, (_COARSE, _COARSE, 2)).astype(np.float32)
    flow = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(flow + rng.uniform(-_SHIFT_PX, _SHIFT_PX, 2), np.float32)


def move(
    photo: NDArray[np.uint8], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], Flow, Mask]:
    """The photograph (H, W, 3) moved, the flow from the moved one to it, and which pixels of the
    moved one come from inside it: nothing is occluded but there."""
    flow = smooth_flow(photo.shape[0], photo.shape[1], rng)
    moved = np.rint(warp(photo, flow)).astype(np.uint8)
    return moved, flow, stays_inside(flow)
