"""A reader of TensorFlow.js weights: a manifest in JSON and shards of bytes beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtstyle.errors import ModelError

_ELEMENTS = {"float32": np.float32, "int32": np.int32, "uint8": np.uint8, "uint16": np.uint16,
             "bool": np.bool_, "float16": np.float16}  # fmt: skip


def read_tensorflow_js(path: Path) -> dict[str, NDArray[Any]]:
    """Every tensor by name, from `model.json` or `weights_manifest.json` and its shards.

    Quantised weights come back as float32. Raises `ModelError` when something is missing or does
    not fit.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        manifest = document["weightsManifest"] if isinstance(document, dict) else document
        tensors = {}
        for group in manifest:
            data = b"".join(_shard(path, name) for name in group["paths"])
            at = 0
            for weight in group["weights"]:
                value, at = _weight(weight, data, at)
                tensors[str(weight["name"])] = value
            if at != len(data):
                raise ValueError(f"its shards hold {len(data)} bytes where {at} are described")
        return tensors
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{path} is no TensorFlow.js model that can be read: a manifest of weights and all its "
            f"shards beside it are expected ({type(error).__name__}: {error})."
        ) from None


def _shard(manifest: Path, name: str) -> bytes:
    if Path(name).name != name:  # a manifest must not make us open files elsewhere
        raise ValueError(f"the shard {name!r} is not beside it")
    return manifest.with_name(name).read_bytes()


def _weight(entry: dict[str, Any], data: bytes, at: int) -> tuple[NDArray[Any], int]:
    quantised = entry.get("quantization")
    stored = np.dtype(_ELEMENTS[quantised["dtype"] if quantised else entry["dtype"]])
    shape = tuple(int(n) for n in entry["shape"])
    end = at + int(np.prod(shape)) * stored.itemsize
    if end > len(data):
        raise ValueError(f"its shards end within {entry['name']}")
    value: NDArray[Any] = np.frombuffer(data[at:end], stored).reshape(shape)
    if quantised and "scale" in quantised:
        value = value.astype(np.float32) * np.float32(quantised["scale"]) + quantised["min"]
    if entry["dtype"] == "float32":
        value = value.astype(np.float32)
    return value, end
