"""What flows through the pipeline: pictures, frames with their times, and facts of a stream."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]  # (H, W, 3) RGB, full range, upright, C-contiguous


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a stream. Nobody writes into `image` once the frame exists."""

    image: Image
    time: Fraction  # seconds, exactly as the container says
    index: int  # 0 for the first frame delivered
    duration: Fraction | None = None  # seconds, where the container says


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What a source knows of its stream before the first frame.

    `width` and `height` are those of the pictures delivered, after rotation. `rate` is frames a
    second, exact (30000/1001 stays that) and only nominal where the rate varies. `time_base` is the
    unit, in seconds, that every frame's time is a multiple of. `n_frames` is an estimate for
    progress bars, None when the container does not say.
    """

    width: int
    height: int
    rate: Fraction
    time_base: Fraction
    n_frames: int | None = None
    pixel_aspect: Fraction = Fraction(1)
