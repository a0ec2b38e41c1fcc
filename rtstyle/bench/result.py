"""What measuring a case gave: figures, or the reason why there is none; read back strictly."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from rtstyle.bench.case import Case
from rtstyle.metrics import STAGES

# What works in one thread adds up; the three threads work at the same time.
PARTS = {
    "source": ("decode",),
    "engine": ("prepare", "paint"),
    "sink": ("finish", "encode"),
}
_BUSY = 0.6  # a part that rests more than this leaves cannot be what the others wait for
_BINS = 30
_MOST_WORDS = 1000  # characters of a reason


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Durations in milliseconds, and how many there were."""

    p50: float
    p95: float
    p99: float
    mean: float
    worst: float
    count: int

    def __post_init__(self) -> None:
        if not self.p50 <= self.p95 <= self.p99 <= self.worst or self.count < 1:
            raise ValueError(f"quantiles of at least 1 duration rise, unlike {self}")


@dataclass(frozen=True, slots=True)
class Histogram:
    """`counts[i]` durations lie between `edges_ms[i]` and `edges_ms[i + 1]`."""

    edges_ms: tuple[float, ...]
    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.counts or len(self.edges_ms) != len(self.counts) + 1:
            raise ValueError(
                f"{len(self.counts)} bins have {len(self.counts) + 1} edges, "
                f"not {len(self.edges_ms)}"
            )


@dataclass(frozen=True, slots=True)
class Measured:
    """The figures of one case. One that is None has its reason in `unmeasured`, by its name.

    `latency_ms` are quantiles of what `latency_of` says. `stages_ms` are busy times a frame;
    `bottleneck` names the part of the pipeline that decides the rate, busy for `bottleneck_share`
    of the time. `parity_mean` and `parity_worst` are grey levels between what is painted here and
    by the reference engine. Memory in MB (10⁶ bytes).
    """

    case: Case
    engine: str
    engine_version: str
    device: str
    model: str
    model_sha256: str
    fps: float
    latency_of: str
    latency_ms: Quantiles
    histogram: Histogram
    precision: str | None = None  # of the arithmetic that ran
    stages_ms: dict[str, float] = field(default_factory=dict)
    bottleneck: str | None = None
    bottleneck_share: float | None = None
    dropped: int | None = None
    peak_rss_mb: float | None = None
    gpu_memory_mb: float | None = None
    watts: float | None = None
    sm_mhz: float | None = None  # lowest clock of the GPU's processors
    celsius: float | None = None
    parity_mean: float | None = None
    parity_worst: int | None = None
    parity_reference: str | None = None
    unmeasured: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.fps > 0:
            raise ValueError(f"{self.fps} frames a second are no figure")
        if unknown := set(self.stages_ms) - set(STAGES):
            raise ValueError(f"there is no stage {min(unknown)!r:.40}")

    @property
    def profile(self) -> str:
        """All that decides the speed but the size, with the engine that "auto" stood for."""
        return replace(self.case, engine=self.engine).profile


@dataclass(frozen=True, slots=True)
class Missing:
    """What was to be measured and was not, and why. `opening`: nothing by that engine can be."""

    what: str
    reason: str
    opening: bool = False


PASS, FAIL, ABSENT = "PASS", "FAIL", "ABSENT"


@dataclass(frozen=True, slots=True)
class Check:
    """One check of one engine for GPUs: PASS, FAIL or ABSENT, the reason, and what was measured."""

    engine: str
    check: str
    status: str
    reason: str = ""
    figures: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.status not in (PASS, FAIL, ABSENT):
            raise ValueError(f"there is no status {self.status!r:.40}")


def one_line(reason: str) -> str:
    """What a library said as one line that prints and is not endless."""
    line = " ".join(reason.split())
    return "".join(c if c.isprintable() else "?" for c in line)[:_MOST_WORDS]


