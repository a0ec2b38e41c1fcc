"""What every engine does with a batch: check it, and lay it out as the model file wants it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtstyle.engines.base import Batch, Engine, StyleVector
from rtstyle.errors import EngineError
from rtstyle.image import padded_size
from rtstyle.model.file import UNKNOWN_STRIDE
from rtstyle.model.spec import ModelSpec


def check_batch(
    model: ModelSpec,
    frames: Batch,
    style: StyleVector | None,
    strength: float = 1.0,
    *,
    pads: bool = False,
) -> None:
    """Raise `EngineError` when batch and model do not fit, before or after the engine `pads`."""
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or not frames.size:
        raise EngineError(
            f"A batch is uint8 (N, H, W, 3), not {frames.dtype} {frames.shape}; use `prepare`."
        )
    count, height, width = frames.shape[:3]
    if pads:
        height, width = padded_size(height, width, model)
    if model.batch not in (None, count):
        raise EngineError(f"{model.path.name} paints one picture at a time, not {count}.")
    if model.size is not None and model.size != (height, width):
        raise EngineError(
            f"{model.path.name} paints {model.size[1]}×{model.size[0]}, not {width}×{height}."
        )
    if model.size is None and (height % model.stride or width % model.stride):
        raise EngineError(
            f"{width}×{height} does not fit {model.path.name}, which needs multiples of "
            f"{model.stride}; use `prepare`."
        )
    if (style is not None) != bool(model.style_size):
        needs = f"a style vector of {model.style_size}" if model.style_size else "no style vector"
        raise EngineError(f"{model.path.name} takes {needs}.")
    if style is not None and style.shape not in {(1, model.style_size), (count, model.style_size)}:
        raise EngineError(
            f"{model.path.name} takes a style of shape ({count}, {model.style_size}), "
            f"not {style.shape}."
        )
    if model.takes_strength and not 0 <= strength <= 1:  # also refuses NaN
        raise EngineError(f"{model.path.name} takes a strength between 0 and 1, not {strength}.")


def to_inputs(
    model: ModelSpec,
    frames: Batch,
    style: StyleVector | None,
    strength: float = 1.0,
    *,
    pads: bool = False,
) -> dict[str, NDArray[Any]]:
    """The arrays to feed `model`, by input name. One style row and one strength serve
    the whole batch.

    Pictures are lent without a copy where that can be, and of any size to an engine that `pads`.
    Raises `EngineError` when batch and model do not fit.
    """
    check_batch(model, frames, style, strength, pads=pads)
    count = len(frames)
    if model.layout == "nchw":
        scaled = frames * np.float32(_peak(model) / 255)
        inputs = {model.frame_input: np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))}
    else:  # runtimes lend only arrays that could be written into, though they never do
        inputs = {model.frame_input: np.require(frames, requirements=["C", "W"])}
    if style is not None:
        inputs["style"] = np.repeat(style, count // len(style), axis=0).astype(np.float32)
    if model.takes_strength:
        inputs["strength"] = np.full(count, strength, np.float32)
    return inputs


def to_batch(model: ModelSpec, output: NDArray[Any]) -> Batch:
    """The output of `model` as (N, H, W, 3) uint8, without a copy when it is that already.

    Raises `EngineError` when a float model gave NaN, which bytes would hide.
    """
    if model.layout == "nhwc":
        return output
    scaled = output.transpose(0, 2, 3, 1) * np.float32(255 / _peak(model))
    if np.isnan(scaled.min()):
        raise EngineError(
            f"{model.path.name} painted values that are no numbers; try another --engine, or "
            "another model."
        )
    return np.ascontiguousarray(scaled.clip(0, 255).round(), dtype=np.uint8)


def cannot_load(engine: str, model: ModelSpec, why: str) -> EngineError:
    """The error of an engine that refuses the model file."""
    return EngineError(
        f"{engine} cannot load {model.path.name} ({why.rstrip('.')}); copy or download it afresh, "
        "or try another --engine."
    )


def cannot_paint(engine: str, shape: tuple[int, ...], why: str) -> EngineError:
    """The error of an engine that failed on a batch of `shape` (N, H, W, 3)."""
    lacks_memory = "memory" in why.lower() or "alloc" in why.lower()
    return EngineError(
        f"{engine} cannot paint {shape[2]}×{shape[1]}: {why.rstrip('.')}; "
        + (
            "there is too little memory, so paint smaller: --height"
            if lacks_memory
            else "try another --engine"
        )
        + "."
    )


def hanging(engine: str, seconds: float) -> EngineError:
    """The error of an engine that does not come back."""
    return EngineError(
        f"{engine} hangs: it has been busy with one picture for {seconds:.0f} seconds; try another "
        "--engine."
    )


def find_peak(engine: Engine) -> float:
    """Whether a float model's values run to 1.0 or to 255.0, found by trying it.

    A picture is stylized as if they ran to 1. A net made for 0 to 255 takes that for a very dark
    picture and answers on its own scale, far above 1, so nearly every value saturates.
    """
    height, width = engine.model.size or (2 * UNKNOWN_STRIDE, 2 * UNKNOWN_STRIDE)
    ramp = np.linspace(64, 192, height * width * 3).astype(np.uint8)
    frames = np.random.default_rng(0).permutation(ramp).reshape(1, height, width, 3)
    stylized = engine.submit(frames).result()
    saturated = np.mean((stylized == 0) | (stylized == 255))
    return 255.0 if saturated > 0.9 else 1.0


def _peak(model: ModelSpec) -> float:
    return 1.0 if model.peak is None else model.peak
