"""The part of a model for any painting that looks at the painting: a model file of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rtstyle.engines import automatic
from rtstyle.errors import EngineError, InputNotFoundError, ModelError
from rtstyle.frame import Image
from rtstyle.model_file import STYLE_ENCODER, describe, fits
from rtstyle.model_spec import FORMAT, METADATA_KEY, ModelSpec, read_document, take
from rtstyle.onnx_header import FLOAT, UINT8, read_header
from rtstyle.onnx_safety import check_safe

Vector = NDArray[np.float32]  # (1, S)

_FATAL = 4  # ONNX Runtime's log severity: what goes wrong is raised


@dataclass(frozen=True, slots=True)
class StyleEncoder:
    """Maps a painting, uint8 (N, H, W, 3), to its statistics, float32 (N, S).

    `painting_size` is the short side in pixels that a painting is scaled to before, `stride` what
    its sides must be multiples of, `style_size` is S.
    """

    path: Path
    stride: int
    painting_size: int
    style_size: int

    def metadata(self) -> str:
        """The JSON document for the metadata key `rtstyle`, which `read_style_encoder` reads."""
        return json.dumps(
            {
                "format": FORMAT,
                "architecture": STYLE_ENCODER,
                "stride": self.stride,
                "painting_size": self.painting_size,
            }
        )


def encoder_path(model: Path) -> Path:
    """Where the style encoder of the model file lies: zoo/adain.onnx → zoo/encoders/adain.onnx."""
    return model.parent / "encoders" / model.name


def read_style_encoder(model: ModelSpec) -> StyleEncoder:
    """The style encoder of `model`. Raises `ModelError` when it is missing or does not fit."""
    path = encoder_path(model.path)
    try:
        header = read_header(path)
    except InputNotFoundError:
        raise ModelError(
            f"The style encoder of {model.path.name} is missing; copy it to {path}."
        ) from None
    if METADATA_KEY not in header.metadata:
        raise ModelError(f"{path} has no rtstyle metadata; a style encoder was expected.")
    document = read_document(path, header.metadata[METADATA_KEY])
    if (architecture := take(path, document, "architecture", str)) != STYLE_ENCODER:
        raise ModelError(
            f"{path} is a model of architecture {architecture!r:.60}; the style encoder of "
            f"{model.path.name} was expected there."
        )
    stride, size = (take(path, document, key, int) for key in ("stride", "painting_size"))
    if not 1 <= stride <= size <= 4096:
        raise ModelError(
            f"{path} tells a stride of {stride} and paintings of {size} pixels; "
            "1 ≤ stride ≤ painting_size ≤ 4096 was expected."
        )
    paintings, statistics = (UINT8, (None, None, None, 3)), (FLOAT, (None, model.style_size))
    for tensors, name, kind in (
        (header.inputs, "painting", paintings),
        (header.outputs, "style", statistics),
    ):
        if len(tensors) != 1 or tensors[0].name != name or not fits(tensors[0], *kind):
            got = ", ".join(f"{t.name!r}: {describe(t)}" for t in tensors) or "nothing"
            raise ModelError(
                f"{path} does not map a painting to {model.style_size} numbers for "
                f"{model.path.name}: {name!r} does not fit (it has {got})."
            )
    return StyleEncoder(path, stride, size, model.style_size)


def encode(encoder: StyleEncoder, painting: Image) -> Vector:
    """The statistics of `painting` (H, W, 3), whose sides are multiples of the stride → (1, S).

    Runs once on the best CPU runtime there is. Raises `ModelError` when the file is not safe to
    load and `EngineError` when no runtime works.
    """
    check_safe(encoder.path)
    problems = []
    for name in automatic():
        if name not in _RUNTIMES:
            continue
        try:
            style = np.asarray(_RUNTIMES[name](encoder.path, painting[None]), np.float32)
        except Exception as error:  # the runtimes' exceptions share no base class but this
            lines = str(error).strip().splitlines()
            problems.append(f"{name}: {lines[-1] if lines else type(error).__name__}")
            continue
        if style.shape == (1, encoder.style_size) and np.isfinite(style).all():
            return style
        problems.append(f"{name}: it gives no {encoder.style_size} finite numbers")
    raise EngineError(f"No engine can run the style encoder {encoder.path}. {' '.join(problems)}")


def _by_openvino(path: Path, paintings: Image) -> Vector:
    import openvino as ov

    # float32 even where the CPU has bfloat16: the statistics are cached and serve every engine.
    compiled = ov.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.array(compiled({"painting": paintings})["style"])


def _by_onnxruntime(path: Path, paintings: Image) -> Vector:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = _FATAL
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["style"], {"painting": paintings})[0])


_RUNTIMES: dict[str, Callable[[Path, Image], Vector]] = {
    "openvino": _by_openvino,
    "onnxruntime": _by_onnxruntime,
}
