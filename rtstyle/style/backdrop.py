"""What a place of the frame shows instead of a painting: the frame blurred, or a picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from rtstyle.frame import Image
from rtstyle.media.images import read_picture

BLUR, PICTURE = "blur", "picture:"
_SMALLER = 4  # the blur is made of a picture so many times smaller
_SOFTNESS = 0.02  # standard deviation, of the height


@dataclass(frozen=True)
class Backdrop:
    """`name` is "blur", or says which `picture` (H, W, 3) it is."""

    name: str
    picture: Image | None = field(default=None, compare=False)
    _filled: dict[tuple[int, ...], Image] = field(default_factory=dict, compare=False, repr=False)

    def behind(self, frame: Image) -> Image:
        """What lies behind the person of a frame, at its size (H, W, 3)."""
        height, width = frame.shape[:2]
        if self.picture is None:
            size = max(1, width // _SMALLER), max(1, height // _SMALLER)
            small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
            soft = cv2.GaussianBlur(small, (0, 0), max(0.5, _SOFTNESS * size[1]))
            return np.asarray(cv2.resize(soft, (width, height)), np.uint8)
        if (height, width) not in self._filled:
            self._filled.clear()  # one size at a time
            self._filled[height, width] = _cover(self.picture, height, width)
        return self._filled[height, width]


def read_backdrop(text: str) -> Backdrop | None:
    """The backdrop that "blur" or "picture:FILE" mean; None for any other text. Raises
    `InputNotFoundError` and `MediaError` where the picture cannot be read."""
    if text == BLUR:
        return Backdrop(BLUR)
    if not text.startswith(PICTURE):
        return None
    path = Path(text.removeprefix(PICTURE))
    return Backdrop(path.name, read_picture(path)[0])


def _cover(picture: Image, height: int, width: int) -> Image:
    """The middle of the picture, scaled so that it fills the frame."""
    tall, wide = picture.shape[:2]
    factor = max(height / tall, width / wide)
    size = max(width, round(wide * factor)), max(height, round(tall * factor))
    scaled = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    top, left = (size[1] - height) // 2, (size[0] - width) // 2
    return np.ascontiguousarray(scaled[top : top + height, left : left + width], np.uint8)
