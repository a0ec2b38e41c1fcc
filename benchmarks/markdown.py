"""Untrusted text on a Markdown page, escaped so that it stays text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_MEANS_SOMETHING = re.compile(r"([\\`*\[\]<>|&~#!])")


def plain(text: str) -> str:
    """`text` so that Markdown shows it as it is: no markup, no HTML, no picture, no link."""
    escaped = _MEANS_SOMETHING.sub(r"\\\1", " ".join(text.split()))
    # Pages also make links of bare addresses.
    return re.sub(r"(?i)www\.", "www&#46;", escaped.replace("://", "&#58;//").replace("@", "&#64;"))


def table_lines(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table with its names to the left and its figures to the right."""
    sides = ["---"] + ["--:"] * (len(columns) - 1)
    return [line(map(plain, columns)), line(sides), *(line(map(plain, row)) for row in rows)]


def line(cells: Iterable[str]) -> str:
    """One row of cells that are Markdown already."""
    return "| " + " | ".join(cells) + " |"
