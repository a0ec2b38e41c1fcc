"""The error tree: every error rtstyle raises on purpose, each also the builtin it specialises.

A message says what was expected, what was got and what to do. The command line prints the
message alone; `UsageError` ends with exit status 2, every other one with 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any


class RtstyleError(Exception):
    """Base of everything that rtstyle raises on purpose."""


class UsageError(RtstyleError, ValueError):
    """An argument that cannot be right, whatever the files hold."""


class StyleNotFoundError(UsageError, LookupError):
    """No shipped or user style has this name."""


class InputNotFoundError(RtstyleError, FileNotFoundError):
    """The input path names nothing."""


class MediaError(RtstyleError, ValueError):
    """A file that is not the medium it should be, or is damaged."""


class OutputError(RtstyleError, OSError):
    """The output cannot be created or written."""


class OutputExistsError(UsageError, FileExistsError):
    """The output is there already and overwriting was not asked for."""


class ModelError(RtstyleError, ValueError):
    """A model file or checkpoint that does not keep the contract."""


class EngineError(RtstyleError, RuntimeError):
    """An engine that is missing, cannot load a model or fails on a frame."""


class ClusterError(RtstyleError, RuntimeError):
    """Ray is missing, does not answer, or has lost its workers."""


class TrainingError(RtstyleError, RuntimeError):
    """Training that cannot start or go on."""


class MissingExtraError(RtstyleError, ImportError):
    """A library that only some commands need is not installed."""


@contextmanager
def needs_extra(extra: str, what: str) -> Iterator[None]:
    """Within it, an import that fails raises `MissingExtraError`: what needs which library, and how
    to install it."""
    try:
        yield
    except ImportError as error:
        library = (error.name or "a library").partition(".")[0]
        missing = isinstance(error, ModuleNotFoundError)
        why = "is not installed" if missing else f"cannot be loaded ({error})"
        raise MissingExtraError(
            f"{what} needs {library}, which {why}: {install_line(extra)}."
        ) from error


def install_line(extra: str) -> str:
    """How to install an extra, wherever rtstyle itself came from."""
    return f"pip install 'rtstyle[{extra}]', in a clone pip install '.[{extra}]'"


def optional(module: str, what: str) -> Any:
    """The module, which needs the extra `live`. Raises `MissingExtraError`."""
    with needs_extra("live", what):
        return import_module(module)
