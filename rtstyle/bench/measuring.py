"""One case measured in this process: its engine opened, timed, weighed and checked."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from rtstyle.bench.bottleneck import find_bottleneck
from rtstyle.bench.card import CardMeter
from rtstyle.bench.case import Case
from rtstyle.bench.levels import measure_level
from rtstyle.bench.parity import Parity, measure_parity
from rtstyle.bench.result import Measured, histogram, one_line, quantiles
from rtstyle.engines import EngineOptions, automatic, open_engine
from rtstyle.engines.base import Engine
from rtstyle.errors import EngineError, RtstyleError, UsageError
from rtstyle.style.parse import find_style
from rtstyle.style.style import Style


class OpeningError(EngineError):
    """The engine cannot be opened, so that none of its cases can be measured."""


def measure(case: Case) -> Measured:
    """Measure `case`. Raises `OpeningError`, and what engines, media and styles raise."""
    style = find_style(case.style)
    with CardMeter() as meter, _opened(case, style) as engine:
        timing = measure_level(case, engine, style, meter.begin)
        peak = peak_rss_mb()  # before the reference engine takes its own
    unmeasured = dict(meter.problems)
    if peak is None:
        unmeasured["peak_rss_mb"] = "the system does not tell it"
    parity = _parity(case, style)
    if isinstance(parity, str):
        unmeasured["parity"] = parity
    found = find_bottleneck(timing.stages_ms, fps=timing.fps) if timing.stages_ms else None
    if found is None:
        unmeasured["bottleneck"] = unmeasured["stages_ms"] = "the engine alone has no stages"
    told = parity if isinstance(parity, Parity) else None
    return Measured(
        case=case,
        engine=engine.name,
        engine_version=type(engine).version(),
        device=engine.device,
        model=engine.model.path.name,
        model_sha256=_sha256(engine.model.path),
        fps=round(timing.fps, 3),
        latency_of=timing.latency_of,
        latency_ms=quantiles(timing.latencies_ms),
        histogram=histogram(timing.latencies_ms),
        stages_ms=timing.stages_ms,
        bottleneck=str(found) if found else None,
        bottleneck_share=round(found.share, 3) if found else None,
        dropped=timing.dropped,
        peak_rss_mb=peak,
        gpu_memory_mb=meter.memory_mb,
        watts=meter.watts,
        parity_mean=told.mean if told else None,
        parity_worst=told.worst if told else None,
        parity_reference=told.reference if told else None,
        unmeasured={figure: one_line(reason) for figure, reason in unmeasured.items()},
    )


def peak_rss_mb() -> float | None:
    """The most memory that this process ever had resident, in MB; None where it is not told."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss would start from the peak of the process that forked
        told = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return round(int(told[0].split()[1]) * 1024 / 1e6, 1) if told else None
    if sys.platform == "darwin":
        import resource

        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 1)
    return None


def _opened(case: Case, style: Style) -> Engine:
    """The engine of the case. "auto" is the first that opens, not one that is replaced while it
    paints: the figures would be a mixture of two."""
    names = automatic() if case.engine == "auto" else (case.engine,)
    problems = []
    for name in names:
        try:
            options = EngineOptions(name=name, threads=case.threads, precision=case.precision)
            return open_engine(options, style.model)
        except UsageError:
            raise
        except RtstyleError as error:
            problems.append(str(error))
    raise OpeningError(" ".join(problems))


def _parity(case: Case, style: Style) -> Parity | str:
    """The difference from the reference, or why there is none. The engine is opened anew, which
    frees the sizes that were measured."""
    try:
        with _opened(case, style) as engine:
            return measure_parity(engine, style)
    except RtstyleError as error:
        return str(error)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
