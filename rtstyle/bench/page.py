"""The results as one HTML page that needs no other file: figures as SVG, no script.

matplotlib draws the plots: its SVG weighs some tens of kilobytes a page, where a library that
plots in the browser would bring megabytes of its own.
"""

from __future__ import annotations

import re
from html import escape
from importlib import import_module
from io import StringIO
from typing import TYPE_CHECKING, Any

from rtstyle.bench.bottleneck import PARTS
from rtstyle.bench.document import Document
from rtstyle.bench.result import Measured
from rtstyle.bench.table import HEADINGS, cells, notes
from rtstyle.errors import RtstyleError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem;
  color: #222; background: #fff }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
td, th { padding: .25rem .6rem; border-bottom: 1px solid #ddd; text-align: right;
  white-space: nowrap }
td:nth-child(-n+4), th:nth-child(-n+4), td:last-child, th:last-child { text-align: left }
.wide { overflow-x: auto }
svg { max-width: 100%; height: auto }
"""
_MOST_PLOTS = 12  # histograms; more would be a wall
_COLOURS = {
    "decode": "#4477aa", "prepare": "#66ccee", "paint": "#228833", "finish": "#ccbb44",
    "encode": "#ee6677",
}  # fmt: skip


def check_plotting() -> None:
    """Raises `RtstyleError` when there is nothing to plot with; asked before hours of measuring."""
    try:
        import_module("matplotlib")
    except ImportError:
        raise RtstyleError(
            "The HTML page needs matplotlib, which is not installed: pip install 'rtstyle[bench]'. "
            "--json and --markdown need nothing."
        ) from None


def html_page(document: Document) -> str:
    """The page. Raises `RtstyleError` without matplotlib."""
    check_plotting()
    heads = "".join(f"<th>{escape(heading)}</th>" for heading in HEADINGS)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells(row)) + "</tr>\n"
        for row in document.measured
    )
    missing = "".join(
        f"<li>{escape(row.what)}: {escape(row.reason)}</li>\n" for row in document.missing
    )
    parts = [
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>rtstyle bench: {escape(str(document.machine))}</title>",
        f"<style>{_STYLE}</style></head><body>",
        "<h1>What this machine gives</h1>",
        *(f"<p>{escape(line)}</p>" for line in notes(document)),
        f'<div class="wide"><table><tr>{heads}</tr>\n{rows}</table></div>',
        *_plots(document),
        f"<h2>Not measured</h2><ul>{missing}</ul>" if missing else "",
        "</body></html>\n",
    ]
    return "\n".join(parts)


def _plots(document: Document) -> list[str]:
    if not document.measured:
        return []
    staged = [row for row in document.measured if row.stages_ms]
    parts = ["<h2>Frames a second by resolution</h2>", _speeds(document)]
    if staged:
        parts += ["<h2>Where a frame's time goes</h2>", _waterfall(staged)]
    shown = document.measured[:_MOST_PLOTS]
    left = len(document.measured) - len(shown)
    parts += ["<h2>Latencies</h2>", _histograms(shown)]
    if left:
        parts.append(f"<p>{left} more cases are in the table.</p>")
    return parts


def _speeds(document: Document) -> str:
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    figure, (axes,) = _figure(1, height=4.2)
    for profile, speeds in document.catalogue().items():
        points = sorted(
            (w * h / 1e6, fps)
            for (w, h), fps in ((map(int, size.split("x")), fps) for size, fps in speeds.items())
        )
        axes.plot(*zip(*points, strict=True), marker="o", label=profile)
    axes.set(xscale="log", yscale="log", xlabel="pixels", ylabel="frames a second")
    sizes = sorted({(row.case.width, row.case.height) for row in document.measured})
    axes.xaxis.set_major_locator(FixedLocator([w * h / 1e6 for w, h in sizes]))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{w}×{h}" for w, h in sizes]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend(fontsize="small")
    return _svg(figure)


def _waterfall(rows: list[Measured]) -> str:
    """One bar a case: the stages one after the other as a frame passes them, and the frame's own
    time at the rate reached as a mark."""
    figure, (axes,) = _figure(1, height=1.2 + 0.45 * len(rows))
    for place, row in enumerate(rows):
        begin = 0.0
        for stage in (stage for stages in PARTS.values() for stage in stages):
            took = row.stages_ms.get(stage, 0.0)
            axes.barh(place, took, left=begin, color=_COLOURS[stage], label="" if place else stage)
            begin += took
        axes.plot([1e3 / row.fps], [place], marker="|", markersize=16, color="black")
    axes.set_yticks(range(len(rows)), [_name(row) for row in rows], fontsize="small")
    axes.invert_yaxis()
    axes.set_xlabel(
        "milliseconds; the black mark is the time between two frames at the fps reached"
    )
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, fontsize="small", ncols=5, loc="outside upper center")
    return _svg(figure)


def _histograms(rows: tuple[Measured, ...]) -> str:
    figure, all_axes = _figure(len(rows), columns=3, height=1.9 * -(-len(rows) // 3))
    for axes, row in zip(all_axes, rows, strict=True):
        axes.stairs(row.histogram.counts, row.histogram.edges_ms, fill=True, color="#4477aa")
        axes.axvline(row.latency_ms.p50, color="#222222", linewidth=1)
        axes.axvline(row.latency_ms.p95, color="#ee6677", linewidth=1)
        axes.set_title(_name(row), fontsize="x-small")
        axes.tick_params(labelsize="x-small")
        axes.set_xlabel("ms; black p50, red p95", fontsize="x-small")
    return _svg(figure)


def _name(row: Measured) -> str:
    return f"{row.case.level} {row.case.style} {row.engine} {row.case.size}"


def _figure(count: int, *, height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    rows = -(-count // columns)
    figure = Figure(figsize=(10, height), layout="constrained")
    grid: Any = figure.subplots(rows, columns, squeeze=False)
    flat: list[Axes] = list(grid.flat)
    for unused in flat[count:]:
        unused.set_axis_off()
    return figure, flat[:count]


def _svg(figure: Figure) -> str:
    """The figure as an SVG element, with text as text and without what only a file needs."""
    import matplotlib as mpl

    out = StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "rtstyle"}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return re.sub(r"^.*?(?=<svg)", "", out.getvalue(), flags=re.DOTALL)
