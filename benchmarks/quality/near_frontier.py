"""By which factor a net misses Gatys et al. in VGG-16, near the trade-off that the net makes.

A point of a frontier costs two minutes of a core in VGG-16, and points far from the net's trade-off
never count. So the style weight is looked for at which a net misses style and content by about the
same factor. What is found can only be above the ratio to a whole frontier. Every point is kept.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.quality.frontier import STEPS, pareto_ratio
from benchmarks.quality.judge import Losses, as_tensor
from benchmarks.quality.look import Judges, Look
from benchmarks.quality.remembered import write_json

_FIRST = 2.5  # style weight, where none is known for a painting
_ALIKE = 1.15  # factor between the two misses at which a weight is left
_SLOPE = 0.75  # how the factor goes with the weight, as a power
_TRIES = 3


@dataclass(frozen=True, slots=True)
class NearFrontiers:
    """Points of frontiers in VGG-16, kept in `folder`; `steps` of L-BFGS from the photograph."""

    folder: Path
    steps: int = STEPS
    _weights: dict[str, float] = field(default_factory=dict)  # that suited a painting last

    def ratio(self, judges: Judges, photo: NDArray[np.uint8], look: Look) -> float:
        """The Pareto ratio of a net with `look` on a photograph (H, W, 3); 1 is as good as Gatys et
        al."""
        net, path = Losses(look.vgg_style, look.vgg_content), self.path(judges, photo)
        points = dict[float, Losses]()
        if path.exists():
            points = {weight: Losses(*both) for weight, *both in json.loads(path.read_text())}
        weight = self._weights.get(judges.key, _FIRST)
        if points:
            weight = min(points, key=lambda known: max(_tilt(net, points[known])))
        for _ in range(_TRIES):
            if weight not in points:
                points[weight] = self._point(judges, as_tensor(photo), weight)
                write_json(path, [[known, *losses] for known, losses in sorted(points.items())])
            self._weights[judges.key] = weight
            if max(tilt := _tilt(net, points[weight])) < _ALIKE:
                break
            weight = round(weight * tilt[1] ** (1 / _SLOPE), 3)
        return pareto_ratio(net, points.values())

    def path(self, judges: Judges, photo: NDArray[np.uint8]) -> Path:
        """The file that keeps the points of the judges' painting and a photograph (H, W, 3)."""
        name = hashlib.sha256(photo.tobytes()).hexdigest()[:12]
        return self.folder / f"vgg16-{self.steps}-{judges.key}-{name}.json"

    def _point(self, judges: Judges, photo: Tensor, weight: float) -> Losses:
        look = judges.look(judges.optimised(photo, weight, self.steps), photo)
        return Losses(look.vgg_style, look.vgg_content)


def _tilt(net: Losses, point: Losses) -> tuple[float, float]:
    """How much more style is missed than content, as a factor, and the inverse."""
    factor = net.style / point.style / (net.content / point.content)
    return factor, 1 / factor
