"""Programs that `python -m export torch-tensorrt` compiled, run by torch on an NVIDIA card."""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any

import torch

from rtstyle.closing import Closing
from rtstyle.engines.base import Batch, Pending, StyleVector
from rtstyle.engines.batch import Done, to_inputs
from rtstyle.engines.options import DEFAULTS, EngineOptions
from rtstyle.engines.torch_card import card, card_error, card_name
from rtstyle.errors import EngineError
from rtstyle.model.spec import ModelSpec


class TorchTensorRtEngine(Closing):
    """Runs the compiled program that lies beside the model: udnie.onnx → udnie.trt.pt2.

    A program paints one size on the kind of card it was compiled for; `submit` says which where a
    batch has another. Raises `EngineError` without torch-tensorrt, a card or a program.
    """

    name = "torch-tensorrt"

    def __init__(self, model: ModelSpec, options: EngineOptions = DEFAULTS) -> None:
        self._where = card(options.device)
        path = model.path.with_suffix(".trt.pt2")
        if not path.is_file():
            raise EngineError(
                f"There is no {path.name} beside {model.path.name}; compile it with `python -m "
                f"export torch-tensorrt {model.path.with_suffix('.safetensors')} -o {path}`."
            )
        runtime: Any = _runtime()
        extra = {"rtstyle": ""}
        try:
            program = torch.export.load(path, extra_files=extra)
            self._sizes = {tuple(size) for size in json.loads(extra["rtstyle"])["frames"]}
            self._run: Any = program.module().to(self._where)
        except (RuntimeError, ValueError, LookupError, TypeError, OSError) as error:
            raise EngineError(
                f"{card_error(f'{path.name} cannot be loaded', error)}. It runs only with the "
                "versions of torch and TensorRT, and the kind of card, that it was compiled for."
            ) from error
        del runtime
        self.model = model
        self._stream = torch.cuda.Stream(self._where)  # type: ignore[no-untyped-call]
        self.device = card_name(self._where)

    @staticmethod
    def version() -> str:
        """The version of the runtime. Raises `EngineError` without it or without a card."""
        card(0)
        return str(_runtime().__version__)

    def submit(
        self, frames: Batch, style: StyleVector | None = None, strength: float = 1.0
    ) -> Pending:
        """Paint a batch; see `Engine.submit`."""
        inputs = to_inputs(self.model, frames, style, strength)
        if frames.shape[:3] not in self._sizes:
            known = ", ".join(f"{n}×{w}×{h}" for n, h, w in sorted(self._sizes))
            raise EngineError(
                f"The program was compiled for {known}, not for {frames.shape[0]}×"
                f"{frames.shape[2]}×{frames.shape[1]}; compile it with --size for that."
            )
        try:
            with torch.inference_mode(), torch.cuda.stream(self._stream):
                on_card = [torch.from_numpy(array).to(self._where) for array in inputs.values()]
                painted = self._run(*on_card).cpu()
        except RuntimeError as error:
            raise card_error(f"{self.device} failed on a batch", error) from error
        return Done(painted.numpy())

    def close(self) -> None:
        del self._run


def _runtime() -> Any:
    try:
        return import_module("torch_tensorrt")
    except (ImportError, OSError, RuntimeError) as error:
        raise EngineError(
            f"torch-tensorrt cannot be loaded ({error}); install the version for torch "
            f"{torch.__version__.split('+')[0]}."
        ) from None
