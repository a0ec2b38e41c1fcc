"""How far a painting is from the reference engine's, so that no fast wrong answer looks good."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtstyle.demo import sample_photos
from rtstyle.engines import EngineOptions, open_engine
from rtstyle.engines.base import Engine
from rtstyle.image import Look, prepare
from rtstyle.style.style import Style

_SIDE = 256  # pixels of the photograph that are painted: enough for every layer, soon done


@dataclass(frozen=True, slots=True)
class Parity:
    """Mean and largest difference in grey levels (0 to 255) from what `reference` paints."""

    mean: float
    worst: int
    reference: str


def measure_parity(engine: Engine, style: Style) -> Parity:
    """Paint one photograph with `engine` and with the reference.

    The reference is single precision on the processor: ONNX Runtime for a model file, torch for a
    checkpoint. Raises `EngineError` when there is no reference or one of them cannot paint.
    """
    model = style.model
    name = "torch" if model.path.suffix == ".safetensors" else "onnxruntime"
    photo = np.ascontiguousarray(sample_photos()[0][:_SIDE, :_SIDE])
    painted = _painted(engine, style, photo)
    with open_engine(EngineOptions(name=name, precision="fp32"), model) as reference:
        wanted = _painted(reference, style, photo)
    off = np.abs(painted.astype(np.int16) - wanted.astype(np.int16))
    return Parity(round(float(off.mean()), 4), int(off.max()), f"{name} fp32")


def _painted(engine: Engine, style: Style, photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    batch = prepare(photo, model=engine.model, look=Look())
    return engine.submit(batch, style.vector).result()
