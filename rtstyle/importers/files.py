"""Reading what people have: every file becomes named arrays, whatever wrote it."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file
from torch import Tensor

from rtstyle.errors import InputNotFoundError, ModelError
from rtstyle.importers.tensorflow_file import is_tensorflow, read_tensorflow
from rtstyle.importers.tensorflow_js_file import read_tensorflow_js
from rtstyle.importers.torch7_file import read_torch7

_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "params", "generator")
_SHOWN = 6  # tensors that a refusal names


@dataclass(frozen=True)
class CheckpointFile:
    """One file: the tensors in it by name; `content` is Torch7's object or TensorFlow.js's JSON.

    `kind` is "torch", "torch7", "tensorflow", "tensorflow.js", "safetensors" or "onnx"; an ONNX
    file is only named, not read.
    """

    path: Path
    kind: str
    tensors: dict[str, NDArray[Any]] = field(default_factory=dict)
    content: Any = None

    def summary(self) -> str:
        """What was seen, for a refusal."""
        if self.kind == "torch7":
            held = getattr(self.content, "type_name", type(self.content).__name__)
            return f"{self.path.name} (torch7) holds {held}"
        shown = [f"{name} {list(value.shape)}" for name, value in self.tensors.items()][:_SHOWN]
        more = ", …" if len(self.tensors) > _SHOWN else ""
        return (
            f"{self.path.name} ({self.kind}) holds {len(self.tensors)} tensors: "
            f"{', '.join(shown)}{more}"
        )


def read_file(path: Path) -> CheckpointFile:
    """Read a checkpoint of any known kind, recognised by its first and last bytes.

    Nothing in it is executed. Raises `InputNotFoundError` and `ModelError`.
    """
    if is_tensorflow(path):
        return CheckpointFile(path, "tensorflow", read_tensorflow(path))
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except FileNotFoundError:
        raise InputNotFoundError(f"There is no file {path}.") from None
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}).") from None
    if path.suffix == ".onnx":
        return CheckpointFile(path, "onnx")
    if path.suffix == ".safetensors":
        try:
            return CheckpointFile(path, "safetensors", _floats(load_file(path)))
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{path} is no safetensors file ({error}).") from None
    if head[:4] == b"PK\x03\x04" or head[:1] == b"\x80":
        return CheckpointFile(path, "torch", _read_torch(path))
    if head.lstrip()[:1] in (b"{", b"["):
        text = path.read_text(encoding="utf-8", errors="replace")
        return CheckpointFile(path, "tensorflow.js", read_tensorflow_js(path), text)
    if path.suffix == ".t7" or head[:4] in (b"\x03\0\0\0", b"\x04\0\0\0"):
        return CheckpointFile(path, "torch7", content=read_torch7(path))
    raise ModelError(
        f"{path} is of no format that is known: a PyTorch, Torch7, TensorFlow, TensorFlow.js, "
        f"safetensors or ONNX file was expected, but it begins with {head[:8]!r}."
    )


def _read_torch(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of how old the file is
            held = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ModelError(
            f"{path} holds more than weights, and reading that would run its code. Where it was "
            "made, save only `model.state_dict()`."
        ) from None
    except (RuntimeError, EOFError, ValueError, LookupError, OSError, AttributeError) as error:
        raise ModelError(
            f"{path} is no PyTorch file that can be read ({str(error).splitlines()[0]})."
        ) from None
    return _named(path, held)


def _named(path: Path, held: Any) -> dict[str, NDArray[Any]]:
    if not isinstance(held, Mapping):
        raise ModelError(
            f"{path} holds a {type(held).__name__}; weights by name (a state_dict) were expected."
        )
    tensors = {str(name): value for name, value in held.items() if isinstance(value, Tensor)}
    if not tensors:
        for name in _WRAPPERS:
            if isinstance(held.get(name), Mapping):
                return _named(path, held[name])
    return _floats(
        {
            name.removeprefix("module."): value.detach().float().numpy()
            for name, value in tensors.items()
        }
    )


def _floats(tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name: np.asarray(value, np.float32) for name, value in tensors.items()}
