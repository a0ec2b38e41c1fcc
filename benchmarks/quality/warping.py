"""Warping error: what of a painted video does not move with the scene.

Lai et al. 2018, "Learning Blind Video Temporal Consistency", §4.2, with the occlusions of Ruder et
al. 2016, "Artistic Style Transfer for Videos", §5: the mean over unoccluded pixels (and colours) of
(W(O₂) − O₁)², where W moves the second picture back onto the first.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Flow = NDArray[np.float32]  # (H, W, 2): how far right and down each pixel goes, in pixels
Mask = NDArray[np.bool_]  # (H, W)


def warp(image: NDArray[np.generic], flow: Flow) -> NDArray[np.float32]:
    """W: each pixel takes the value at the place it goes to, (H, W) or (H, W, C) → float32.

    Bilinear. Places outside the picture take its border, which `stays_inside` tells apart.
    """
    x, y = _places(flow)
    moved = cv2.remap(
        image.astype(np.float32), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(moved, np.float32)


def stays_inside(flow: Flow) -> Mask:
    """Where pixels go to a place within the picture."""
    x, y = _places(flow)
    height, width = flow.shape[:2]
    inside: Mask = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    return inside


def is_unoccluded(forward: Flow, backward: Flow) -> Mask:
    """Where pixels of the first picture are seen in the second.

    `backward` is the flow from the second picture to the first: a pixel is occluded where going
    forth and back does not end where it began, |w_f + w_b|² > 0.01 (|w_f|² + |w_b|²) + 0.5, and
    where it leaves the picture.
    """
    back = warp(backward, forward)
    missed = np.square(forward + back).sum(2)
    allowed = 0.01 * (np.square(forward).sum(2) + np.square(back).sum(2)) + 0.5
    seen: Mask = (missed <= allowed) & stays_inside(forward)
    return seen


def warping_error(
    first: NDArray[np.uint8], second: NDArray[np.uint8], flow: Flow, seen: Mask
) -> float | None:
    """The error of two pictures (H, W, 3), of values in [0, 1]; None where no pixel is `seen`."""
    if not seen.any():
        return None
    difference = (warp(second, flow) - first.astype(np.float32)) / 255
    return float(np.square(difference[seen], dtype=np.float64).mean())


def _places(flow: Flow) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    y, x = np.mgrid[: flow.shape[0], : flow.shape[1]].astype(np.float32)
    return x + flow[..., 0], y + flow[..., 1]
