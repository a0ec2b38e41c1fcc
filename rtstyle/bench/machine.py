"""The facts of this machine that decide a speed, and a short key that tells machines apart."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rtstyle.bench.card import card_facts


@dataclass(frozen=True, slots=True)
class Machine:
    """What runs the benchmark. What cannot be told is None and has its reason in `untold`."""

    cpu: str
    cores: int  # that this process may use
    memory_gb: float | None
    system: str
    python: str
    gpu: str | None = None
    vram_gb: float | None = None
    driver: str | None = None
    untold: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The same for every run on this kind of machine: processor, cores, card, system."""
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
    card = card_facts()
    untold = {} if isinstance(card, dict) else dict.fromkeys(("gpu", "vram_gb", "driver"), card)
    facts: dict[str, Any] = card if isinstance(card, dict) else {}
    memory = _memory_gb()
    if memory is None:
        untold["memory_gb"] = "the system does not tell it"
    return Machine(
        cpu=_cpu(), cores=_cores(), memory_gb=memory,
        system=_system(), python=platform.python_version(),
        untold=untold, **facts,
    )  # fmt: skip


def _cpu() -> str:
    if (cpuinfo := Path("/proc/cpuinfo")).exists():
        told = re.search(r"^model name\s*: *(.+)$", cpuinfo.read_text(), re.MULTILINE)
        if told:
            return told[1].strip()
    if sys.platform == "darwin":
        done = subprocess.run(
            ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if name := done.stdout.strip():
            return name
    return platform.processor() or platform.machine() or "unknown"


def _system() -> str:
    """Its name and version, without what whoever built it added."""
    version = re.match(r"[\d.]*\d", platform.release())
    return f"{platform.system()} {version[0]}" if version else platform.system()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1)
    except (AttributeError, ValueError, OSError):
        return None
