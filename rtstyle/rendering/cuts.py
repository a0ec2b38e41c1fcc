"""Where one shot of a film ends and the next begins."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rtstyle.frame import Image
from rtstyle.media import ReadOptions, open_source

_LEAST = 15.0  # levels that the colours of a small picture change by, on average, at a cut
_AROUND = 2  # frames before and after, whose own changes a cut surpasses
_SURPASSED = 3.0  # as many times
_SIZE = (48, 27)


def find_cuts(source: Path | str, reading: ReadOptions) -> list[Fraction]:
    """The times of the first frames of all shots but the first, in seconds of the output.

    Reads the whole source. A cut changes much more than the frames around it, as in PySceneDetect's
    adaptive detector, so that pans and flicker are none. Raises what `open_source` raises.
    """
    times, differences = list[Fraction](), list[float]()
    last = None
    with open_source(source, reading) as opened:
        for frame in opened.frames():
            small = _small(frame.image)
            times.append(frame.time)
            differences.append(0.0 if last is None else float(np.abs(small - last).mean()))
            last = small
    return [times[i] for i in range(len(times)) if _is_cut(differences, i)]


def _is_cut(differences: Sequence[float], index: int) -> bool:
    here = differences[index]
    around = [
        *differences[max(0, index - _AROUND) : index],
        *differences[index + 1 : index + 1 + _AROUND],
    ]
    return here >= _LEAST and here >= _SURPASSED * float(np.mean(around or [0.0]))


def _small(image: Image) -> NDArray[np.float32]:
    scaled = cv2.resize(image, _SIZE, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(scaled, cv2.COLOR_RGB2HSV), np.float32)
