"""Faces in the photographs: where they are, and which pixels of a crop belong to one."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rtstyle.errors import InputNotFoundError, TrainingError

COLUMNS = ("left", "top", "width", "height")
Boxes = NDArray[np.float64]  # (faces, 4): left, top, width, height
_AXES = (0.65, 0.62)  # half axes of the ellipse around a face, as shares of its box
_EDGE = 0.3  # of the half axes, over which it fades out


def read_faces(path: Path, names: Sequence[str]) -> tuple[Boxes, ...]:
    """The boxes of each photograph as shares of its sides, one array for every name in `names`.

    `path` is a CSV file with the columns file, left, top, width, height. Raises
    `InputNotFoundError` when there is none and `TrainingError` when it is something else.
    """
    if not path.is_file():
        raise InputNotFoundError(f"There is no list of faces at {path}; a CSV file is expected.")
    boxes: dict[str, list[list[float]]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                boxes.setdefault(row["file"], []).append([float(row[name]) for name in COLUMNS])
    except (OSError, UnicodeError, KeyError, ValueError, TypeError, csv.Error) as error:
        raise TrainingError(
            f"{path} is no list of faces: a CSV file with the columns file, {', '.join(COLUMNS)} "
            f"is expected ({type(error).__name__}: {error})."
        ) from error
    return tuple(np.array(boxes.get(name, [])).reshape(-1, 4) for name in names)


def face_map(boxes: Boxes, size: int) -> NDArray[np.float32]:
    """How much each pixel belongs to a face: 1 inside the ellipses of `boxes`, which are in pixels,
    fading to 0 around them. (size, size)."""
    at = np.arange(size, dtype=np.float32) + 0.5
    best = np.zeros((size, size), np.float32)
    for left, top, width, height in boxes:
        x = (at - (left + width / 2)) / (_AXES[0] * width)
        y = (at - (top + height / 2)) / (_AXES[1] * height)
        distance = np.hypot(y[:, None], x[None, :])
        np.maximum(best, ((1 + _EDGE - distance) / _EDGE).clip(0, 1), out=best)
    return best
