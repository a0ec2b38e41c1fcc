"""The tables of docs/benchmark.md: what one machine gives, between marks that name it, and all
GPUs."""

from __future__ import annotations

import re
from collections.abc import Sequence

from benchmarks.markdown import plain, table_lines
from rtstyle.bench import Document, Measured
from rtstyle.bench.table import number
from rtstyle.engines.registry import ENGINES
from rtstyle.errors import MediaError

_MARKS = re.compile(
    r"<!-- speed: (?P<key>[a-z0-9-]+) -->\n(?P<table>.*?)<!-- speed ends -->\n", re.DOTALL
)
_GPU_MARKS = re.compile(r"<!-- gpus -->\n.*?<!-- gpus end -->\n", re.DOTALL)
_GPU_SIZES = ((1280, 720), (1920, 1080))
_NOBODY = "none"
_BOUNDED = {
    "engine": "the net's arithmetic",
    "memory": "the engine and what prepares and finishes pictures beside it",
    "file": "the same, with decoding and encoding on the same cores",
    "live": "the camera's 30 a second, where the engine keeps up",
}


def machine_in(page: str) -> str | None:
    """The key of the machine that the page shows; None while it shows none.

    Raises `MediaError` without the marks.
    """
    key = _found(page)["key"]
    return None if key == _NOBODY else key


def with_table(page: str, key: str | None, document: Document | None) -> str:
    """The page with the table of `document`. Raises `MediaError` without the marks."""
    found = _found(page)
    body = "\n".join(table(document) if document else ["Not measured yet."])
    marked = f"<!-- speed: {key or _NOBODY} -->\n{body}\n<!-- speed ends -->\n"
    return page[: found.start()] + marked + page[found.end() :]


def with_gpus(page: str, documents: Sequence[Document]) -> str:
    """The page with the engines of every GPU among `documents`, alone, as `rtstyle gpu-check`
    measures them. Raises `MediaError` without the marks."""
    if not (found := _GPU_MARKS.search(page)):
        raise MediaError(
            "The page has no place for GPUs: a line `<!-- gpus -->` and `<!-- gpus end -->`."
        )
    groups: dict[tuple[str, str, str], dict[tuple[int, int], Measured]] = {}
    for document in documents:
        for row in document.measured:
            if document.machine.gpu and row.case.level == "engine" and _runs_on_gpu(row.engine):
                key = f"{document.machine.gpu}, driver {document.machine.driver}", row.case.style
                size = row.case.width, row.case.height
                groups.setdefault((*key, f"{row.engine} {row.precision or ''}"), {})[size] = row
    lines = ["Not measured yet: no GPU was at hand. One `gpu.json` fills the table."]
    if groups:
        sizes = [f"{width}×{height}" for width, height in _GPU_SIZES]
        columns = ("GPU", "style", "engine", *sizes, "p95 ms", "W", "MHz", "°C", "off by")
        cells = [(*key, *_gpu_cells(found)) for key, found in groups.items()]
        lines = [
            *table_lines(columns, cells),
            "",
            "Frames a second of the engine alone, with pictures that stay on the GPU; p95 and what",
            f"follows at {sizes[-1]}, “off by” against the reference engine in grey levels.",
        ]
    body = "\n".join(("<!-- gpus -->", *lines, "<!-- gpus end -->", ""))
    return page[: found.start()] + body + page[found.end() :]


def _gpu_cells(found: dict[tuple[int, int], Measured]) -> list[str]:
    speeds = [number(found[size].fps if size in found else None) for size in _GPU_SIZES]
    if (row := found.get(_GPU_SIZES[-1])) is None:
        return [*speeds, *["–"] * 5]
    figures = (row.latency_ms.p95, row.watts, row.sm_mhz, row.celsius)
    return [*speeds, *map(number, figures), number(row.parity_mean, 2)]


def _runs_on_gpu(engine: str) -> bool:
    return engine in ENGINES and ENGINES[engine].runs_on_gpu


def table(document: Document) -> list[str]:
    """Frames a second, a row for each level and engine, a column for each size; then the sentences
    that belong to the figures."""
    rows = document.measured
    sizes = sorted({(row.case.width, row.case.height) for row in rows}, key=lambda s: s[0] * s[1])
    groups: dict[tuple[str, str], list[Measured]] = {}
    for row in rows:
        engine = row.profile.split(" / ", 2)[2]
        groups.setdefault((row.case.level, engine), []).append(row)
    columns = ["level", "engine", *(f"{w}×{h}" for w, h in sizes), "p95 ms", "off by"]
    cells = [_cells(level, engine, found, sizes) for (level, engine), found in groups.items()]
    smallest = min(sizes, key=lambda size: size[0] * size[1])
    styles = ", ".join(sorted({row.case.style for row in rows}))
    bounds = "; ".join(
        f"{level}: {_BOUNDED[level]}" for level in dict.fromkeys(row.case.level for row in rows)
    )
    missing, chosen = len(document.missing), {row.case.precision for row in rows}
    return [
        f"Frames a second of the style {plain(styles)} on {plain(str(document.machine))}, "
        f"rtstyle {plain(document.app_version)}, {plain(document.made[:10])}:",
        "",
        *table_lines(columns, cells),
        "",
        f"p95 is the latency at {smallest[0]}×{smallest[1]} that 95% stay below; “off by” the mean "
        f"difference from the reference engine in grey levels. What bounds them: {bounds}."
        + (" “fastest” paints with the INT8 file." if "fastest" in chosen else "")
        + (f" {missing} cases could not be measured here; the result says why." if missing else ""),
    ]


def _cells(
    level: str, engine: str, found: Sequence[Measured], sizes: Sequence[tuple[int, int]]
) -> list[str]:
    by_size = {(row.case.width, row.case.height): row for row in found}
    first = by_size.get(sizes[0])
    off = [row.parity_mean for row in found if row.parity_mean is not None]
    return [
        level,
        engine,
        *(number(by_size[size].fps if size in by_size else None) for size in sizes),
        number(first.latency_ms.p95 if first else None),
        number(max(off) if off else None, 2),
    ]


def _found(page: str) -> re.Match[str]:
    if not (found := _MARKS.search(page)):
        raise MediaError(
            "The page has no place for the table: a line `<!-- speed: none -->` and a line "
            "`<!-- speed ends -->`."
        )
    return found
