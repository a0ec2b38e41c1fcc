"""Libraries of the extra `live`, imported when asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from rtstyle.errors import RtstyleError


class MissingExtraError(RtstyleError, ImportError):
    """A library that only some commands need is not installed."""


def optional(module: str, what: str) -> Any:
    """The module, or `MissingExtraError` that says what it is for and how to install it."""
    try:
        return import_module(module)
    except ImportError as error:
        library = (error.name or module).partition(".")[0]
        missing = isinstance(error, ModuleNotFoundError)
        why = "is not installed" if missing else f"cannot be loaded ({error})"
        raise MissingExtraError(
            f"{what} needs {library}, which {why}: pip install 'rtstyle[live]'."
        ) from error
