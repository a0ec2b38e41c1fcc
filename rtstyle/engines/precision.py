"""A model in half precision: the file of it that is shipped, or one derived from it and kept."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rtstyle.errors import ModelError
from rtstyle.files import atomic_write, cache_folder
from rtstyle.model.spec import ModelSpec
from rtstyle.model.zoo import at_precision

_LARGEST = 65504.0  # finite number of float16
_log = logging.getLogger("rtstyle")


def in_half(model: ModelSpec, *, norms: str = "fused") -> ModelSpec:
    """`model` as a graph in half precision: its fp16 variant, or without one what `to_half` makes
    of it, which is kept in the user's cache. For `norms` of another form than that file's it is
    made in any case, where it can be.

    Raises `ModelError` when there is neither: `onnx` is not installed, or the graph cannot be half.
    """
    if model.precision == "fp16":
        return model
    if norms != "fused":
        try:
            return _derived(model, norms)
        except ModelError as error:
            _log.debug("Norms stay as they are: %s", error)
    if (model.path.parent / "fp16" / model.path.name).is_file():
        return at_precision(model, "fp16")
    return _derived(model, "fused")


def _derived(model: ModelSpec, norms: str) -> ModelSpec:
    content = model.path.read_bytes()
    try:
        half: Any = import_module("rtstyle.engines.half")
    except ImportError as error:
        raise ModelError(
            f"{model.path.name} has no fp16 file, and none can be derived here ({error}); "
            "pip install onnx."
        ) from error
    # Another converter makes another file.
    made_by = norms.encode() + Path(half.__file__).read_bytes()
    digest = hashlib.sha256(content + made_by).hexdigest()[:24]
    name = f"{model.path.stem}-{digest}.onnx"
    path = cache_folder() / "models" / name
    if not path.is_file():
        converted = _converted(half, content, model.path, norms)
        try:
            _write(path, converted)
        except OSError as error:
            _log.info("Nothing is kept in %s: %s", path.parent, error.strerror or error)
            path = Path(_scratch().name) / name
            _write(path, converted)
    return replace(model, path=path, precision="fp16")


def _converted(half: Any, content: bytes, path: Path, norms: str) -> bytes:
    onnx: Any = import_module("onnx")
    try:
        graph = onnx.load_model_from_string(content)
        for tensor in graph.graph.initializer:
            weights = onnx.numpy_helper.to_array(tensor)
            if weights.ndim > 1 and weights.dtype == "f4" and abs(weights).max() > _LARGEST:
                raise ValueError("it has weights beyond half precision")
        return bytes(half.to_half(graph, norms=norms).SerializeToString())
    except Exception as error:  # of a file of any maker: onnx's share no base class but this
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{path.name} cannot be put into half precision: {reason}") from error


def _write(path: Path, content: bytes) -> None:
    with atomic_write(path, parents=True) as part:
        part.write_bytes(content)


@cache
def _scratch() -> TemporaryDirectory[str]:
    """For the length of the process, where the cache cannot be written."""
    return TemporaryDirectory(prefix="rtstyle-models-")
