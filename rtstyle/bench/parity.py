"""How far stylized frames are from a reference's, so that no fast wrong answer looks good."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from rtstyle.demo import sample_photos
from rtstyle.engines import EngineOptions, open_engine
from rtstyle.engines.base import Batch, Engine, StyleVector
from rtstyle.errors import EngineError, ModelError, install_line
from rtstyle.image import Look, prepare
from rtstyle.model.spec import ModelSpec
from rtstyle.style.style import Style

RUNTIMES = ("openvino", "onnxruntime")  # a model file is written if both agree with torch
_SIDE = 256  # pixels of the photograph that is stylized: enough for every layer, soon done


@dataclass(frozen=True, slots=True)
class Difference:
    """Grey levels (0 to 255) between stylized frames and a reference's; the worst frame counts.

    `mean`, `p999` (the 99.9th percentile) and `worst` are over textured frames. A flat frame has
    nothing but the contract's grain, which instance norm amplifies, layer after layer, together
    with whatever each runtime's rounding made of it: `flat_color` is how far its mean colour is.
    """

    mean: float
    p999: float
    flat_color: float
    worst: int


@dataclass(frozen=True, slots=True)
class Limits:
    """How far stylized frames may be from the reference's, in grey levels; see `Difference`."""

    mean: float
    p999: float | None
    flat_color: float

    def require(self, found: Difference, what: str) -> None:
        """Raises `ModelError`, whose sentence begins with `what`, for a difference beyond them."""
        if (
            found.mean <= self.mean  # written so that NaN is refused
            and (self.p999 is None or found.p999 <= self.p999)
            and found.flat_color <= self.flat_color
        ):
            return
        tail = "" if self.p999 is None else f", {self.p999:g}"
        raise ModelError(
            f"{what} the pictures differ by {found.mean:.2f} grey levels on average, "
            f"{found.p999:.0f} at the 99.9th percentile and {found.flat_color:.2f} in the colour "
            f"of flat ones; at most {self.mean:g}{tail} and {self.flat_color:g} are allowed."
        )


ENGINE_LIMITS = Limits(mean=1.0, p999=3.0, flat_color=8.0)


def measure_difference(
    triples: Iterable[tuple[Batch, Batch, Batch]], *, grain: int = 0
) -> Difference:
    """The difference over (frames, stylized, expected), uint8 (N, H, W, 3) each.

    Frames whose values span at most `grain` grey levels count as flat.
    """
    means: list[float] = []
    p999s: list[float] = []
    flats: list[float] = []
    worst = 0
    for frames, stylized, expected in triples:
        signed = stylized.astype(np.int16) - expected
        if np.ptp(frames) > grain:
            off = np.abs(signed)
            means.append(float(off.mean()))
            p999s.append(float(np.percentile(off, 99.9)))
            worst = max(worst, int(off.max()))
        else:
            flats.append(float(np.abs(signed.mean((1, 2))).max()))
    no_frame = math.nan  # within no limit
    return Difference(
        max(means, default=no_frame), max(p999s, default=no_frame), max(flats, default=0.0), worst
    )


def measure_runtimes(
    model: ModelSpec, samples: Sequence[tuple[Batch, StyleVector | None, Batch]]
) -> dict[str, Difference]:
    """How far each of `RUNTIMES` is from what was expected of the model file.

    `samples` are frames, style vector and the expected stylized frames.
    """
    found = {}
    for name in RUNTIMES:
        with open_engine(name, model) as engine:
            found[name] = measure_difference(
                (frames, engine.submit(frames, style).result(), expected)
                for frames, style, expected in samples
            )
    return found


def require_parity(
    model: ModelSpec, samples: Sequence[tuple[Batch, StyleVector | None, Batch]]
) -> None:
    """The gate that every model file passes: `measure_runtimes` within `ENGINE_LIMITS`.

    Raises `ModelError`.
    """
    require_limits(measure_runtimes(model, samples))


def require_limits(found: Mapping[str, Difference]) -> None:
    """Raises `ModelError` when a runtime is beyond `ENGINE_LIMITS`."""
    for name, difference in found.items():
        ENGINE_LIMITS.require(difference, f"{name} does not paint as torch does:")


def measure_engine(engine: Engine, style: Style) -> tuple[Difference, str]:
    """How far `engine` is from the reference engine on one photograph, and the reference's name.

    The reference is single precision on the CPU: ONNX Runtime for a model file, OpenVINO where that
    is not installed, torch for a checkpoint. Raises `EngineError` when there is no reference or
    either engine fails.
    """
    model = style.model
    name = "torch" if model.path.suffix == ".safetensors" else "onnxruntime"
    if name == "onnxruntime" and find_spec(name) is None:
        name = "openvino"
        if (engine.name, engine.precision) == (name, "fp32"):
            raise EngineError(f"There is no second engine to compare with; {install_line('cpu')}.")
    photo = np.ascontiguousarray(sample_photos()[0][:_SIDE, :_SIDE])
    stylized = _stylized(engine, style, photo)
    with open_engine(EngineOptions(name=name, precision="fp32"), model) as reference:
        expected = _stylized(reference, style, photo)
    return measure_difference([(photo[None], stylized, expected)]), f"{name} fp32"


def _stylized(engine: Engine, style: Style, photo: NDArray[np.uint8]) -> Batch:
    batch = prepare(photo, model=engine.model, look=Look())
    return engine.submit(batch, style.vector).result()
