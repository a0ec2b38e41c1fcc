"""The results for people: the same rows in the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rtstyle.bench.document import Document
from rtstyle.bench.result import Measured

HEADINGS = (
    "level", "style", "engine", "size", "fps", "p50 ms", "p95 ms", "p99 ms", "RSS MB", "GPU MB",
    "watts", "off by", "bottleneck",
)  # fmt: skip
_BUSY = 0.3  # cores: above it a figure is not the machine's own
TEXTS = {"level", "style", "engine", "size", "bottleneck"}  # read from the left


def cells(row: Measured) -> tuple[str, ...]:
    """One row; a figure that was not measured is a dash, never a zero."""
    case, times = row.case, row.latency_ms
    engine = f"{row.engine} {row.precision or case.precision.replace('auto', '')}".strip()
    engine += f" ×{case.batch}" if case.batch > 1 else ""
    engine += f" {case.threads}t" if case.threads else ""
    share = "" if row.bottleneck_share is None else f" {row.bottleneck_share:.0%}"
    named = row.bottleneck and row.bottleneck + ("" if row.bottleneck.startswith("none") else share)
    return (
        case.level, case.style, engine, case.size.replace("x", "×"), number(row.fps),
        number(times.p50), number(times.p95), number(times.p99), number(row.peak_rss_mb, 0),
        number(row.gpu_memory_mb, 0), number(row.watts), number(row.parity_mean, 2), named or "–",
    )  # fmt: skip


def number(value: float | None, digits: int = 1) -> str:
    """The number as it is printed; a dash for none. A small one keeps two digits that count."""
    if value is None:
        return "–"
    return f"{value:.{digits}f}" if digits == 0 or value >= 1 or not value else f"{value:.2g}"


def notes(document: Document) -> list[str]:
    """What the columns mean, the machine, and which figures are missing why, a sentence each."""
    styles = {f"{row.case.style} ({row.model})" for row in document.measured}
    lines = [f"Machine: {document.machine}. rtstyle {document.app_version}, {document.made}."]
    if document.machine.busy >= _BUSY:
        lines.append(
            f"Other programs kept {document.machine.busy:g} of {document.machine.cores} cores busy "
            "when it began: alone, it is faster than this."
        )
    lines += [f"Style: {', '.join(sorted(styles))}."] if styles else []
    meanings = {row.case.level: row.latency_of for row in document.measured}
    if meanings:
        meaning = "; ".join(f"{level}: {of}" for level, of in meanings.items())
        lines.append(f"Latencies are, for {meaning}.")
    if references := {row.parity_reference for row in document.measured} - {None}:
        lines.append(f"Off by: mean grey levels from {', '.join(map(str, sorted(references)))}.")  # type: ignore[type-var]
    reasons: dict[tuple[str, str], int] = {}
    for row in document.measured:
        for figure, reason in row.unmeasured.items():
            reasons[figure, reason] = reasons.get((figure, reason), 0) + 1
    lines += [
        f"No {figure} in {count} of {len(document.measured)} cases: {reason}."
        for (figure, reason), count in reasons.items()
        if "no stages" not in reason
    ]
    return lines


def print_table(document: Document, console: Console) -> None:
    """Print the table, then the notes, then what was not measured."""
    rows = [cells(row) for row in document.measured]
    # A terminal is narrow: no empty column, and none for a style that all rows share.
    shown = [
        place
        for place, heading in enumerate(HEADINGS)
        if {row[place] for row in rows} != {"–"}
        and (heading != "style" or len({row[place] for row in rows}) > 1)
    ]
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for place in shown:
        side: Literal["left", "right"] = "left" if HEADINGS[place] in TEXTS else "right"
        table.add_column(HEADINGS[place], justify=side, no_wrap=HEADINGS[place] != "bottleneck")
    for row in rows:
        table.add_row(*(escape(row[place]) for place in shown))
    if rows:
        console.print(table)
    for line in notes(document):
        console.print(escape(line), highlight=False)
    by_reason: dict[str, list[str]] = {}
    for missing in document.missing:
        by_reason.setdefault(missing.reason, []).append(missing.what)
    for reason, whats in by_reason.items():  # the reports list each one
        more = f" and {len(whats) - 1} more" if whats[1:] else ""
        console.print(escape(f"Not measured: {whats[0]}{more}: {reason}"), highlight=False)


def markdown(document: Document) -> str:
    """The same as Markdown."""
    lines = [
        "# What this machine gives",
        "",
        _line(HEADINGS),
        _line("---" if heading in TEXTS else "--:" for heading in HEADINGS),
        *(_line(cells(row)) for row in document.measured),
        "",
        *(f"- {line}" for line in notes(document)),
    ]
    if document.missing:
        lines += ["", "Not measured:", ""]
        lines += [f"- {missing.what}: {missing.reason}" for missing in document.missing]
    return "\n".join(lines) + "\n"


def _line(texts: Iterable[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"
