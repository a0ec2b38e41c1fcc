"""Enlarges what was painted at half the size, by a small net that was taught to keep strokes sharp:
the super-resolution of Johnson et al. 2016, §4.2, on paintings (`export.upscaler`)."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from threading import Lock

import numpy as np

from rtstyle.engines.graph import open_graph
from rtstyle.frame import Image
from rtstyle.model.zoo import shipped_folder


@lru_cache(maxsize=1)
def open_upscaler() -> Callable[[Image], Image]:
    """The net, opened once: (H, W, 3) uint8 → (2H, 2W, 3), from any thread. Raises `EngineError`
    where no runtime opens it."""
    graph, lock = open_graph(shipped_folder() / "upscale" / "double.onnx"), Lock()

    def enlarge(image: Image) -> Image:
        with lock:  # a runtime answers one question at a time
            return np.asarray(graph.run(np.ascontiguousarray(image)[None])[0])

    return enlarge
