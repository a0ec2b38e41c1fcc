"""One GPU by the few calls of the CUDA runtime that engines need, by cuda-bindings: no torch."""

from __future__ import annotations

import ctypes
import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtstyle.engines.cuda.memory import HINT, OutOfDeviceMemoryError
from rtstyle.errors import EngineError, install_line

_log = logging.getLogger("rtstyle")
_OUT_OF_MEMORY, _NOT_READY = 2, 600  # cudaErrorMemoryAllocation, cudaErrorNotReady
# Of the GPU itself: unavailable, no device, hardware stack error, launch failure, unknown.
_LOST = {46, 100, 714, 719, 999}
_DRIVERS = {12: "525", 13: "580"}  # NVIDIA's first driver for a major version of CUDA
_BLOCKING_SYNC = 4  # CU_CTX_SCHED_BLOCKING_SYNC


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU: its number, name, compute capability and the CUDA version of its driver."""

    index: int
    name: str
    capability: tuple[int, int]
    driver: tuple[int, int]

    def __str__(self) -> str:
        return f"{self.name} (cuda:{self.index})"


class Cuda:
    """The CUDA runtime with one GPU chosen for the calling thread.

    Every method raises `EngineError` with the GPU and CUDA's own words, `OutOfDeviceMemoryError`
    when memory ran out. Raises the former too without a driver, with one that is too old, or when
    there is no such GPU.
    """

    def __init__(self, device: int = 0) -> None:
        self._where = ""
        try:
            self._rt: Any = import_module("cuda.bindings.runtime")
        except ImportError as error:
            raise EngineError(
                f"CUDA cannot be called ({error}); {install_line('nvidia')}."
            ) from None
        version = int(self.call("DriverGetVersion"))
        driver = (version // 1000, version % 1000 // 10)
        major = int(self.call("RuntimeGetVersion")) // 1000
        if version == 0:
            raise EngineError(
                "There is no NVIDIA driver; install it, or leave the choice to --engine auto."
            )
        if driver[0] < major:
            raise EngineError(
                f"The NVIDIA driver supports CUDA {driver[0]}.{driver[1]}, but cuda-bindings is "
                f"for CUDA {major}; upgrade the driver to {_DRIVERS.get(major, 'the newest')} or "
                "later."
            )
        count = int(self.call("GetDeviceCount"))
        if not 0 <= device < count:
            raise EngineError(f"There is no GPU {device}; CUDA sees {count}, counted from 0.")
        self.call("SetDevice", device)
        found = self.call("GetDeviceProperties", device)
        name = found.name.decode() if isinstance(found.name, bytes) else str(found.name)
        self.gpu = Gpu(device, name, (int(found.major), int(found.minor)), driver)
        self._where = f" on {self.gpu}"

    def call(self, name: str, *arguments: Any) -> Any:
        """Call `cuda<name>`; returns its value without the error code."""
        code, *values = getattr(self._rt, f"cuda{name}")(*arguments)
        if int(code) != 0:
            _, text = self._rt.cudaGetErrorString(code)
            words = text.decode() if isinstance(text, bytes) else str(text)
            if int(code) == _OUT_OF_MEMORY:
                raise OutOfDeviceMemoryError(
                    f"CUDA failed in {name}{self._where}: {words}; {HINT}."
                )
            lost = "; nvidia-smi shows whether it is still there" if int(code) in _LOST else ""
            raise EngineError(f"CUDA failed in {name}{self._where}: {words}{lost}.")
        return values[0] if values else None

    def is_done(self, event: Any) -> bool:
        """Whether the work before a recorded event is over, also by an error, which waiting for
        the event raises."""
        return int(self._rt.cudaEventQuery(event)[0]) != _NOT_READY

    def use(self) -> None:
        """Choose the GPU for the calling thread."""
        self.call("SetDevice", self.gpu.index)

    def stream(self) -> int:
        """A stream that does not wait for the default one."""
        return int(self.call("StreamCreateWithFlags", 1))

    def event(self) -> Any:
        """An event that a waiting thread sleeps on, so that it leaves its core to others."""
        return self.call("EventCreateWithFlags", 1 | 2)  # blocking sync, no timing

    def timed_event(self) -> Any:
        """An event that carries its time; see `milliseconds`."""
        return self.call("EventCreateWithFlags", 1)  # blocking sync

    def milliseconds(self, begin: Any, end: Any) -> float:
        """The GPU's own time between two timed events that are over."""
        return float(self.call("EventElapsedTime", begin, end))

    def malloc(self, size: int) -> int:
        """The address of `size` new bytes on the GPU."""
        return int(self.call("Malloc", size))

    def pinned(self, shape: tuple[int, ...], kind: Any) -> PinnedArray:
        """An array in host memory that the GPU reads and writes directly."""
        return PinnedArray(self, shape, np.dtype(kind))

    def upload(self, target: int, source: PinnedArray, stream: int) -> None:
        """Enqueue a copy to the GPU."""
        self.call(
            "MemcpyAsync",
            target,
            source.address,
            source.array.nbytes,
            self._rt.cudaMemcpyKind.cudaMemcpyHostToDevice,
            stream,
        )

    def download(self, target: PinnedArray, source: int, stream: int) -> None:
        """Enqueue a copy from the GPU."""
        self.call(
            "MemcpyAsync",
            target.address,
            source,
            target.array.nbytes,
            self._rt.cudaMemcpyKind.cudaMemcpyDeviceToHost,
            stream,
        )

    def record(self, work: Callable[[], None], stream: int) -> Any:
        """What `work` enqueues on `stream` as one graph for `call("GraphLaunch")`."""
        mode = self._rt.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self.call("StreamBeginCapture", stream, mode)
        try:
            work()
        except BaseException:
            with suppress(EngineError):  # it ends a capture that is broken already
                self.call("StreamEndCapture", stream)
            raise
        graph = self.call("StreamEndCapture", stream)
        launchable = self.call("GraphInstantiate", graph, 0)
        self.call("GraphDestroy", graph)
        return launchable


