"""Motion on a public protocol: ten clips of DAVIS at 512², as the otanl/dreamlite-stream project
measures them.

Farneback's flow is taken from the *input*, so that every net is measured along the same motion, and
there is no mask: the input itself does not measure 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice, pairwise
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.warping import Flow, warp
from rtstyle.errors import MediaError
from rtstyle.media import open_source

Picture = NDArray[np.uint8]  # (H, W, 3)
FRAMES = 64  # at most, of each clip


class Motion(NamedTuple):
    """Of one clip, in grey levels: `warp` is the mean |O_t − W(O_t+1)| over pixels, colours and
    pairs of frames, `sobel` the mean |∂²/∂x∂y| of the grey pictures. A painting that is blurred is
    steady too, which `sobel` tells."""

    warp: float
    sobel: float


def read_frames(path: Path, count: int = FRAMES) -> list[Picture]:
    """The first `count` frames of the clip at `path`. Raises `InputNotFoundError` and `MediaError`,
    also when there are fewer than two."""
    with open_source(path) as source:
        frames = [frame.image for frame in islice(source.frames(), count)]
    if len(frames) < 2:
        raise MediaError(f"{path} has {len(frames)} frame; motion needs two or more.")
    return frames


def measure_motion(
    frames: Sequence[Picture], paint: Callable[[Picture], Picture] = lambda picture: picture
) -> Motion:
    """Of two frames or more, painted one after the other; of the clip itself without `paint`."""
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    painted = [paint(frame) for frame in frames]
    errors = [
        float(np.abs(now - warp(following, _flow(*greys))).mean())
        for (now, following), greys in zip(pairwise(painted), pairwise(grey), strict=True)
    ]
    edges = [
        float(np.abs(cv2.Sobel(cv2.cvtColor(p, cv2.COLOR_RGB2GRAY), cv2.CV_32F, 1, 1)).mean())
        for p in painted
    ]
    return Motion(fmean(errors), fmean(edges))


def _flow(first: NDArray[np.generic], second: NDArray[np.generic]) -> Flow:
    flow = cv2.calcOpticalFlowFarneback(first, second, None, 0.5, 3, 15, 3, 5, 1.2, 0)  # type: ignore[call-overload]
    return np.asarray(flow, np.float32)
