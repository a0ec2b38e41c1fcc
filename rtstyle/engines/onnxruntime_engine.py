"""ONNX Runtime on the CPU: runs wherever Python does."""

from __future__ import annotations

import re

import onnxruntime as ort

from rtstyle.closing import Closing
from rtstyle.engines.base import Batch, Pending, StyleVector
from rtstyle.engines.batch import Done, cannot_load, cannot_paint, to_batch, to_inputs
from rtstyle.engines.options import DEFAULTS, EngineOptions
from rtstyle.errors import EngineError
from rtstyle.model.spec import ModelSpec

_SOURCE_LINE = re.compile(r"\S+\.(cc|h|hpp|cpp):\d+ .*?\) ")  # file, line and C++ signature
_FATAL = 4  # log severity: what goes wrong is raised, so nothing needs to be printed as well


class OnnxRuntimeEngine(Closing):
    """Runs an ONNX model by ONNX Runtime's CPU provider.

    `submit` returns a finished `Pending`. Raises `EngineError` when the model cannot be loaded.
    """

    name = "onnxruntime"

    def __init__(self, model: ModelSpec, options: EngineOptions = DEFAULTS) -> None:
        if model.path.suffix == ".safetensors":
            raise EngineError(
                f"ONNX Runtime runs .onnx models, not the checkpoint {model.path.name}."
            )
        self.model = model
        threads = options.threads
        settings = ort.SessionOptions()
        settings.log_severity_level = _FATAL
        settings.intra_op_num_threads = threads or 0
        # Idle workers would otherwise burn the cores that decoding and encoding need.
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = ort.InferenceSession(
                str(model.path), settings, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its exceptions share no base class but this
            raise cannot_load("ONNX Runtime", model, reason(error)) from error
        self._run_options = ort.RunOptions()
        self._run_options.log_severity_level = _FATAL
        self.device = f"CPU, {threads} threads" if threads else "CPU"

    @staticmethod
    def version() -> str:
        """The version of the runtime."""
        return str(ort.__version__)

    def submit(
        self, frames: Batch, style: StyleVector | None = None, strength: float = 1.0
    ) -> Pending:
        """Paint a batch; see `Engine.submit`."""
        inputs = to_inputs(self.model, frames, style, strength)
        try:
            (output,) = self._session.run(None, inputs, self._run_options)
        except Exception as error:  # as above
            raise cannot_paint("ONNX Runtime", frames.shape, reason(error)) from error
        if output.shape != inputs[self.model.frame_input].shape:
            raise EngineError(
                f"{self.model.path.name} does not keep the size of a picture and cannot be used."
            )
        return Done(to_batch(self.model, output))

    def close(self) -> None:
        del self._session


def reason(error: BaseException) -> str:
    """ONNX Runtime's own sentence, without its error codes."""
    text = _SOURCE_LINE.sub("", str(error).split("Status Message: ")[-1].split(" : ")[-1])
    return text.splitlines()[0] if text else type(error).__name__
