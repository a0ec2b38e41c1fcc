"""Keeps what was measured, so that an interrupted or repeated report costs little."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rtstyle.files import write_output

METHOD = 1  # raise when a figure is measured in another way: nothing older is taken then


class Remembered:
    """Results in `folder`, one file each, found by everything that decides them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, kind: str, decides: list[Any], measure: Callable[[], Any]) -> Any:
        """What `measure` returned the first time for `decides`; both are plain JSON values."""
        text = json.dumps([METHOD, kind, *decides])
        path = self._folder / f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"
        if path.exists():
            return json.loads(path.read_text(encoding="utf-8"))
        result = measure()
        write_json(path, result)
        return result


def write_json(path: Path, document: Any) -> None:
    """Write `document` under its name in one step. Raises `OutputError`."""
    write_text(path, json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write `text` under its name in one step. Raises `OutputError`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_output(path, text.encode(), overwrite=True)


def file_key(path: Path) -> str:
    """Tells files apart by what is in them."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:24]
