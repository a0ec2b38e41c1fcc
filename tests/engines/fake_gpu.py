"""A GPU made of this computer's memory: CUDA and TensorRT as far as the engine calls them.

Streams are queues that a thread of their own works off, so that an engine which does not wait where
it must reads old pictures, as on a real device. Networks run by ONNX Runtime.
"""

# ruff: noqa: N802, N815  # the names are those of CUDA

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import onnxruntime as ort
import pytest


class FakeCuda:
    """cuda.bindings.runtime. `fail` maps a function's name to the error it answers with."""

    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)
    ERRORS: ClassVar = {
        2: b"out of memory",
        46: b"all CUDA-capable devices are busy",
        719: b"unspecified",
    }

    def __init__(self) -> None:
        self.fail: dict[str, int] = {}
        self.driver, self.devices, self.delay = 13000, 1, 0.0
        self.names: dict[int, bytes] = {}  # of GPUs of another kind
        self.capability = (8, 9)
        self.memory: dict[int, Any] = {}
        self.streams: dict[int, ThreadPoolExecutor] = {}
        self.last: dict[int, Future[None]] = {}
        self.recording: dict[int, list[Callable[[], None]]] = {}
        self.launches = self.count = 0

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("cuda"):
            raise AttributeError(name)
        method = getattr(self, f"do_{name.removeprefix('cuda')}")

        def call(*arguments: Any) -> tuple[Any, ...]:
            if name in self.fail:
                return self.fail[name], None
            answer = method(*arguments)
            return (0,) if answer is None else (0, answer)

        return call

    def cudaGetErrorString(self, code: int) -> tuple[int, bytes]:
        return 0, self.ERRORS[code]

    def do_DriverGetVersion(self) -> int:
        return self.driver

    def do_RuntimeGetVersion(self) -> int:
        return 13000

    def do_GetDeviceCount(self) -> int:
        return self.devices

    def do_SetDevice(self, device: int) -> None:
        pass

    def do_GetDeviceProperties(self, device: int) -> Any:
        major, minor = self.capability
        name = self.names.get(device, b"Fake RTX")
        return SimpleNamespace(name=name, major=major, minor=minor)

    def do_StreamCreateWithFlags(self, flags: int) -> int:
        self.count += 1
        handle = self.count
        self.streams[handle] = ThreadPoolExecutor(1)
        return handle

    def do_EventCreateWithFlags(self, flags: int) -> list[Any]:
        return []

    def do_HostAlloc(self, size: int, flags: int) -> int:
        return self.do_Malloc(size)

    def do_Malloc(self, size: int) -> int:
        block = (ctypes.c_uint8 * size)()
        self.memory[ctypes.addressof(block)] = block
        return ctypes.addressof(block)

    def do_FreeHost(self, address: int) -> None:
        del self.memory[address]

    def do_Free(self, address: int) -> None:
        del self.memory[address]

    def enqueue(self, stream: int, work: Callable[[], None]) -> None:
        if stream in self.recording:
            self.recording[stream].append(work)
        else:
            self.last[stream] = self.streams[stream].submit(work)

    def do_MemcpyAsync(self, to: int, of: int, size: int, kind: int, stream: int) -> None:
        self.enqueue(stream, lambda: ctypes.memmove(to, of, size) and None)

    def do_StreamSynchronize(self, stream: int) -> None:
        if stream in self.last:
            self.last[stream].result()

    def do_StreamDestroy(self, stream: int) -> None:
        self.streams.pop(stream).shutdown()

    def do_EventDestroy(self, event: Any) -> None:
        pass

    def do_StreamBeginCapture(self, stream: int, mode: int) -> None:
        self.recording[stream] = []

    def do_StreamEndCapture(self, stream: int) -> Any:
        return self.recording.pop(stream)

    def do_GraphInstantiate(self, graph: Any, flags: int) -> Any:
        return graph

    def do_GraphDestroy(self, graph: Any) -> None:
        pass

    def do_GraphExecDestroy(self, graph: Any) -> None:
        pass

    def do_GraphLaunch(self, graph: Any, stream: int) -> None:
        self.launches += 1
        for work in graph:
            self.enqueue(stream, work)

    def do_EventRecord(self, event: list[Any], stream: int) -> None:
        event[:] = [self.last[stream], 0.0]
        self.enqueue(stream, lambda: event.__setitem__(1, time.perf_counter()))
        event[0] = self.last[stream]

    def do_EventElapsedTime(self, begin: list[Any], end: list[Any]) -> float:
        return (end[1] - begin[1]) * 1e3

    def cudaEventQuery(self, event: list[Any]) -> tuple[int]:
        return (0 if event[0].done() else 600,)

    def do_EventSynchronize(self, event: list[Any]) -> None:
        event[0].result()


