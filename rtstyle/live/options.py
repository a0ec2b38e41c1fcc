"""How a live session runs."""

from __future__ import annotations

from dataclasses import dataclass

from rtstyle.image import check_stroke, check_upscale
from rtstyle.steady import check_amount


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveOptions:
    """How a session runs.

    `height` is what the net runs at, as `Look` has it, the picture's own by default; `stroke`, as
    in `Look`, goes before it; `upscale` is `Look`'s. With `adaptive`, `fps_target` is held by a
    smaller height, but not below `lowest` pixels. Frames that would be shown more than
    `max_latency_ms` after their capture are dropped. `steady` is the strength of `SteadyFilter`.
    `measure` draws bar codes. Raises `UsageError` for what is out of range.
    """

    height: int | None = None
    fps_target: float | None = None
    adaptive: bool = False
    lowest: int = 144
    max_latency_ms: float | None = None
    measure: bool = False
    steady: float = 0.0
    stroke: float | None = None
    upscale: int = 1

    def __post_init__(self) -> None:
        check_stroke(self.stroke)
        check_upscale(self.upscale)
        check_amount(self.steady)
