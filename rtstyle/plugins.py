"""Rows that other packages add to the tables of engines, sources and sinks, by entry points."""

from __future__ import annotations

import logging
from importlib.metadata import entry_points
from typing import TypeVar

Row = TypeVar("Row")
_log = logging.getLogger("rtstyle")
_asked: set[str] = set()


def add_rows(table: dict[str, Row], group: str, kind: type[Row]) -> None:
    """Put the rows of installed packages before those of `table`, as the first that fits counts.

    An entry point of `group` names a `kind`; its own name is the row's. One that cannot be loaded,
    is of another kind or has a name that is taken is left out with a warning. Packages are looked
    for once a process, when a table is first asked, so that `--help` does not wait for them.
    """
    if group in _asked:
        return
    _asked.add(group)
    found: dict[str, Row] = {}
    for point in sorted(entry_points(group=group), key=lambda point: point.name):
        try:
            row = point.load()
        except Exception as error:  # whatever somebody else's module does
            problem = f"cannot be loaded ({type(error).__name__}: {error})"
        else:
            if isinstance(row, kind) and point.name not in table:
                found[point.name] = row
                continue
            problem = (
                f"is a {type(row).__name__}, where a {kind.__name__} is expected"
                if not isinstance(row, kind)
                else f"has the name {point.name!r}, which rtstyle uses itself"
            )
        _log.warning("The plugin %s of %s is left out: it %s.", point.value, group, problem)
    others = dict(table)
    table.clear()
    table.update(found | others)
