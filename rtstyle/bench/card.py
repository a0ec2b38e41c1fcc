"""An NVIDIA card as its management library (NVML) tells it: facts, memory in use, watts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from statistics import fmean
from threading import Event, Thread
from typing import Any, Self

from rtstyle.closing import Closing

_EVERY_S = 0.1


class NoCardError(Exception):
    """Why nothing can be told of a card, in one phrase."""


@dataclass
class CardMeter(Closing):
    """Samples a card from a thread of its own while it is entered.

    `memory_mb` is the most that was in use above what was in use before, by whatever ran
    meanwhile; `watts` the mean draw since `begin`. Either is None, with its reason in `problems`.
    """

    device: int = 0
    memory_mb: float | None = None
    watts: float | None = None
    problems: dict[str, str] = field(default_factory=dict)
    _end: Event = field(default_factory=Event)
    _thread: Thread | None = None
    _draws: list[float] = field(default_factory=list)

    def begin(self) -> None:
        """What is measured begins; what was drawn to open and to warm up does not count."""
        self._draws.clear()

    def __enter__(self) -> Self:
        self._thread = Thread(target=self._sample, name="rtstyle-card-meter", daemon=True)
        self._thread.start()
        return self

    def close(self) -> None:
        self._end.set()
        if self._thread is not None:
            self._thread.join()

    def _sample(self) -> None:
        try:
            with _nvml(self.device) as (nvml, card):
                before = most = nvml.nvmlDeviceGetMemoryInfo(card).used
                while not self._end.wait(_EVERY_S):
                    most = max(most, nvml.nvmlDeviceGetMemoryInfo(card).used)
                    try:
                        self._draws.append(nvml.nvmlDeviceGetPowerUsage(card) / 1e3)
                    except nvml.NVMLError as error:
                        self.problems["watts"] = f"NVML: {error}"
                self.memory_mb = round((most - before) / 1e6, 1)
                if self._draws:
                    self.watts = round(fmean(self._draws), 1)
                elif "watts" not in self.problems:
                    self.problems["watts"] = "it was over before a first sample"
        except NoCardError as error:
            self.problems |= {"gpu_memory_mb": str(error), "watts": str(error)}


def card_facts(device: int = 0) -> dict[str, Any] | str:
    """`gpu`, `vram_gb` and `driver` of the card, or the reason why there are none."""
    try:
        with _nvml(device) as (nvml, card):
            return {
                "gpu": _text(nvml.nvmlDeviceGetName(card)),
                "vram_gb": round(nvml.nvmlDeviceGetMemoryInfo(card).total / 1e9, 1),
                "driver": _text(nvml.nvmlSystemGetDriverVersion()),
            }
    except NoCardError as error:
        return str(error)


@contextmanager
def _nvml(device: int) -> Iterator[tuple[Any, Any]]:
    """NVML and its handle of the card. Raises `NoCardError`."""
    try:
        nvml: Any = import_module("pynvml")
    except ImportError:
        from rtstyle.engines import has_nvidia_driver

        hint = "; pip install 'rtstyle[bench]'" if has_nvidia_driver() else ""
        raise NoCardError(
            f"nvidia-ml-py is not installed{hint}" if hint else "there is no NVIDIA driver"
        ) from None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        raise NoCardError(f"there is no NVIDIA card ({error})") from None
    try:
        yield nvml, nvml.nvmlDeviceGetHandleByIndex(device)
    except nvml.NVMLError as error:
        raise NoCardError(f"NVML: {error}") from None
    finally:
        nvml.nvmlShutdown()


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
