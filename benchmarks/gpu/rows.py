"""What is measured on a GPU, and how it is printed and written."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Row:
    """One net at one size. Rates are frames a second; None was not measured."""

    net: str
    size: str
    engine: str
    engine_fps: float
    pipeline_fps: float | None
    file_fps: float | None
    overlap: float | None  # pipeline fps / engine fps
    gflop: float  # of one frame
    roofline_fps: float | None  # the larger of arithmetic and memory traffic, per frame
    roofline_share: float | None
    idle_ms: float | None  # median gap between two graphs on the GPU, with all slots busy


@dataclass
class Report:
    """All rows, what was skipped and why, and the machine."""

    machine: dict[str, str]
    seconds: float = 0.0
    rows: list[Row] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def markdown(report: Report) -> str:
    """The report for a README."""
    lines = ["# What the GPU reaches", ""]
    lines += [f"- {name}: {value}" for name, value in report.machine.items()]
    lines += [
        "",
        "| net | size | engine | engine fps | pipeline fps | file fps | overlap | roofline |"
        " idle ms |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in report.rows:
        share = "–" if row.roofline_share is None else f"{row.roofline_share:.0%}"
        idle = "–" if row.idle_ms is None else f"{row.idle_ms:.3f}"
        overlap = "–" if row.overlap is None else f"{row.overlap:.0%}"
        lines.append(
            f"| {row.net} | {row.size} | {row.engine} | {row.engine_fps} | {row.pipeline_fps} | "
            f"{row.file_fps} | {overlap} | {share} | {idle} |"
        )
    if report.skipped:
        lines += ["", "Not measured:", "", *(f"- {reason}" for reason in report.skipped)]
    return "\n".join([*lines, "", f"Took {report.seconds:.0f} s.", ""])


def line(row: Row) -> str:
    """The row for the terminal."""
    share = "" if row.roofline_share is None else f", {row.roofline_share:.0%} of the roofline"
    idle = "" if row.idle_ms is None else f", idle {row.idle_ms:.3f} ms"
    return (
        f"{row.net} {row.size} {row.engine}: engine {row.engine_fps} fps, pipeline "
        f"{row.pipeline_fps}, file to file {row.file_fps}{share}{idle}"
    )
