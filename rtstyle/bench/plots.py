"""The plots of the page, as SVG elements that take the page's colour and font.

matplotlib draws them: its SVG weighs some ten kilobytes a plot, where a library that plots in the
browser would bring megabytes of its own. Each is narrow enough for a phone; the page puts them side
by side where there is room.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from io import StringIO
from typing import TYPE_CHECKING, Any

from rtstyle.bench.result import PARTS, Measured
from rtstyle.errors import RtstyleError, install_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH = 4.4  # inches
_MOST_NAME = 26  # characters
_INK = "#010203"  # stands for the page's own colour
_STAGES = {
    "decode": "#4477aa",
    "prepare": "#66ccee",
    "paint": "#228833",
    "finish": "#ccbb44",
    "encode": "#ee6677",
}
_ENGINES = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#999999")
_MARKS = "osD^vP*"
_SETTINGS = {
    "svg.fonttype": "none", "svg.hashsalt": "rtstyle", "text.parse_math": False,
    "font.family": "sans-serif", "font.size": 9, "text.color": _INK, "axes.labelcolor": _INK,
    "axes.edgecolor": _INK, "xtick.color": _INK, "ytick.color": _INK, "axes.spines.top": False,
    "axes.spines.right": False, "legend.frameon": False, "axes.titlesize": 10,
    "axes.titlelocation": "left",
}  # fmt: skip


def check_plotting() -> None:
    """Raises `RtstyleError` when there is nothing to plot with; asked before hours of measuring."""
    try:
        import_module("matplotlib")
    except ImportError:
        raise RtstyleError(
            f"The HTML page needs matplotlib, which is not installed: {install_line('bench')}. "
            "--json and --markdown need nothing."
        ) from None


def speed_plot(level: str, rows: Sequence[Measured]) -> str:
    """Frames a second by resolution, a line for each engine (and batch, and style)."""
    lines: dict[str, list[tuple[int, float]]] = {}
    heights = {row.case.width * row.case.height: f"{row.case.height}p" for row in rows}
    for row in rows:
        name = row.profile.partition(" / ")[2]
        lines.setdefault(name, []).append((row.case.width * row.case.height, row.fps))
    shared = f"{rows[0].case.style} / "
    if all(name.startswith(shared) for name in lines):
        lines = {name.removeprefix(shared): points for name, points in lines.items()}
    with _figure(3.4) as (figure, axes):
        for number, (name, points) in enumerate(lines.items()):
            pixels, fps = zip(*sorted(points), strict=True)
            axes.plot(
                pixels, fps, label=_brief(name), linewidth=1.6, markersize=5,
                color=_ENGINES[number % len(_ENGINES)], marker=_MARKS[number % len(_MARKS)],
            )  # fmt: skip
        axes.set(xscale="log", yscale="log", ylabel="frames a second", title=level)
        _label_sizes(axes, heights)
        axes.grid(visible=True, which="major", alpha=0.25)
        figure.legend(loc="outside lower center", ncols=2, fontsize=8)
        return _svg(figure, f"Frames a second of {level} by resolution")


def _label_sizes(axes: Axes, heights: dict[int, str]) -> None:
    from matplotlib.ticker import FixedLocator, LogLocator, NullFormatter, NullLocator

    axes.xaxis.set_major_locator(FixedLocator(list(heights)))
    axes.xaxis.set_major_formatter(lambda value, _: heights.get(round(value), ""))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def stage_plot(size: str, rows: Sequence[Measured]) -> str:
    """One bar a case of one size: the stages one after the other as a frame passes them, and the
    time between two frames at the rate reached as a mark."""
    with _figure(1.3 + 0.24 * len(rows)) as (figure, axes):
        for place, row in enumerate(rows):
            begin = 0.0
            for stage in (stage for stages in PARTS.values() for stage in stages):
                took = row.stages_ms.get(stage, 0.0)
                label = "" if place else stage
                axes.barh(place, took, left=begin, height=0.7, color=_STAGES[stage], label=label)
                begin += took
            axes.plot([1e3 / row.fps], [place], marker="|", markersize=11, color=_INK)
        axes.set_yticks(range(len(rows)), [_short(row) for row in rows])
        axes.invert_yaxis()
        axes.set(xlabel="milliseconds", title=size)
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside lower center", ncols=5, fontsize=8, columnspacing=0.9,
            handlelength=0.9, handletextpad=0.4,
        )  # fmt: skip
        return _svg(figure, f"Stages of a frame at {size}")


def latency_plot(row: Measured) -> str:
    """How often a latency was seen, with p50, p95 and p99 as lines."""
    with _figure(1.9) as (figure, axes):
        axes.stairs(row.histogram.counts, row.histogram.edges_ms, fill=True, color="#4477aa")
        times = row.latency_ms
        for value, colour, name in (
            (times.p50, _INK, "p50"),
            (times.p95, "#ccbb44", "p95"),
            (times.p99, "#ee6677", "p99"),
        ):
            axes.axvline(value, color=colour, linewidth=1.3, label=f"{name} {value:.4g} ms")
        axes.set_title(f"{_short(row)}, {row.case.size.replace('x', '×')}")
        axes.set_yticks([])
        figure.legend(
            loc="outside lower center", ncols=3, fontsize=8, columnspacing=1, handlelength=1
        )
        return _svg(figure, f"Latencies of {_short(row)}")


def _short(row: Measured) -> str:
    batch = f" ×{row.case.batch}" if row.case.batch > 1 else ""
    return f"{row.case.level}, {_brief(row.engine)}{batch}"


def _brief(name: str) -> str:
    """A name that leaves room for the plot."""
    return name if len(name) <= _MOST_NAME else f"{name[: _MOST_NAME - 1]}…"


@contextmanager
def _figure(height: float) -> Iterator[tuple[Figure, Axes]]:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    settings: Any = _SETTINGS
    with mpl.rc_context(settings):
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        yield figure, figure.subplots()


def _svg(figure: Figure, title: str) -> str:
    """The figure as an SVG element, with text as text and without what only a file needs."""
    out = StringIO()
    metadata = {"Date": None, "Creator": None, "Title": title}
    figure.savefig(out, format="svg", transparent=True, metadata=metadata)
    element = re.sub(r"^.*?(?=<svg)", "", out.getvalue(), flags=re.DOTALL)
    return element.replace(_INK, "currentColor").replace("<svg ", '<svg role="img" ', 1)
