"""`rtstyle bench`: how fast painting is here."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from rtstyle.cli.options import Overwrite, TerminalChoice, Threads
from rtstyle.errors import OutputError, RtstyleError, UsageError

if TYPE_CHECKING:
    from rtstyle.bench.document import Document
    from rtstyle.bench.runner import Outcome

Some = list[str] | None
_INTERRUPTED = 130


def bench(
    quick: Annotated[
        bool, Option("--quick", help="Two sizes by one engine; over within a minute.")
    ] = False,
    styles: Annotated[
        Some, Option("--style", "-s", metavar="NAME|MODEL.onnx", help="May be repeated.")
    ] = None,
    engines: Annotated[
        Some, Option("--engine", help="May be repeated; by default every one that works.")
    ] = None,
    sizes: Annotated[
        Some, Option("--size", metavar="720p|1280x720", help="May be repeated.")
    ] = None,
    levels: Annotated[
        Some, Option("--level", metavar="engine|memory|file|live", help="May be repeated.")
    ] = None,
    batches: Annotated[
        list[int] | None, Option("--batch", min=1, help="Of the engine; may be repeated.")
    ] = None,
    seconds: Annotated[float | None, Option(help="Measured for each case; 5 by default.")] = None,
    limit: Annotated[float, Option(help="Seconds after which a case is given up.")] = 600.0,
    precision: Annotated[
        list[str] | None,
        Option(
            help="auto, fastest, fp32, fp16 or int8; may be repeated. By default auto, for live "
            "fastest, and both for engines that are faster in INT8."
        ),
    ] = None,
    threads: Threads = None,
    json_file: Annotated[Path | None, Option("--json", help="Write all figures.")] = None,
    markdown_file: Annotated[
        Path | None, Option("--markdown", help="Write the table as Markdown.")
    ] = None,
    html_file: Annotated[Path | None, Option("--html", help="Write a page with plots.")] = None,
    overwrite: Overwrite = False,
    *,
    terminal: TerminalChoice,
) -> None:
    """Measure how fast painting is here, by engine, size and level.

    Levels: the engine alone; the whole pipeline in memory; from video file to video file; live
    with its latency. Every figure stands beside how far the painting is from the reference.
    """
    from rich.console import Console

    from rtstyle.bench.case import QUICK, QUICK_S, SIZES, Wanted, plan_cases
    from rtstyle.bench.document import Document, write_text
    from rtstyle.bench.machine import this_machine
    from rtstyle.bench.page import html_page
    from rtstyle.bench.plots import check_plotting
    from rtstyle.bench.result import Missing
    from rtstyle.bench.runner import run_cases
    from rtstyle.bench.table import markdown, print_table
    from rtstyle.files import check_output
    from rtstyle.style.parse import find_style

    for path in (json_file, markdown_file, html_file):
        if path is not None:
            check_output(path, overwrite=overwrite)
    if html_file is not None:
        check_plotting()
    if not limit > 0:
        raise UsageError(f"A case is given up after more than 0 seconds, not {limit}.")
    working, absent_engines = ([], []) if quick or engines else _engines()
    usual = QUICK if quick else Wanted(styles=QUICK.styles, engines=working, sizes=tuple(SIZES))
    wanted = replace(
        usual, styles=styles or usual.styles, engines=engines or usual.engines,
        sizes=sizes or usual.sizes, levels=levels or usual.levels, batches=batches or [1],
        precisions=precision or [], threads=threads,
        seconds=usual.seconds if seconds is None else seconds,
    )  # fmt: skip
    cases = plan_cases(wanted)
    if not cases:
        raise UsageError("Nothing is left to measure; the pipeline takes --batch 1 only.")
    for style in wanted.styles:
        find_style(style)  # a wrong name fails now, not in every case
    machine, absent = this_machine(), [Missing(*engine) for engine in absent_engines]
    so_far: list[Outcome] = []

    def document() -> Document:
        return Document.of(machine, [*so_far, *absent])

    with terminal.progress("Measuring", "cases/s") as update:

        def known(outcome: Outcome) -> None:
            so_far.append(outcome)
            update(len(so_far), len(cases), "")
            if json_file is not None:  # whatever ends us, what was measured is kept
                with suppress(OutputError):  # raised at the end; measuring goes on
                    write_text(json_file, document().to_json(), overwrite=True)

        run = run_cases(cases, limit_s=limit, total_s=QUICK_S if quick else None, on_outcome=known)
    so_far[:] = run.outcomes
    done = document()
    if not terminal.quiet:
        print_table(done, Console())
    reports = [(json_file, Document.to_json), (markdown_file, markdown), (html_file, html_page)]
    problems = []
    for path, text in reports:
        try:
            if path is not None:
                write_text(path, text(done), overwrite=overwrite or path == json_file)
        except OutputError as error:
            problems.append(error)  # the others may lie on another disk
    if problems:
        if terminal.quiet:  # shown after all, or it would be lost
            print_table(done, Console())
        raise problems[0]
    if run.interrupted:
        raise typer.Exit(_INTERRUPTED)
    if not done.measured:
        raise RtstyleError(f"Nothing could be measured: {done.missing[0].reason}")


def _engines() -> tuple[list[str], list[tuple[str, str]]]:
    """The names of all engines that can be tried, and those that cannot with the reason."""
    from rtstyle.bench.result import one_line
    from rtstyle.engines import available_engines

    engines = available_engines()
    working = [info.name for info in engines if not info.problem and info.name != "identity"]
    return working, [(info.name, one_line(info.problem)) for info in engines if info.problem]
