"""The results as one HTML page that needs no other file: tables, plots as SVG, no script."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from rtstyle.bench.case import LEVELS
from rtstyle.bench.document import Document
from rtstyle.bench.plots import check_plotting, latency_plot, speed_plot, stage_plot
from rtstyle.bench.result import Measured
from rtstyle.bench.table import HEADINGS, TEXTS, cells, notes, number

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --bold: #2a6f97 }
@media (prefers-color-scheme: dark) { :root { --bold: #7cc4ea } }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 76rem;
  padding: 1.5rem 1rem 4rem }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem }
h2 { font-size: 1.15rem; margin: 2.4rem 0 .6rem }
.facts { opacity: .75; margin: 0 0 1rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th { font-weight: 600; font-size: .85rem; vertical-align: bottom }
td, th { padding: .28rem .65rem; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap }
td.text, th.text { text-align: left }
tbody tr:nth-child(even) { background: var(--soft) }
tr.first td { border-top: 2px solid var(--line) }
b { color: var(--bold) }
small { display: block; opacity: .75; font-size: .75rem; line-height: 1.1 }
@media (max-width: 40rem) { td.text small { display: none } td, th { padding: .28rem .4rem } }
.wide { overflow-x: auto; -webkit-overflow-scrolling: touch }
.plots { display: grid; gap: 1.2rem; align-items: start;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 21rem), 1fr)) }
svg { width: 100%; max-width: 30rem; height: auto }
ul { padding-left: 1.2rem } li { margin: .15rem 0; overflow-wrap: anywhere }
summary { cursor: pointer; font-weight: 600 }
"""
_MOST_PLOTS = 12  # histograms; more would be a wall


def html_page(document: Document) -> str:
    """The page. Raises `RtstyleError` without matplotlib."""
    check_plotting()
    rows = document.measured
    missing = [f"{row.what}: {row.reason}" for row in document.missing]
    facts = f"rtstyle {document.app_version}, {document.made.replace('T', ' ')[:16]} UTC"
    parts = [
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>rtstyle bench: {escape(str(document.machine))}</title>",
        f"<style>{_STYLE}</style></head><body>",
        "<h1>What this machine gives</h1>",
        f'<p class="facts">{escape(str(document.machine))}<br>{escape(facts)}</p>',
        *(_glance(rows) + _plots(rows) + _table(rows) if rows else ["Nothing was measured."]),
        f"<h2>Not measured</h2>{_list(missing)}" if missing else "",
        f"<h2>What the figures mean</h2>{_list(_meanings(document))}" if rows else "",
        "</body></html>\n",
    ]
    return "\n".join(parts)


def _glance(rows: Sequence[Measured]) -> list[str]:
    """The fastest engine of each level and size, with how far off it paints."""
    sizes = sorted({(row.case.width, row.case.height) for row in rows}, key=lambda s: s[0] * s[1])
    levels = [level for level in LEVELS if any(row.case.level == level for row in rows)]
    head = "".join(f"<th>{height}p<small>{width}×{height}</small></th>" for width, height in sizes)
    body = ""
    for level in levels:
        body += f'<tr><td class="text">{level}<small>{escape(LEVELS[level])}</small></td>'
        for size in sizes:
            found = [
                row
                for row in rows
                if row.case.level == level and (row.case.width, row.case.height) == size
            ]
            best = max(found, key=lambda row: row.fps, default=None)
            body += (
                f"<td><b>{number(best.fps)}</b><small>{escape(best.engine)}</small>"
                f"<small>off by {number(best.parity_mean, 2)}</small></td>"
                if best
                else "<td>–</td>"
            )
        body += "</tr>\n"
    return [
        "<h2>The best frames a second</h2>",
        f'<div class="wide"><table><thead><tr><th class="text">level</th>{head}</tr></thead>',
        f"<tbody>{body}</tbody></table></div>",
        "<p>“Off by” is the mean difference from the reference engine in grey levels, of 255.</p>",
    ]


def _plots(rows: Sequence[Measured]) -> list[str]:
    by_level: dict[str, list[Measured]] = {}
    by_size: dict[str, list[Measured]] = {}
    for row in rows:
        by_level.setdefault(row.case.level, []).append(row)
        if row.stages_ms:
            by_size.setdefault(row.case.size.replace("x", "×"), []).append(row)
    parts = []
    if grown := {level: rows for level, rows in by_level.items() if _differ_in_size(rows)}:
        parts += [
            "<h2>Frames a second by resolution</h2>",
            _grid(speed_plot(level, found) for level, found in grown.items()),
        ]
    if by_size:
        parts += [
            "<h2>Where a frame's time goes</h2>",
            "<p>Stages as a frame passes them; those of different threads work at the same time. "
            "The upright mark is the time between two frames at the rate reached: the part that "
            "fills it is the bottleneck.</p>",
            _grid(stage_plot(size, found) for size, found in by_size.items()),
        ]
    shown = _telling(rows)
    left = len(rows) - len(shown)
    parts += ["<h2>Latencies</h2>", _grid(map(latency_plot, shown))]
    if left:
        parts.append(f"<p>The fastest engine's; {left} more cases are in the table.</p>")
    return parts


def _differ_in_size(rows: Sequence[Measured]) -> bool:
    return len({row.case.size for row in rows}) > 1


def _telling(rows: Sequence[Measured]) -> list[Measured]:
    """Of every level and size the fastest, as many as are shown."""
    best: dict[tuple[str, str], Measured] = {}
    for row in rows:
        place = (row.case.level, row.case.size)
        if place not in best or row.fps > best[place].fps:
            best[place] = row
    return list(best.values())[:_MOST_PLOTS]


def _table(rows: Sequence[Measured]) -> list[str]:
    """Every figure; empty columns, and the style where all rows share it, are left out."""
    texts = [cells(row) for row in rows]
    shown = [
        place
        for place, heading in enumerate(HEADINGS)
        if (values := {row[place] for row in texts}) != {"–"}
        and not (heading == "style" and len(values) == 1)
    ]
    kind = ['class="text"' if HEADINGS[place] in TEXTS else "" for place in range(len(HEADINGS))]
    head = "".join(f"<th {kind[place]}>{escape(HEADINGS[place])}</th>" for place in shown)
    body, size = "", ""
    for row, text in zip(rows, texts, strict=True):
        first = ' class="first"' if row.case.size != size else ""
        size = row.case.size
        body += f"<tr{first}>"
        body += "".join(f"<td {kind[place]}>{escape(text[place])}</td>" for place in shown)
        body += "</tr>\n"
    return [
        "<h2>Every figure</h2>",
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody>',
        "</table></div>",
    ]


def _meanings(document: Document) -> list[str]:
    levels = dict.fromkeys(row.case.level for row in document.measured)
    return [f"Level {level}: {LEVELS[level]}." for level in levels] + notes(document)[1:]


def _grid(plots: Iterable[str]) -> str:
    return '<div class="plots">' + "\n".join(f"<div>{plot}</div>" for plot in plots) + "</div>"


def _list(sentences: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(sentence)}</li>\n" for sentence in sentences) + "</ul>"