class FakeTensorRt(ModuleType):
    """tensorrt or tensorrt_rtx: plans are ONNX files, contexts run them by ONNX Runtime."""

    def __init__(self, cuda: FakeCuda, name: str = "tensorrt") -> None:
        super().__init__(name)
        self.__version__ = "11.4.0.106" if name == "tensorrt" else "1.7.1.116"
        self.compiled = 0  # kernels, by TensorRT for RTX
        self.knows_kernels = True
        self.flags: list[str] = []
        self.BuilderFlag = SimpleNamespace(REQUIRE_USER_ALLOCATION="user allocation")
        self.ComputeCapability = SimpleNamespace(SM89=89)
        self.ExecutionContextAllocationStrategy = SimpleNamespace(USER_MANAGED="user managed")
        self.cuda = cuda
        self.builds = 0
        self.capturable = True

        class ILogger:
            Severity = SimpleNamespace(ERROR=1, INTERNAL_ERROR=0)

        self.ILogger = ILogger
        self.NetworkDefinitionCreationFlag = SimpleNamespace()
        self.TensorIOMode = SimpleNamespace(INPUT=1, OUTPUT=2)
        self.Builder = lambda logger: _Builder(self)
        self.OnnxParser = _Parser
        self.Runtime = lambda logger: SimpleNamespace(deserialize_cuda_engine=self._engine)
        self.nptype = lambda kind: kind

    def _engine(self, plan: bytes) -> Any:
        return None if plan.startswith(b"stale") else _Engine(self, plan)


class _Builder:
    def __init__(self, trt: FakeTensorRt) -> None:
        self._trt = trt

    def create_network(self, flags: int) -> Any:
        return SimpleNamespace()

    def create_optimization_profile(self) -> Any:
        return SimpleNamespace(set_shape=lambda *a: None)

    def create_builder_config(self) -> Any:
        return SimpleNamespace(
            add_optimization_profile=lambda p: 0,
            set_flag=self._trt.flags.append,
            create_timing_cache=lambda data: data,
            set_timing_cache=lambda cache, ignore: True,
            get_timing_cache=lambda: SimpleNamespace(serialize=lambda: b"timings"),
        )

    def build_serialized_network(self, network: Any, config: Any) -> bytes:
        self._trt.builds += 1
        return bytes(network.onnx)


class _Parser:
    num_errors = 1

    def __init__(self, network: Any, logger: Any) -> None:
        self._network = network

    def parse(self, content: bytes) -> bool:
        self._network.onnx = content
        try:
            ort.InferenceSession(content, providers=["CPUExecutionProvider"])
        except Exception:  # its exceptions share no base class
            return False
        return True

    def get_error(self, i: int) -> Any:
        return SimpleNamespace(desc=lambda: "the model cannot be parsed")


