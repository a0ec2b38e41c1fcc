"""Helper nets beside the stylizing one, such as those of masks, on the best CPU runtime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtstyle.engines.registry import automatic
from rtstyle.errors import EngineError
from rtstyle.model.onnx_reader import check_safe

_FATAL = 4  # ONNX Runtime's log severity: what goes wrong is raised


@dataclass(frozen=True, slots=True)
class Graph:
    """An open net of one input and one output, run by `run`. In the shapes, -1 is any size."""

    runtime: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    run: Callable[[NDArray[Any]], NDArray[Any]]


def open_graph(path: Path, threads: int = 0) -> Graph:
    """The net of an ONNX file, in float32 whatever else the CPU has; 0 threads are all.

    Raises `ModelError` when the file is not safe to load and `EngineError` when no runtime opens
    it.
    """
    check_safe(path)
    problems = []
    for name in automatic():
        if name not in _RUNTIMES:
            continue
        try:
            return _RUNTIMES[name](path, threads)
        except Exception as error:  # the runtimes' exceptions share no base class but this
            lines = str(error).strip().splitlines()
            problems.append(f"{name}: {lines[-1] if lines else type(error).__name__}")
    raise EngineError(f"No engine can run {path}. {' '.join(problems)}")


def _by_openvino(path: Path, threads: int) -> Graph:
    import openvino as ov

    config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    model = ov.Core().compile_model(str(path), "CPU", config)
    sizes = [
        tuple(-1 if side.is_dynamic else side.get_length() for side in port.partial_shape)
        for port in (model.input(), model.output())
    ]
    return Graph("openvino", sizes[0], sizes[1], lambda given: np.array(model(given)[0]))


def _by_onnxruntime(path: Path, threads: int) -> Graph:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = _FATAL
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (entry,), (result,) = session.get_inputs(), session.get_outputs()
    sizes = [
        tuple(side if isinstance(side, int) else -1 for side in port.shape)
        for port in (entry, result)
    ]

    def run(given: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(session.run(None, {entry.name: given})[0])

    return Graph("onnxruntime", sizes[0], sizes[1], run)


_RUNTIMES: dict[str, Callable[[Path, int], Graph]] = {
    "openvino": _by_openvino,
    "onnxruntime": _by_onnxruntime,
}
