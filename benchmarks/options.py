"""Command lines of the benchmarks: a dataclass of options that typer reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import typer

T = TypeVar("T")
SETTINGS: dict[str, Any] = {
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}


def parse(kind: type[T], argv: Sequence[str], *, program: str, about: str | None) -> T:
    """The options in `argv` as the dataclass `kind`, whose fields are annotated for typer.

    Raises `SystemExit` after --help, and for wrong options, with the usage on stderr.
    """
    app = typer.Typer(**SETTINGS)
    app.command(help=about)(kind)
    try:
        found = app(args=list(argv), prog_name=program, standalone_mode=False)
    except Exception as error:
        if not (show := getattr(error, "show", None)):
            raise
        show()
        raise SystemExit(getattr(error, "exit_code", 2)) from None
    if not isinstance(found, kind):
        raise SystemExit(found)
    return found
