"""How fast an imported model is here, and what to do where that is too slow to be live."""

from __future__ import annotations

from time import perf_counter

import numpy as np

from rtstyle.engines import open_engine
from rtstyle.image import Look, prepare
from rtstyle.model.spec import ModelSpec

HEIGHT, WIDTH = 360, 640
LIVE = 15.0  # frames a second
_RUNS = 3


def speed_note(spec: ModelSpec) -> str:
    """Frames a second of the model at 640×360 by the engine that `auto` chooses, the best of a few
    runs, and the way to a small net for a model that is slower than `LIVE`."""
    picture = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    style = np.zeros((1, spec.style_size), np.float32) if spec.style_size else None
    best = np.inf
    with open_engine("auto", spec) as engine:
        batch = prepare(picture, model=engine.model, look=Look())
        for _ in range(_RUNS + 1):  # the first one also compiles
            began = perf_counter()
            engine.submit(batch, style).result()
            best = min(best, perf_counter() - began)
    rate = 1 / best
    note = f"{rate:.1f} frames a second at {WIDTH}×{HEIGHT} here"
    if rate >= LIVE:
        return f"{note}."
    return (
        f"{note}: too slow to be live. A small net can learn what it paints: rtstyle train "
        f"--teacher {spec.path} --content photos/ --loss-net FILE -o live.onnx"
    )
