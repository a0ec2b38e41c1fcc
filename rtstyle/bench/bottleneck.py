"""Which part of the pipeline decides its rate, told from the busy times of the stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# What works in one thread adds up; the three threads work at the same time.
PARTS = {
    "source": ("decode",),
    "engine": ("prepare", "paint"),
    "sink": ("finish", "encode"),
}
_BUSY = 0.6  # a part that rests more than this leaves cannot be what the others wait for


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """The busiest part, the stage in it that takes longest, and its share of the time."""

    part: str
    stage: str
    share: float

    def __str__(self) -> str:
        if self.share < _BUSY:
            return f"none: the busiest, {self.part} ({self.stage}), rests {1 - self.share:.0%}"
        return f"{self.part} ({self.stage})"


def find_bottleneck(stages_ms: Mapping[str, float], *, fps: float) -> Bottleneck:
    """The part of the pipeline that was busy for most of each frame's time, 1 / `fps` seconds.

    `stages_ms` is the mean busy time a frame of each stage of `rtstyle.metrics.STAGES`.
    """
    busy = {part: sum(stages_ms.get(s, 0.0) for s in stages) for part, stages in PARTS.items()}
    part = max(busy, key=lambda name: busy[name])
    stage = max(PARTS[part], key=lambda name: stages_ms.get(name, 0.0))
    return Bottleneck(part, stage, min(1.0, busy[part] * fps / 1e3))