def quantiles(durations_ms: Sequence[float]) -> Quantiles:
    """The quantiles of at least one duration."""
    p50, p95, p99 = np.percentile(durations_ms, (50, 95, 99)).round(3).tolist()
    return Quantiles(
        p50, p95, p99, round(float(np.mean(durations_ms)), 3), round(max(durations_ms), 3),
        len(durations_ms),
    )  # fmt: skip


def histogram(durations_ms: Sequence[float]) -> Histogram:
    """At least one duration in bins of equal width, the rare slowest 1% in the last one."""
    durations = np.asarray(durations_ms)
    counts, edges = np.histogram(durations.clip(max=np.percentile(durations, 99)), _BINS)
    return Histogram(tuple(edges.round(3).tolist()), tuple(counts.tolist()))


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


T = TypeVar("T")
MOST_TEXT = 4096  # characters of one text
MOST_ITEMS = 5000  # in one list or object
_LARGEST = 1e15  # of any number; there is no figure that large, and none below 0


def build(kind: type[T], value: object, where: str = "result") -> T:
    """`value`, as `json.loads` gave it, as a `kind`: a dataclass of texts, numbers, lists, objects
    and other such dataclasses.

    Raises `ValueError`, which says where what was found instead of what, for fields that are
    missing, unknown or of another type, for numbers that are negative, not finite or beyond
    reason, and for texts that are long or hold what does not print.
    """
    if not is_dataclass(kind) or not isinstance(value, dict):
        raise _refusal(where, "an object", value)
    hints = get_type_hints(kind)
    known = {known_field.name: known_field for known_field in fields(kind)}
    if unknown := set(map(str, value)) - set(known):
        raise ValueError(f"{where} has a field {min(unknown)[:40]!r} that is not known")
    values = {}
    for name, known_field in known.items():
        if name in value:
            values[name] = _value(hints[name], value[name], f"{where}.{name}")
        elif known_field.default is MISSING and known_field.default_factory is MISSING:
            raise ValueError(f"{where} lacks {name}")
    return kind(**values)


def text(value: object, where: str) -> str:
    """A text that is short enough and prints. Raises `ValueError`."""
    if not isinstance(value, str) or len(value) > MOST_TEXT or not value.isprintable():
        raise _refusal(where, f"a printable text of up to {MOST_TEXT} characters", value)
    return value


def items(value: object, where: str) -> list[Any]:
    """A list that is short enough. Raises `ValueError`."""
    if not isinstance(value, list) or len(value) > MOST_ITEMS:
        raise _refusal(where, f"a list of up to {MOST_ITEMS} items", value)
    return value


def _value(kind: Any, value: object, where: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        if value is None and NoneType in arguments:
            return None
        (kind,) = (one for one in arguments if one is not NoneType)
        return _value(kind, value, where)
    if kind is str:
        return text(value, where)
    if kind is bool:
        if not isinstance(value, bool):
            raise _refusal(where, "true or false", value)
        return value
    if kind in (int, float):
        return _number(kind, value, where)
    if origin is tuple:
        return tuple(
            _value(arguments[0], one, f"{where}[{place}]")
            for place, one in enumerate(items(value, where))
        )
    if origin is dict:
        if not isinstance(value, dict) or len(value) > MOST_ITEMS:
            raise _refusal(where, f"an object of up to {MOST_ITEMS} fields", value)
        return {
            text(name, where): _value(arguments[1], one, f"{where}.{name}")
            for name, one in value.items()
        }
    return build(kind, value, where)


def _number(kind: type, value: object, where: str) -> int | float:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if kind is int and not whole:
        raise _refusal(where, "a whole number", value)
    if not (whole or isinstance(value, float)):
        raise _refusal(where, "a number", value)
    assert isinstance(value, (int, float))
    if not math.isfinite(value) or not 0 <= value <= _LARGEST:
        raise _refusal(where, "a finite number from 0", value)
    return value


def _refusal(where: str, wanted: str, value: object) -> ValueError:
    return ValueError(f"{where[:80]} is {value!r:.40} where {wanted} is expected")
