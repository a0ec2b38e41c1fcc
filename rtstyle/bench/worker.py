"""A process that measures one case: `python -m rtstyle.bench.worker CASE_JSON RESULT_FILE`.

A process each, so that peak memory is the case's own, nothing is warm from the case before, and
a driver that crashes or a system that runs out of memory takes one case with it, not the run.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rtstyle.bench.case import Case
from rtstyle.bench.levels import measure_level
from rtstyle.bench.machine import GpuMeter
from rtstyle.bench.parity import Difference, measure_engine
from rtstyle.bench.result import Measured, find_bottleneck, histogram, one_line, quantiles
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
    with GpuMeter() as meter, _opened(case, style) as engine:
        timing = measure_level(case, engine, style, meter.begin)
        peak = peak_rss_mb()  # before the reference engine takes its own
    unmeasured = dict(meter.problems)
    if peak is None:
        unmeasured["peak_rss_mb"] = "the system does not report it"
    parity = _parity(case, style)
    if isinstance(parity, str):
        unmeasured["parity"] = parity
    found = find_bottleneck(timing.stages_ms, fps=timing.fps) if timing.stages_ms else None
    if found is None:
        unmeasured["bottleneck"] = unmeasured["stages_ms"] = "the engine alone has no stages"
    off, reference = parity if isinstance(parity, tuple) else (None, None)
    return Measured(
        case=case,
        engine=engine.name,
        engine_version=type(engine).version(),
        device=engine.device,
        precision=engine.precision,
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
        sm_mhz=meter.sm_mhz,
        celsius=meter.celsius,
        parity_mean=round(off.mean, 4) if off else None,
        parity_worst=off.worst if off else None,
        parity_reference=reference,
        unmeasured={figure: one_line(reason) for figure, reason in unmeasured.items()},
    )


def peak_rss_mb() -> float | None:
    """The peak resident memory of this process in MB; None where the system does not report it."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss would start from the peak of the process that forked
        lines = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return round(int(lines[0].split()[1]) * 1024 / 1e6, 1) if lines else None
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


def _parity(case: Case, style: Style) -> tuple[Difference, str] | str:
    """The difference from the reference, or why there is none. The engine is opened anew, which
    frees the sizes that were measured."""
    try:
        with _opened(case, style) as engine:
            return measure_engine(engine, style)
    except RtstyleError as error:
        return str(error)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main(case_json: str, result_file: str) -> None:
    """Write what was measured, or why nothing was, as JSON to `result_file`."""
    outcome: dict[str, Any]
    try:
        outcome = {"measured": asdict(measure(Case(**json.loads(case_json))))}
    except OpeningError as error:
        outcome = {"problem": str(error), "opening": True}
    except RtstyleError as error:
        outcome = {"problem": str(error)}
    except MemoryError:
        outcome = {"problem": "The memory of this machine does not suffice."}
    Path(result_file).write_text(json.dumps(outcome), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