def share_context() -> None:
    """Have every GPU's primary context made with the flags that FFmpeg wants, so that NVDEC, NVENC
    and an engine share it whichever comes first.

    FFmpeg refuses one that was made with other flags, and they cannot change once it is there. So
    this comes before any other call of CUDA. A waiting thread sleeps with them. Without effect
    where there is no driver.
    """
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return
    count = ctypes.c_int(0)
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return
    for number in range(count.value):
        device, flags, active = ctypes.c_int(0), ctypes.c_uint(0), ctypes.c_int(0)
        if driver.cuDeviceGet(ctypes.byref(device), number):
            continue
        # Set only where they differ: a context that is there cannot take any.
        driver.cuDevicePrimaryCtxGetState(device, ctypes.byref(flags), ctypes.byref(active))
        if flags.value != _BLOCKING_SYNC and driver.cuDevicePrimaryCtxSetFlags_v2(
            device, _BLOCKING_SYNC
        ):
            _log.info("GPU %d was in use with other flags; NVDEC and NVENC may refuse it.", number)


class PinnedArray:
    """A numpy array in page-locked memory, freed by `free`."""

    def __init__(self, cuda: Cuda, shape: tuple[int, ...], kind: np.dtype[Any]) -> None:
        self._cuda = cuda
        size = max(1, int(np.prod(shape)) * kind.itemsize)
        self.address = int(cuda.call("HostAlloc", size, 0))
        raw = (ctypes.c_uint8 * size).from_address(self.address)
        array: NDArray[Any] = np.frombuffer(memoryview(raw), kind)
        self.array = array[: int(np.prod(shape))].reshape(shape)

    def free(self) -> None:
        """Give the memory back; the array must not be used any more."""
        self._cuda.call("FreeHost", self.address)
