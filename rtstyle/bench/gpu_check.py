"""Whether the engines of this machine's GPU work, and how fast: what `rtstyle gpu-check` runs.

Each engine is checked by a process of its own, `python -m rtstyle.bench.gpu_check ENGINE PLAN
FILE`, which writes a row a line: a driver that crashes takes one engine's checks with it, not the
run.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from rtstyle.bench.gpu_engine_checks import CHECKS, AbsentError, Figures, Plan, Subject
from rtstyle.bench.gpu_media_checks import MEDIA_CHECKS
from rtstyle.bench.result import ABSENT, FAIL, PASS, Check, Missing, build, one_line
from rtstyle.bench.runner import Outcome, run_process
from rtstyle.engines import ENGINES, EngineOptions, open_engine
from rtstyle.engines.registry import load_engine_class
from rtstyle.errors import EngineError, RtstyleError
from rtstyle.style.parse import find_style

MEDIA = "media"  # in the place of an engine: decoding and encoding


def check_engine(name: str, plan: Plan) -> Iterator[Check]:
    """Every row of one engine, or of "media". Never raises for what an engine does."""
    if name == MEDIA:
        for check, look in MEDIA_CHECKS.items():
            yield run_check(name, check, lambda look=look: look(plan))  # type: ignore[misc]
        return
    model = find_style(plan.styles[0]).model
    program = model.path.with_suffix(".trt.pt2")
    try:
        load_engine_class(name).version()
        if name == "torch-tensorrt" and not program.is_file():
            raise EngineError(f"{program.name} is to be compiled first, as docs/gpu.md says.")
    except (EngineError, OSError) as error:
        yield Check(name, "start", ABSENT, one_line(str(error)))
        return
    begin = perf_counter()
    try:
        engine = open_engine(EngineOptions(name=name, devices=(plan.device,)), model)
    except Exception as error:  # of any library: a row says it
        yield Check(name, "start", FAIL, one_line(str(error) or type(error).__name__))
        return
    yield Check(name, "start", PASS, engine.device, {"seconds": round(perf_counter() - begin, 2)})
    with engine:
        subject = Subject(engine, plan)
        for check, run in CHECKS.items():
            yield run_check(name, check, lambda run=run: run(subject))  # type: ignore[misc]


def run_check(engine: str, check: str, run: Callable[[], Figures]) -> Check:
    """The row that `run` makes, whatever it raises."""
    try:
        return Check(engine, check, PASS, figures=run())
    except AbsentError as error:
        return Check(engine, check, ABSENT, one_line(str(error)))
    except Exception as error:  # of any library: a row says it
        return Check(engine, check, FAIL, one_line(str(error) or type(error).__name__))


def check_in_process(name: str, plan: Plan, limit_s: float = 900.0) -> list[Check]:
    """As `check_engine`, in a new process; how that ended is a row when it did not end well."""
    with TemporaryDirectory(prefix="rtstyle-check-") as folder:
        result = Path(folder) / "rows"
        arguments = [name, json.dumps(asdict(plan)), str(result)]
        problem = run_process("rtstyle.bench.gpu_check", arguments, limit_s)
        text = result.read_text(encoding="utf-8") if result.exists() else ""
    lines = [line for line in text.splitlines() if line]
    done = lines.pop() == "done" if lines and lines[-1] == "done" else False
    rows = [build(Check, json.loads(line)) for line in lines]
    if not done:
        after = f" after {rows[-1].check!r}" if rows else ""
        rows.append(Check(name, "process", FAIL, one_line(f"{problem}{after}")))
    return rows


def engines_to_check(names: Sequence[str] = ()) -> list[str]:
    """The engines for GPUs, or those of `names`, then "media"."""
    return [*(names or [name for name, row in ENGINES.items() if row.runs_on_gpu]), MEDIA]


def speed_row(outcome: Outcome) -> Check:
    """A measured case as a row."""
    if isinstance(outcome, Missing):
        engine = outcome.what.split(" / ")[2]
        return Check(engine, f"speed {outcome.what.rpartition(' / ')[2]}", FAIL, outcome.reason)
    figures = {
        "fps": outcome.fps, "p50_ms": outcome.latency_ms.p50, "p95_ms": outcome.latency_ms.p95,
        "p99_ms": outcome.latency_ms.p99, "sm_mhz": outcome.sm_mhz, "celsius": outcome.celsius,
        "watts": outcome.watts, "memory_mb": outcome.gpu_memory_mb,
    }  # fmt: skip
    missing = sorted({r for f, r in outcome.unmeasured.items() if figures.get(f, 0) is None})
    return Check(
        outcome.engine, f"speed {outcome.case.size}", PASS, "; ".join(missing),
        {name: figure for name, figure in figures.items() if figure is not None},
    )  # fmt: skip


def main(name: str, plan_json: str, result_file: str) -> None:
    """Write the rows of one engine, each as soon as it is known, then "done"."""
    data = json.loads(plan_json)
    plan = Plan(**data | {"styles": tuple(data["styles"]), "size": tuple(data["size"])})
    with open(result_file, "w", encoding="utf-8", buffering=1) as file:
        try:
            for row in check_engine(name, plan):
                file.write(json.dumps(asdict(row)) + "\n")
        except RtstyleError as error:  # a style that cannot be found, a disk that is full
            file.write(
                json.dumps(asdict(Check(name, "process", FAIL, one_line(str(error))))) + "\n"
            )
        file.write("done\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
