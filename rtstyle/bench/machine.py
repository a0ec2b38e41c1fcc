"""The facts of this machine that decide a speed, a short key for it, and a meter of its GPU."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from statistics import fmean
from threading import Event, Thread
from typing import Any, Self

from rtstyle.closing import Closing
from rtstyle.metrics import busy_cores, n_cores

_EVERY_S = 0.1  # between two samples of the GPU
_SM_CLOCK, _ON_DIE = 1, 0  # NVML_CLOCK_SM, NVML_TEMPERATURE_GPU


@dataclass(frozen=True, slots=True)
class Machine:
    """What runs the benchmark. A fact that is None has its reason in `reasons`."""

    cpu: str
    cores: int  # that this process may use
    memory_gb: float | None
    system: str
    python: str
    gpu: str | None = None
    vram_gb: float | None = None
    driver: str | None = None
    reasons: dict[str, str] = field(default_factory=dict)
    busy: float = 0.0  # cores that other programs used when the benchmark began

    @property
    def key(self) -> str:
        """The same for every run on this kind of machine: processor, cores, GPU, system."""
        name = re.sub(r"[^a-z0-9]+", "-", f"{self.cpu} {self.cores} {self.gpu or ''}".lower())
        kind = self.system.split(" ")[0]
        digest = hashlib.sha256(f"{name} {kind} {self.memory_gb}".encode()).hexdigest()[:6]
        return f"{name.strip('-')}-{digest}"

    def __str__(self) -> str:
        gpu = f", {self.gpu}, driver {self.driver}" if self.gpu else ""
        memory = f", {self.memory_gb:g} GB" if self.memory_gb else ""
        return f"{self.cpu}, {self.cores} cores{memory}{gpu}, {self.system}"


def this_machine() -> Machine:
    """The facts of the machine that this runs on."""
    gpu = gpu_facts()
    reasons = {} if isinstance(gpu, dict) else dict.fromkeys(("gpu", "vram_gb", "driver"), gpu)
    facts: dict[str, Any] = gpu if isinstance(gpu, dict) else {}
    memory = _memory_gb()
    if memory is None:
        reasons["memory_gb"] = "the system does not report it"
    return Machine(
        cpu=_cpu(), cores=n_cores(), memory_gb=memory,
        system=_system(), python=platform.python_version(),
        reasons=reasons, busy=round(busy_cores(), 1), **facts,
    )  # fmt: skip


def _cpu() -> str:
    if (cpuinfo := Path("/proc/cpuinfo")).exists():
        found = re.search(r"^model name\s*: *(.+)$", cpuinfo.read_text(), re.MULTILINE)
        if found:
            return found[1].strip()
    if sys.platform == "darwin":
        done = subprocess.run(
            ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"],
            capture_output=True,
            text=True,
            check=False,
        )
        if name := done.stdout.strip():
            return name
    return platform.processor() or platform.machine() or "unknown"


def _system() -> str:
    """Its name and version, without what whoever built it added."""
    version = re.match(r"[\d.]*\d", platform.release())
    return f"{platform.system()} {version[0]}" if version else platform.system()


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1)
    except (AttributeError, ValueError, OSError):
        return None


class NoGpuError(Exception):
    """Why nothing is known of a GPU, in one phrase."""


# How each figure is read, and what is made of its samples.
_SENSORS: dict[str, tuple[Callable[[Any, Any], float], Callable[[list[float]], float]]] = {
    "watts": (lambda nvml, handle: nvml.nvmlDeviceGetPowerUsage(handle) / 1e3, fmean),
    "sm_mhz": (lambda nvml, handle: nvml.nvmlDeviceGetClockInfo(handle, _SM_CLOCK), min),
    "celsius": (lambda nvml, handle: nvml.nvmlDeviceGetTemperature(handle, _ON_DIE), max),
}


@dataclass
class GpuMeter(Closing):
    """Samples an NVIDIA GPU from a thread of its own while it is entered.

    `memory_mb` is the peak of the memory in use above that before, whoever used it. Since `begin`,
    `watts` is the mean power draw, `sm_mhz` the lowest clock of its processors and `celsius` the
    highest temperature. Any may be None, with its reason in `problems`.
    """

    device: int = 0
    memory_mb: float | None = None
    watts: float | None = None
    sm_mhz: float | None = None
    celsius: float | None = None
    problems: dict[str, str] = field(default_factory=dict)
    _end: Event = field(default_factory=Event)
    _thread: Thread | None = None
    _samples: dict[str, list[float]] = field(default_factory=lambda: {n: [] for n in _SENSORS})

    def begin(self) -> None:
        """Start the measurement: power drawn while opening and warming up does not count."""
        for samples in self._samples.values():
            samples.clear()

    def __enter__(self) -> Self:
        self._thread = Thread(target=self._sample, name="rtstyle-gpu-meter", daemon=True)
        self._thread.start()
        return self

    def close(self) -> None:
        self._end.set()
        if self._thread is not None:
            self._thread.join()

    def _sample(self) -> None:
        try:
            with _nvml(self.device) as (nvml, handle):
                before = most = nvml.nvmlDeviceGetMemoryInfo(handle).used
                while not self._end.wait(_EVERY_S):
                    most = max(most, nvml.nvmlDeviceGetMemoryInfo(handle).used)
                    for name, (read, _) in _SENSORS.items():
                        try:
                            self._samples[name].append(read(nvml, handle))
                        except nvml.NVMLError as error:
                            self.problems[name] = f"NVML: {error}"
                self.memory_mb = round((most - before) / 1e6, 1)
                for name, (_, merged) in _SENSORS.items():
                    if self._samples[name]:
                        setattr(self, name, round(merged(self._samples[name]), 1))
                    else:
                        self.problems.setdefault(name, "it was over before a first sample")
        except NoGpuError as error:
            self.problems |= dict.fromkeys(("gpu_memory_mb", *_SENSORS), str(error))


def gpu_facts(device: int = 0) -> dict[str, Any] | str:
    """`gpu`, `vram_gb` and `driver` of the GPU, or the reason why there are none."""
    try:
        with _nvml(device) as (nvml, handle):
            return {
                "gpu": _text(nvml.nvmlDeviceGetName(handle)),
                "vram_gb": round(nvml.nvmlDeviceGetMemoryInfo(handle).total / 1e9, 1),
                "driver": _text(nvml.nvmlSystemGetDriverVersion()),
            }
    except NoGpuError as error:
        return str(error)


@contextmanager
def _nvml(device: int) -> Iterator[tuple[Any, Any]]:
    """NVML, NVIDIA's management library, and its handle of the GPU. Raises `NoGpuError`."""
    try:
        nvml: Any = import_module("pynvml")
    except ImportError:
        from rtstyle.engines import has_nvidia_driver

        hint = "; pip install nvidia-ml-py" if has_nvidia_driver() else ""
        raise NoGpuError(
            f"nvidia-ml-py is not installed{hint}" if hint else "there is no NVIDIA driver"
        ) from None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        raise NoGpuError(f"there is no NVIDIA GPU ({error})") from None
    try:
        yield nvml, nvml.nvmlDeviceGetHandleByIndex(device)
    except nvml.NVMLError as error:
        raise NoGpuError(f"NVML: {error}") from None
    finally:
        nvml.nvmlShutdown()


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
