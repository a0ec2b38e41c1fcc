"""Eager PyTorch on the CPU: runs a training checkpoint as it is, before any export."""

from __future__ import annotations

import torch

from rtstyle.closing import Closing
from rtstyle.engines.base import Batch, Pending, StyleVector
from rtstyle.engines.batch import Done, to_inputs
from rtstyle.engines.options import DEFAULTS, EngineOptions
from rtstyle.engines.torch_net import checkpoint_net
from rtstyle.errors import EngineError
from rtstyle.model.spec import ModelSpec
from rtstyle.nets.contract import Contract


class TorchEngine(Closing):
    """Runs a checkpoint (.safetensors) by eager torch in float32.

    `submit` returns a finished `Pending`. `threads` holds for the whole process, as torch knows no
    other way. Raises `EngineError` for a model that is no checkpoint, `ModelError` for a bad one.
    """

    name = "torch"

    def __init__(self, model: ModelSpec, options: EngineOptions = DEFAULTS) -> None:
        net, self.model = checkpoint_net(model)
        if options.threads:
            torch.set_num_threads(options.threads)
        self._net = Contract(net).eval()
        self._net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.device = f"CPU, {torch.get_num_threads()} threads"

    @staticmethod
    def version() -> str:
        """The version of the runtime."""
        return str(torch.__version__)

    def submit(
        self, frames: Batch, style: StyleVector | None = None, strength: float = 1.0
    ) -> Pending:
        """Paint a batch; see `Engine.submit`."""
        inputs = to_inputs(self.model, frames, style, strength)
        try:
            with torch.inference_mode():
                painted = self._net(*map(torch.from_numpy, inputs.values()))
        except (RuntimeError, MemoryError) as error:
            sentence = str(error).splitlines()[0] if str(error) else "out of memory"
            raise EngineError(
                f"torch cannot paint {frames.shape[2]}×{frames.shape[1]}: {sentence}"
            ) from error
        return Done(painted.contiguous().numpy())

    def close(self) -> None:
        del self._net
