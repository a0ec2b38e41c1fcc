"""Contact sheets: photographs above, what every net of a group made of them below."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from rtstyle.frame import Image

_STRIP = 24  # pixels above a row, for its label


def labelled_sheet(rows: list[tuple[str, NDArray[np.uint8]]]) -> Image:
    """Rows of a label and as many pictures each, (N, H, W, 3), as one picture."""
    parts = []
    for label, pictures in rows:
        row = np.concatenate(list(pictures), axis=1)
        parts += [_strip(label, row.shape[1]), row]
    return np.concatenate(parts, axis=0)


def _strip(label: str, width: int) -> Image:
    strip = np.full((_STRIP, width, 3), 255, np.uint8)
    plain = label.encode("ascii", "replace").decode()  # all that OpenCV's letters have
    cv2.putText(
        strip, plain, (6, _STRIP - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA
    )
    return strip
