"""Our nets inside other programs: `rtstyle export-for HOST STYLE -o FILE`.

Each host is a row of `HOSTS` and a snippet of its own language in `snippets/`. What is written has
one style baked in, takes a picture in the form that the host feeds, and is held to the engine's
picture in the runtime that the host itself uses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rtstyle.demo import sample_photos
from rtstyle.engines import open_engine
from rtstyle.errors import ModelError, UsageError
from rtstyle.files import check_output, write_output
from rtstyle.hosts.bake import INPUT, OUTPUT, Form, bake
from rtstyle.image import Look, finish, prepare
from rtstyle.style.style import Style

_MEAN, _P999 = 0.05, 1.0  # grey levels between a host's picture and the engine's
_GATE_SIZE = (180, 320)

Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def _onnxruntime(model: bytes) -> Run:
    import onnxruntime as ort

    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    return lambda picture: np.asarray(session.run([OUTPUT], {INPUT: picture})[0], np.float32)


def _openvino(model: bytes) -> Run:
    import openvino as ov

    compiled = ov.compile_model(ov.Core().read_model(model, b""), "CPU")
    return lambda picture: np.asarray(compiled(picture)[0], np.float32)


def _opencv(model: bytes) -> Run:
    net = cv2.dnn.readNetFromONNX(np.frombuffer(model, np.uint8))

    def run(picture: NDArray[np.float32]) -> NDArray[np.float32]:
        net.setInput(picture)
        return np.asarray(net.forward(), np.float32)

    return run


@dataclass(frozen=True, slots=True)
class Host:
    """A program that paints with our nets: the form of its pictures, the runtime that it brings,
    and the suffix of its snippet."""

    form: Form
    runtime: Callable[[bytes], Run]
    suffix: str


HOSTS = {
    "vapoursynth": Host(Form(), _openvino, ".vpy"),
    "ffmpeg": Host(Form(is_fixed=True), _openvino, ".sh"),
    "opencv": Host(Form(255.0, "BGR", is_fixed=True), _opencv, ".py"),
    "comfyui": Host(Form(), _onnxruntime, ".txt"),
    "onnxruntime": Host(Form(), _onnxruntime, ".py"),
    "csharp": Host(Form(), _onnxruntime, ".cs"),
    "javascript": Host(Form(), _onnxruntime, ".mjs"),
}


@dataclass(frozen=True, slots=True)
class Written:
    """What `export_for` wrote, and how far its picture is from the engine's in grey levels."""

    model: Path
    snippet: Path
    mean: float
    p999: float


def export_for(
    host: str,
    style: Style,
    output: Path,
    *,
    size: tuple[int, int] | None = None,
    overwrite: bool = False,
) -> Written:
    """Write `style` as an ONNX file that `host` loads, and the host's snippet beside it.

    `size` is (height, width); a host that takes any size may do without. Raises `UsageError` for an
    unknown host, a missing size or one that the net does not paint, `OutputExistsError`, and
    `ModelError` when the host's runtime does not paint what the engine paints, in which case
    nothing is written.
    """
    if host == "tflite":
        raise UsageError(
            "TensorFlow Lite takes no ONNX file, and converters from ONNX confuse our nets' axes; "
            "in a clone, python -m export tflite writes one from the torch net."
        )
    if host not in HOSTS:
        raise UsageError(f"There is no host {host!r}; known are {', '.join(HOSTS)}.")
    row = HOSTS[host]
    if output.suffix.lower() != ".onnx":
        raise UsageError(f"{output} is written as an ONNX file; end its name in .onnx.")
    size = size or style.model.size
    if row.form.is_fixed and size is None:
        raise UsageError(f"{host} takes nets of one size alone; give it, as --size 1280x720.")
    snippet = output.with_name(f"{output.stem}_in_{host}{row.suffix}")
    for path in (output, snippet):
        check_output(path, overwrite=overwrite)
    model = bake(style, row.form, size)
    mean, p999 = _difference(row, style, size, model.SerializeToString())
    if not (mean <= _MEAN and p999 <= _P999):
        raise ModelError(
            f"{host} paints {style.name} {mean:.2f} grey levels away from the engine on average, "
            f"{p999:.0f} at the 99.9th percentile; at most {_MEAN:g} and {_P999:g} are allowed."
        )
    height, width = size or _GATE_SIZE
    text = (resources.files(__package__) / "snippets" / f"{host}.txt").read_text(encoding="utf-8")
    for word, value in (("MODEL", output.name), ("WIDTH", width), ("HEIGHT", height)):
        text = text.replace(f"@{word}@", str(value))
    write_output(output, model.SerializeToString(), overwrite=overwrite)
    write_output(snippet, text.encode(), overwrite=overwrite)
    return Written(output, snippet, mean, p999)


def _difference(
    host: Host, style: Style, size: tuple[int, int] | None, model: bytes
) -> tuple[float, float]:
    """Mean and 99.9th percentile of the difference to the engine over the sample photographs."""
    height, width = size or _GATE_SIZE
    order = ["RGB".index(channel) for channel in host.form.order]
    run = host.runtime(model)
    differences = []
    with open_engine("onnxruntime", style.model) as engine:
        for photo in sample_photos():
            resized = cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)
            picture = np.asarray(resized, np.uint8)
            batch = prepare(picture, model=style.model, look=Look())
            painted = engine.submit(batch, style.vector, 1.0).result()
            expected = finish(painted, picture, model=style.model, look=Look())
            planes = picture.astype(np.float32).transpose(2, 0, 1)[None, order]
            found = run(np.ascontiguousarray(planes * (host.form.peak / 255)))
            levels = found[0][np.argsort(order)].transpose(1, 2, 0) * (255 / host.form.peak)
            differences.append(np.abs(levels - expected))
    return float(np.mean(differences)), float(np.percentile(differences, 99.9))
