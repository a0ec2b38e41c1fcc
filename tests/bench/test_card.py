"""Figures of a card, with a management library that is made up."""

from __future__ import annotations

import sys
import time
from types import ModuleType, SimpleNamespace

import pytest

from rtstyle.bench.card import CardMeter, card_facts


class NVMLError(Exception):
    pass


def library(monkeypatch: pytest.MonkeyPatch, *, watts: bool = True, card: bool = True) -> None:
    """A card of 8 GB that uses 100 MB more each time it is asked, and 50 watts."""
    used = iter(range(1_000_000_000, 10**12, 100_000_000))

    def handle(index: int) -> str:
        if not card:
            raise NVMLError("Invalid Argument")
        return "card"

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
        nvmlDeviceGetName=lambda handle: b"Test Card",
        nvmlSystemGetDriverVersion=lambda: "600.1",
    )
    monkeypatch.setitem(sys.modules, "pynvml", module)


def test_a_card_is_told_and_metered(monkeypatch: pytest.MonkeyPatch) -> None:
    library(monkeypatch)
    assert card_facts() == {"gpu": "Test Card", "vram_gb": 8.0, "driver": "600.1"}
    with CardMeter() as meter:
        time.sleep(0.35)
    assert meter.watts == 50.0
    assert meter.memory_mb is not None
    assert meter.memory_mb >= 100
    assert meter.problems == {}


def test_a_card_without_a_wattmeter_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    library(monkeypatch, watts=False)
    with CardMeter() as meter:
        time.sleep(0.25)
    assert meter.watts is None
    assert meter.memory_mb is not None
    assert meter.problems == {"watts": "NVML: Not Supported"}


def test_no_card_is_a_reason_for_every_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    library(monkeypatch, card=False)
    assert card_facts() == "NVML: Invalid Argument"
    with CardMeter() as meter:
        pass
    assert (meter.watts, meter.memory_mb) == (None, None)
    assert meter.problems == dict.fromkeys(("watts", "gpu_memory_mb"), "NVML: Invalid Argument")