class _Engine:
    def __init__(self, trt: FakeTensorRt, plan: bytes) -> None:
        self.trt = trt
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        self.session = ort.InferenceSession(plan, options, providers=["CPUExecutionProvider"])
        self.inputs = {i.name: i.type for i in self.session.get_inputs()}
        self.names = [*self.inputs, self.session.get_outputs()[0].name]
        self.num_io_tensors = len(self.names)

    def get_tensor_name(self, i: int) -> str:
        return self.names[i]

    def get_tensor_mode(self, name: str) -> int:
        return 1 if name in self.inputs else 2

    def create_execution_context(self, config: Any = None) -> Any:
        return _Context(self, config)

    def create_runtime_config(self) -> Any:
        return _RuntimeConfig(self.trt)

    def get_tensor_dtype(self, name: str) -> Any:
        values = (*self.session.get_inputs(), *self.session.get_outputs())
        kind = next(value.type for value in values if value.name == name)
        return np.uint8 if "uint8" in kind else np.float32


class _RuntimeConfig:
    """Of TensorRT for RTX, which compiles a kernel for every context that its cache lacks."""

    def __init__(self, trt: FakeTensorRt) -> None:
        self.trt, self.content, self.strategy, self.is_set = trt, b"", "", False

    def set_execution_context_allocation_strategy(self, strategy: str) -> None:
        self.strategy = strategy

    def create_runtime_cache(self) -> Any:
        return SimpleNamespace(deserialize=self._read, serialize=lambda: self.content)

    def _read(self, content: bytes) -> bool:
        if self.trt.knows_kernels:
            self.content = content
        return self.trt.knows_kernels

    def set_runtime_cache(self, cache: Any) -> bool:
        self.is_set = True
        return True


class _Context:
    def __init__(self, engine: _Engine, config: _RuntimeConfig | None) -> None:
        self.engine, self.config = engine, config
        self.memory = config is None
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}

    def update_device_memory_size_for_shapes(self) -> int:
        assert self.shapes.keys() == self.engine.inputs.keys()
        return 512

    def set_device_memory(self, address: int, size: int) -> None:
        self.memory = address in self.engine.trt.cuda.memory and size == 512

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shapes[name] = shape
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.shapes.get(name) or next(iter(self.shapes.values()))

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def _array(self, name: str) -> Any:
        shape, kind = self.get_tensor_shape(name), np.dtype(self.engine.get_tensor_dtype(name))
        size = int(np.prod(shape)) * kind.itemsize
        raw = (ctypes.c_uint8 * size).from_address(self.addresses[name])
        return np.frombuffer(raw, kind).reshape(shape)

    def execute_async_v3(self, stream: int) -> bool:
        if stream in self.engine.trt.cuda.recording and not self.engine.trt.capturable:
            return False
        assert self.memory, "it runs in memory that nobody gave it"
        if self.config is not None and self.config.content != b"kernels":
            self.engine.trt.compiled += 1
            self.config.content = b"kernels" if self.config.is_set else b""

        def work() -> None:
            time.sleep(self.engine.trt.cuda.delay)
            feed = {name: self._array(name).copy() for name in self.engine.inputs}
            output = self.engine.names[-1]
            self._array(output)[...] = self.engine.session.run([output], feed)[0]

        self.engine.trt.cuda.enqueue(stream, work)
        return True


def install(patch: pytest.MonkeyPatch) -> FakeTensorRt:
    """Make `import tensorrt` and cuda-bindings give a fake GPU; returns the fake TensorRT."""
    cuda = FakeCuda()
    trt = FakeTensorRt(cuda)
    patch.setitem(sys.modules, "cuda.bindings.runtime", cuda)
    patch.setitem(sys.modules, "tensorrt", trt)
    return trt


def install_rtx(patch: pytest.MonkeyPatch, trt: FakeTensorRt) -> FakeTensorRt:
    """Make `import tensorrt_rtx` give a fake one on the same GPU."""
    rtx = FakeTensorRt(trt.cuda, "tensorrt_rtx")
    patch.setitem(sys.modules, "tensorrt_rtx", rtx)
    return rtx
