"""A GPU that needs no time: CUDA and TensorRT whose calls return at once, so that what is left
of an engine is its cost on this computer, Python and copies. It paints nothing.

Loaded by its path in the tree that is measured, so it uses nothing of rtstyle.
"""

from __future__ import annotations

import ctypes
import sys
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock


class NullCuda(ModuleType):
    """cuda.bindings.runtime; what is allocated lies in this computer's memory."""

    def __init__(self) -> None:
        super().__init__("cuda.bindings.runtime")
        self._memory: dict[int, Any] = {}
        gpu = SimpleNamespace(name=b"Null RTX", major=8, minor=9)
        self._answers: dict[str, Any] = {
            "cudaDriverGetVersion": 13000, "cudaRuntimeGetVersion": 13000, "cudaGetDeviceCount": 1,
            "cudaGetDeviceProperties": gpu,
        }  # fmt: skip
        self.cudaMemcpyKind = MagicMock()
        self.cudaStreamCaptureMode = MagicMock()
        self.cudaMalloc = self.cudaHostAlloc = self._allocate

    def _allocate(self, size: int, flags: int = 0) -> tuple[int, int]:
        block = (ctypes.c_uint8 * size)()
        self._memory[ctypes.addressof(block)] = block
        return 0, ctypes.addressof(block)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("cuda"):
            raise AttributeError(name)
        answer = 0, self._answers.get(name, 1)
        setattr(self, name, lambda *arguments: answer)
        return getattr(self, name)


class NullContext:
    """An execution context."""

    def __init__(self) -> None:
        self._shapes: dict[str, tuple[int, ...]] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._shapes[name] = tuple(shape)
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self._shapes.get(name) or next(iter(self._shapes.values()))

    def set_tensor_address(self, name: str, address: int) -> bool:
        return True

    def execute_async_v3(self, stream: int) -> bool:
        return True


def install(dtypes: dict[str, str]) -> None:
    """Have `import tensorrt` and cuda-bindings give it. The model's inputs have these `dtypes`."""
    dtypes = {**dtypes, "stylized": "uint8"}
    names = list(dtypes)
    engine = SimpleNamespace(
        num_io_tensors=len(names), get_tensor_name=lambda i: names[i],
        create_execution_context=NullContext, get_tensor_dtype=lambda name: dtypes[name],
        get_tensor_mode=lambda name: int(name == "stylized"),
    )  # fmt: skip
    trt: Any = MagicMock(__version__="11.4.0", nptype=lambda kind: kind)
    trt.ILogger = type("ILogger", (), {"Severity": SimpleNamespace(ERROR=1, INTERNAL_ERROR=0)})
    trt.TensorIOMode = SimpleNamespace(INPUT=0, OUTPUT=1)
    trt.Builder.return_value.build_serialized_network.return_value = b"plan"
    config = trt.Builder.return_value.create_builder_config.return_value
    config.add_optimization_profile.return_value = 0
    config.get_timing_cache.return_value = None
    trt.Runtime.return_value.deserialize_cuda_engine.return_value = engine
    sys.modules["tensorrt"] = trt
    sys.modules["cuda.bindings.runtime"] = NullCuda()
