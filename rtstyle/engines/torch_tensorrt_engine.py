"""Programs that `python -m export torch-tensorrt` compiled, run by torch on an NVIDIA GPU."""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any

import torch

from rtstyle.engines.base import Batch, Done, Engine, Pending, StyleVector
from rtstyle.engines.batch import to_inputs
from rtstyle.engines.options import DEFAULTS, EngineOptions
from rtstyle.engines.torch_modules import device_error, device_name, find_device
from rtstyle.errors import EngineError
from rtstyle.model.spec import ModelSpec


class TorchTensorRtEngine(Engine):
    """Runs the compiled program beside the model: udnie.onnx → udnie.trt.pt2.

    A program takes one size and runs on the kind of GPU it was compiled for; `submit` names the
    size when a batch has another. Raises `EngineError` without torch-tensorrt, a GPU or a program.
    """

    name = "torch-tensorrt"

    def __init__(self, model: ModelSpec, options: EngineOptions = DEFAULTS) -> None:
        self._where = find_device(options.device)
        path = model.path.with_suffix(".trt.pt2")
        if not path.is_file():
            raise EngineError(
                f"There is no {path.name} beside {model.path.name}; compile it with `python -m "
                f"export torch-tensorrt {model.path.with_suffix('.safetensors')} -o {path}`."
            )
        _load_runtime()
        extra = {"rtstyle": ""}
        try:
            program = torch.export.load(path, extra_files=extra)
            self._sizes = {tuple(size) for size in json.loads(extra["rtstyle"])["frames"]}
            self._run: Any = program.module().to(self._where)
        except (RuntimeError, ValueError, LookupError, TypeError, OSError) as error:
            raise EngineError(
                f"{device_error(f'{path.name} cannot be loaded', error)}. It runs only with the "
                "versions of torch and TensorRT, and the kind of GPU, that it was compiled for."
            ) from error
        self.model = model
        self._stream = torch.cuda.Stream(self._where)  # type: ignore[no-untyped-call]
        self.device = device_name(self._where)

    @classmethod
    def version(cls) -> str:
        """The version of the runtime. Raises `EngineError` without it or without a GPU."""
        find_device(0)
        return str(_load_runtime().__version__)

    def submit(
        self, frames: Batch, style: StyleVector | None = None, strength: float = 1.0
    ) -> Pending:
        inputs = to_inputs(self.model, frames, style, strength)
        if frames.shape[:3] not in self._sizes:
            known = ", ".join(f"{n}×{w}×{h}" for n, h, w in sorted(self._sizes))
            raise EngineError(
                f"The program was compiled for {known}, not for {frames.shape[0]}×"
                f"{frames.shape[2]}×{frames.shape[1]}; compile it with --size for that."
            )
        try:
            with torch.inference_mode(), torch.cuda.stream(self._stream):
                on_gpu = [torch.from_numpy(array).to(self._where) for array in inputs.values()]
                stylized = self._run(*on_gpu).cpu()
        except RuntimeError as error:
            raise device_error(f"{self.device} failed on a batch", error) from error
        return Done(stylized.numpy())

    def close(self) -> None:
        del self._run


def _load_runtime() -> Any:
    try:
        return import_module("torch_tensorrt")
    except (ImportError, OSError, RuntimeError) as error:
        raise EngineError(
            f"torch-tensorrt cannot be loaded ({error}); install the version for torch "
            f"{torch.__version__.split('+')[0]}."
        ) from None
