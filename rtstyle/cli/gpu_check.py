"""`rtstyle gpu-check`: whether this machine's GPU works with every engine, and how fast it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from rtstyle.cli.options import Overwrite, TerminalChoice
from rtstyle.errors import UsageError

if TYPE_CHECKING:
    from rtstyle.bench.result import Check
    from rtstyle.bench.runner import Outcome

SPEED_SIZES = ((1280, 720), (1920, 1080))
SETTLE_S = 4.0  # until a GPU that rested has its clock


def gpu_check(
    engines: Annotated[
        list[str] | None, Option("--engine", help="May be repeated; all for GPUs by default.")
    ] = None,
    model: Annotated[str, Option(help="Whose styles are painted; a model's name.")] = "gallery",
    device: Annotated[int, Option(min=0, help="The GPU's number.")] = 0,
    size: Annotated[str, Option(metavar="1080p|1280x720", help="Of the checks.")] = "1080p",
    seconds: Annotated[float, Option(help="That each speed is measured.")] = 5.0,
    speed: Annotated[bool, Option("--speed/--no-speed", help="Measure speeds, too.")] = True,
    json_file: Annotated[Path | None, Option("--json", help="Write everything.")] = None,
    overwrite: Overwrite = False,
    *,
    terminal: TerminalChoice,
) -> None:
    """Check every engine for GPUs on this machine: PASS, FAIL or ABSENT, with the reason.

    Each must start, build, paint as the reference does, repeat itself, follow changes of style,
    strength and size while its graphs replay, survive a full memory and hide its copies; then its
    speed is measured. Exits 1 when anything fails, or nothing could be checked.
    """
    from rtstyle.bench.case import Case, parse_size
    from rtstyle.bench.document import Document, write_text
    from rtstyle.bench.gpu_check import check_in_process, engines_to_check, speed_row
    from rtstyle.bench.gpu_engine_checks import Plan
    from rtstyle.bench.machine import this_machine
    from rtstyle.bench.result import FAIL, PASS, Missing
    from rtstyle.bench.runner import run_cases
    from rtstyle.engines.registry import engine_row
    from rtstyle.files import check_output
    from rtstyle.model.zoo import find_models
    from rtstyle.style.style import styles_of

    if json_file is not None:
        check_output(json_file, overwrite=overwrite)
    if unfit := [name for name in engines or () if not engine_row(name).runs_on_gpu]:
        raise UsageError(f"The engine {unfit[0]} does not run on a GPU.")
    found = next((spec for spec in find_models() if spec.path.stem == model), None)
    if found is None or not found.styles:
        raise UsageError(f"There is no model {model!r} with styles; rtstyle styles lists them.")
    width, height = parse_size(size)
    styles = tuple(f"{model}:{style.name}" for style in styles_of(found))
    plan = Plan(styles=styles, size=(height, width), device=device)
    machine = this_machine()
    rows: list[Check] = []
    outcomes: list[Outcome] = []

    def keep() -> None:
        """Write what is known: whatever ends us, it is kept."""
        missing = [
            Missing(f"{row.engine} {row.check}", row.reason or "it was not measured")
            for row in rows
            if row.status != PASS and not row.check.startswith("speed")
        ]
        if json_file is not None:
            document = Document.of(machine, [*outcomes, *missing], rows)
            write_text(json_file, document.to_json(), overwrite=True)

    def add(row: Check) -> None:
        rows.append(row)
        figures = ", ".join(f"{name} {figure:g}" for name, figure in row.figures.items())
        said = "; ".join(part for part in (row.reason, figures) if part)
        terminal.result(f"{row.status:6} {row.engine:21} {row.check:20} {said}".rstrip())

    for name in engines_to_check(engines or ()):
        for row in check_in_process(name, plan):
            add(row)
        keep()
    started = [row.engine for row in rows if row.check == "start" and row.status == PASS]

    def measured(outcome: Outcome) -> None:
        outcomes.append(outcome)
        add(speed_row(outcome))
        keep()

    if speed:
        cases = [
            Case(
                level="engine", style=styles[0], engine=name, width=w, height=h, seconds=seconds,
                burn_in=SETTLE_S,
            )
            for name in started
            for w, h in SPEED_SIZES
        ]  # fmt: skip
        run_cases(cases, on_outcome=measured)
    counts = {status: sum(row.status == status for row in rows) for status in (PASS, FAIL)}
    terminal.result(f"{counts[PASS]} passed, {counts[FAIL]} failed, {len(rows)} checks.")
    if not started:
        terminal.result("Nothing could be checked: no engine for a GPU starts here.")
    if counts[FAIL] or not started:
        raise typer.Exit(1)
