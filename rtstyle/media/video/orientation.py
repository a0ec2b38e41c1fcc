"""How a stored picture is turned to stand upright."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

import numpy as np
from av import VideoFrame
from av.sidedata.sidedata import Type

from rtstyle.frame import Gain, Image
from rtstyle.media.video.side_data import side_data_of

Array = TypeVar("Array", Image, Gain)


@dataclass(frozen=True, slots=True)
class Orientation:
    """A flip left to right, then quarter turns clockwise, that make a stored picture upright."""

    mirrored: bool = False
    quarter_turns: int = 0  # clockwise, 0 to 3

    @classmethod
    def from_display_matrix(cls, matrix: bytes) -> Orientation:
        """Read FFmpeg's display matrix: nine 32-bit fixed-point numbers, (a b u; c d v; x y w).

        A stored point (p, q) is shown at (a p + c q, b p + d q). Angles between quarter turns are
        taken to the nearest one, as no player shows them otherwise.
        """
        a, b, _, c, d = (int(x) for x in np.frombuffer(matrix, np.int32)[:5])
        mirrored = a * d - b * c < 0
        if mirrored:  # the flip is applied first: undo its effect on the first column
            a, b = -a, -b
        degrees = np.degrees(np.arctan2(b, a))
        return cls(mirrored, round(degrees / 90) % 4)

    @property
    def is_upright(self) -> bool:
        """Whether nothing is to be turned."""
        return not self.mirrored and not self.quarter_turns

    @property
    def swaps_sides(self) -> bool:
        return self.quarter_turns % 2 == 1

    def apply(self, image: Array) -> Array:
        """The picture upright, C-contiguous; the same array when there is nothing to do."""
        if self.mirrored:
            image = image[:, ::-1]
        if self.quarter_turns:
            image = np.rot90(image, -self.quarter_turns)
        return image if image.flags.c_contiguous else _compact(image)

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the upright picture."""
        return (height, width) if self.swaps_sides else (width, height)

    def pixel_aspect(self, aspect: Fraction) -> Fraction:
        """Pixel aspect of the upright picture."""
        return 1 / aspect if self.swaps_sides else aspect


def orientation_of(frame: VideoFrame) -> Orientation:
    """What the file says of how the frame's picture is to be shown."""
    matrix = side_data_of(frame).get(Type.DISPLAYMATRIX)
    return Orientation() if matrix is None else Orientation.from_display_matrix(bytes(matrix))


def _compact(image: Array) -> Array:
    # In bands: a turned picture read whole misses the cache on every pixel.
    out = np.empty(image.shape, image.dtype)
    for top in range(0, image.shape[0], 64):
        out[top : top + 64] = image[top : top + 64]
    return out
