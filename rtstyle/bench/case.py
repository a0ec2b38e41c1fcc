"""One thing to measure, and which of them a run measures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rtstyle.engines import ENGINES
from rtstyle.errors import UsageError
from rtstyle.model.zoo import PRECISIONS

SIZES = {
    "360p": (640, 360),
    "480p": (854, 480),
    "720p": (1280, 720),
    "1080p": (1920, 1080),
    "1440p": (2560, 1440),
    "2160p": (3840, 2160),
}
LEVELS = {
    "engine": "the engine alone: on a GPU, batches that stay there",
    "memory": "the whole pipeline, from pictures in memory to nowhere",
    "file": "decode, paint and encode, from an H.264 file to another",
    "live": "a camera of 30 pictures a second, the newest picture wins",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is stylized, with what, at which size in pixels and for how long.

    It is measured for `seconds` after `burn_in` seconds that do not count. With `frames`, a case of
    the levels "memory" and "file" ends after that many frames. Raises `UsageError` for what is
    invalid.
    """

    level: str
    style: str
    width: int
    height: int
    engine: str = "auto"
    batch: int = 1
    precision: str = "auto"
    threads: int | None = None
    seconds: float = 5.0
    burn_in: float = 1.0
    frames: int | None = None

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise UsageError(f"There is no level {self.level!r}; use {', '.join(LEVELS)}.")
        if self.precision not in PRECISIONS:
            raise UsageError(
                f"There is no precision {self.precision!r}; use {', '.join(PRECISIONS)}."
            )
        if not self.style.isprintable() or len(self.style) > 4000:
            raise UsageError("A style is measured by a name that prints.")
        if not 0 < self.seconds < 1e5:
            raise UsageError(f"A case is measured for more than 0 seconds, not {self.seconds}.")
        if min(self.width, self.height, self.batch) < 1:
            raise UsageError(
                f"A size and a batch are at least 1, not {self.size} with batch {self.batch}."
            )
        if self.batch > 1 and self.level != "engine":
            raise UsageError("The pipeline paints one picture at a time; only the engine batches.")

    @property
    def size(self) -> str:
        """The size as people write it."""
        return f"{self.width}x{self.height}"

    @property
    def profile(self) -> str:
        """All that decides the speed but the size."""
        parts = [self.level, self.style, self.engine]
        parts += [self.precision] if self.precision != "auto" else []
        parts += [f"batch {self.batch}"] if self.batch > 1 else []
        parts += [f"{self.threads} threads"] if self.threads else []
        return " / ".join(parts)

    def __str__(self) -> str:
        length = f" / {self.frames} frames" if self.frames else ""
        return f"{self.profile} / {self.size}{length}"


def parse_size(text: str) -> tuple[int, int]:
    """ "720p" or "1280x720" as (width, height) in pixels. Raises `UsageError`."""
    if text in SIZES:
        return SIZES[text]
    if not (match := re.fullmatch(r"(\d{1,5})[x×](\d{1,5})", text)):
        raise UsageError(f"A size is {', '.join(SIZES)} or such as 1280x720, not {text!r}.")
    return int(match[1]), int(match[2])


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a user asks to be measured; every combination is. `precisions` are by default those
    that an engine is used with."""

    styles: Sequence[str]
    engines: Sequence[str]
    sizes: Sequence[str]
    levels: Sequence[str] = tuple(LEVELS)
    batches: Sequence[int] = (1,)
    precisions: Sequence[str] = ()
    threads: int | None = None
    seconds: float = 5.0
    burn_in: float = 1.0


QUICK = Wanted(
    styles=("starry_night",), engines=("auto",), sizes=("360p", "720p"), seconds=2.0, burn_in=0.5
)
QUICK_S = 54.0  # that a quick run may take


def plan_cases(wanted: Wanted) -> list[Case]:
    """Every case of `wanted`, small sizes first, so that a run that ends early has the most.

    Live painting is measured at the smallest size, batches by the engine alone.
    """
    sizes = sorted(
        {parse_size(text): None for text in wanted.sizes}, key=lambda s: (s[0] * s[1], s)
    )
    return [
        Case(
            level=level, style=style, engine=engine, width=size[0], height=size[1], batch=batch,
            precision=precision, threads=wanted.threads, seconds=wanted.seconds,
            burn_in=wanted.burn_in,
        )
        for size in sizes
        for style in wanted.styles
        for engine in wanted.engines
        for level in wanted.levels
        for precision in wanted.precisions or _usual_precisions(level, engine)
        for batch in wanted.batches
        if (batch == 1 or level == "engine") and (level != "live" or size == sizes[0])
    ]  # fmt: skip


def _usual_precisions(level: str, engine: str) -> tuple[str, ...]:
    if level == "live":
        return ("fastest",)
    row = ENGINES.get(engine)
    return ("auto", "fastest") if row is not None and row.faster_in_int8 else ("auto",)
