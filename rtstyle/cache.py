"""A folder of results that take a while to make again and may be deleted at any time."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_log = logging.getLogger("rtstyle")


def cache_folder() -> Path:
    """The user's: $RTSTYLE_CACHE, or the platform's place for caches."""
    if chosen := os.environ.get("RTSTYLE_CACHE"):
        return Path(chosen)
    home = Path.home()
    if sys.platform == "win32":
        local = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
        return local / "rtstyle" / "cache"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "rtstyle"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "rtstyle"


def cached(
    key: str, shape: tuple[int, ...], make: Callable[[], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """The array kept under `key`, a file name, or what `make` gives, which is then kept.

    A damaged file is made again, and a folder that cannot be written is no error.
    """
    path = cache_folder() / key
    kept = _read(path, shape)
    if kept is None:
        kept = make()
        _write(path, kept)
    return kept


def _read(path: Path, shape: tuple[int, ...]) -> NDArray[np.float32] | None:
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, values = content[:32], content[32:]
    if len(values) != 4 * np.prod(shape) or hashlib.sha256(values).digest() != digest:
        _log.info("%s is damaged and made again.", path)
        return None
    return np.frombuffer(values, "<f4").astype(np.float32).reshape(shape)


def _write(path: Path, array: NDArray[np.float32]) -> None:
    values = array.astype("<f4").tobytes()
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.write_bytes(hashlib.sha256(values).digest() + values)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        _log.info("Nothing is kept in %s: %s", path.parent, error.strerror or error)
