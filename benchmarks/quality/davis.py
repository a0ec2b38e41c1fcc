"""Motion on a public protocol: ten clips of DAVIS at 512², as the otanl/dreamlite-stream project
measures them.

Farneback's flow is taken from the *input*, so that every net is measured along the same motion, and
there is no mask: the input itself does not measure 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.warping import Flow, warp
from rtstyle.errors import MediaError
from rtstyle.frame import Frame
from rtstyle.media import open_source
from rtstyle.steady import SteadyFilter

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
    return motion([paint(frame) for frame in frames], flows(frames))


def flows(frames: Sequence[Picture]) -> list[Flow]:
    """From each frame to the next, one fewer than frames."""
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    return [_flow(*greys) for greys in pairwise(grey)]


def motion(painted: Sequence[Picture], along: Sequence[Flow]) -> Motion:
    """Of a clip that was painted, whose own motion is `along`."""
    errors = [
        float(np.abs(now - warp(following, flow)).mean())
        for (now, following), flow in zip(pairwise(painted), along, strict=True)
    ]
    edges = [
        float(np.abs(cv2.Sobel(cv2.cvtColor(p, cv2.COLOR_RGB2GRAY), cv2.CV_32F, 1, 1)).mean())
        for p in painted
    ]
    return Motion(fmean(errors), fmean(edges))


def steadied(frames: Sequence[Picture], painted: Sequence[Picture]) -> list[Picture]:
    """The painted frames as `--steady 1` delivers them."""
    steady = SteadyFilter(1.0)
    return [
        steady(picture, Frame(frame, Fraction(n), n))
        for n, (frame, picture) in enumerate(zip(frames, painted, strict=True))
    ]


def _flow(first: NDArray[np.generic], second: NDArray[np.generic]) -> Flow:
    flow = cv2.calcOpticalFlowFarneback(first, second, None, 0.5, 3, 15, 3, 5, 1.2, 0)  # type: ignore[call-overload]
    return np.asarray(flow, np.float32)
