"""Figures of a GPU, with a fake management library."""

from __future__ import annotations

import sys
import time
from types import ModuleType, SimpleNamespace

import pytest

from rtstyle.bench.machine import GpuMeter, gpu_facts


class NVMLError(Exception):
    pass


def library(monkeypatch: pytest.MonkeyPatch, *, watts: bool = True, gpu: bool = True) -> None:
    """A GPU of 8 GB that uses 100 MB more each time it is asked, and 50 watts."""
    used = iter(range(1_000_000_000, 10**12, 100_000_000))
    clocks = iter(range(1980, 0, -15))

    def handle(index: int) -> str:
        if not gpu:
            raise NVMLError("Invalid Argument")
        return "handle"

    def power(handle: str) -> int:
        if not watts:
            raise NVMLError("Not Supported")
        return 50_000

    module = ModuleType("pynvml")
    vars(module).update(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetHandleByIndex=handle,
        nvmlDeviceGetMemoryInfo=lambda handle: SimpleNamespace(used=next(used), total=8 * 10**9),
        nvmlDeviceGetPowerUsage=power,
        nvmlDeviceGetClockInfo=lambda handle, kind: {1: next(clocks)}[kind],
        nvmlDeviceGetTemperature=lambda handle, sensor: {0: 60 + next(used) // 10**9}[sensor],
        nvmlDeviceGetName=lambda handle: b"Test GPU",
        nvmlSystemGetDriverVersion=lambda: "600.1",
    )
    monkeypatch.setitem(sys.modules, "pynvml", module)


def test_a_gpu_is_described_and_metered(monkeypatch: pytest.MonkeyPatch) -> None:
    library(monkeypatch)
    assert gpu_facts() == {"gpu": "Test GPU", "vram_gb": 8.0, "driver": "600.1"}
    with GpuMeter() as meter:
        time.sleep(0.35)
    assert meter.watts == 50.0
    assert meter.memory_mb is not None
    assert meter.memory_mb >= 100
    assert meter.sm_mhz is not None
    assert meter.sm_mhz < 1980, "the lowest"
    assert meter.celsius is not None
    assert meter.celsius > 60
    assert meter.problems == {}


def test_a_gpu_without_a_wattmeter_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    library(monkeypatch, watts=False)
    with GpuMeter() as meter:
        time.sleep(0.25)
    assert meter.watts is None
    assert meter.memory_mb is not None
    assert meter.problems == {"watts": "NVML: Not Supported"}


def test_no_gpu_is_a_reason_for_every_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    library(monkeypatch, gpu=False)
    assert gpu_facts() == "NVML: Invalid Argument"
    with GpuMeter() as meter:
        pass
    assert (meter.watts, meter.memory_mb, meter.sm_mhz, meter.celsius) == (None,) * 4
    names = ("watts", "gpu_memory_mb", "sm_mhz", "celsius")
    assert meter.problems == dict.fromkeys(names, "NVML: Invalid Argument")
