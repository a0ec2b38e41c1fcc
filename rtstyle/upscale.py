"""Enlarges what was painted at half the size, by a small net that was taught to keep strokes sharp:
the super-resolution of Johnson et al. 2016, §4.2, on paintings (`export.upscaler`)."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from threading import Lock

import numpy as np

from rtstyle.engines.graph import open_graph
from rtstyle.frame import Image
from rtstyle.image import Batch, Look, geometry
from rtstyle.model.spec import ModelSpec
from rtstyle.model.zoo import shipped_folder


def upscaled(painted: Batch, original: Image, *, model: ModelSpec, look: Look) -> Batch:
    """What the net painted of `original`, (1, H, W, 3), as large as `geometry` wants it. Raises
    `EngineError` where no runtime opens the net that enlarges."""
    if look.upscale == 1 or look.strength == 0:  # then the original alone is shown
        return painted
    sizes = geometry(*original.shape[:2], model=model, look=look)
    return painted if sizes.enlarged == 1 else _upscaler()(painted)


@lru_cache(maxsize=1)
def _upscaler() -> Callable[[Batch], Batch]:
    """The net, opened once, for any thread."""
    graph, lock = open_graph(shipped_folder() / "upscale" / "double.onnx"), Lock()

    def enlarge(painted: Batch) -> Batch:
        with lock:  # a runtime answers one question at a time
            return np.asarray(graph.run(np.ascontiguousarray(painted)), np.uint8)

    return enlarge
