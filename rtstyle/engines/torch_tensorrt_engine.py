"""Programs that `rtstyle export torch-tensorrt` compiled, run by torch on an NVIDIA GPU."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import torch

from rtstyle.engines.base import Shapes
from rtstyle.engines.cuda.engine import Runner, SlotEngine
from rtstyle.engines.options import DEFAULTS, EngineOptions
from rtstyle.engines.torch_engine import TorchCudaEngine
from rtstyle.engines.torch_modules import device_error, device_name, find_device
from rtstyle.errors import EngineError, install_line
from rtstyle.model.spec import ModelSpec


class TorchTensorRtEngine(TorchCudaEngine):
    """Runs the compiled program beside the model: udnie.onnx → udnie.trt.pt2.

    A program takes one size and runs on the kind of GPU it was compiled for; `submit` names the
    size when a batch has another. Copies of one batch overlap with the run of another; runs follow
    each other, as the program has one execution context, on a stream of its own. So there is no
    CUDA graph of a whole slot.

    Raises `EngineError` without torch-tensorrt, a GPU or a program.
    """

    name = "torch-tensorrt"
    in_graphs = False

    def __init__(self, model: ModelSpec, options: EngineOptions = DEFAULTS) -> None:
        self._device = find_device(options.device)
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
            self._net: Any = program.module().to(self._device)
        except (RuntimeError, ValueError, LookupError, TypeError, OSError) as error:
            raise EngineError(
                f"{device_error(f'{path.name} cannot be loaded', error)}. It runs only with the "
                "versions of torch and TensorRT, and the kind of GPU, that it was compiled for."
            ) from error
        SlotEngine.__init__(self, model, options.device)
        self.device = device_name(self._device)

    @classmethod
    def version(cls) -> str:
        """The version of the runtime. Raises `EngineError` without it or without a GPU."""
        find_device(0)
        return str(_load_runtime().__version__)

    def runner(self, shapes: Shapes) -> Runner:
        n, height, width = shapes[self.model.frame_input][:3]
        if (n, height, width) not in self._sizes:
            known = ", ".join(f"{n}×{w}×{h}" for n, h, w in sorted(self._sizes))
            raise EngineError(
                f"The program was compiled for {known}, not for {n}×{width}×{height}; compile it "
                "with --size for that."
            )
        program = self._net

        def run(inputs: Mapping[str, Any], output: Any, stream: int) -> None:
            output.copy_(program(*inputs.values()), non_blocking=True)

        return run


def _load_runtime() -> Any:
    try:
        return import_module("torch_tensorrt")
    except (ImportError, OSError, RuntimeError) as error:
        raise EngineError(
            f"torch-tensorrt cannot be loaded ({error}); the version for torch "
            f"{torch.__version__.split('+')[0]} comes by {install_line('torch-tensorrt')}."
        ) from None
