"""The report on disk: quality.json, rewritten after every entry, and quality.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.quality.clips import Clip
from benchmarks.quality.entries import Entry
from benchmarks.quality.measure import Figure
from benchmarks.quality.remembered import write_json, write_text
from benchmarks.quality.tables import markdown
from rtstyle.errors import InputNotFoundError, UsageError

SCHEMA = 2


class Report:
    """Gathers entries and keeps both files in `folder` up to date."""

    def __init__(
        self, folder: Path, *, photographs: list[str], compared: int, clips: list[Clip]
    ) -> None:
        self._folder = folder
        self.document: dict[str, Any] = {
            "schema": SCHEMA,
            "photographs": photographs,
            "pareto_photographs": compared,
            "clips": {
                clip.name: {"frames": len(clip.frames), "warping_error_itself": clip.error()}
                for clip in clips
            },
            "entries": [],
        }

    def add(self, entry: Entry, figures: Figure) -> None:
        """Take the figures of an entry, and write both files anew. Raises `OutputError`."""
        model = entry.style.model
        self.document["entries"].append(
            {
                "label": entry.label,
                "group": entry.group,
                "against": entry.against,
                "model": model.path.name,
                "architecture": model.architecture,
                "style": entry.style.name,
                "painting": entry.painting,
                "style_size": entry.style_size,
                "figures": figures,
            }
        )
        self.write()

    def take_over(self, earlier: Path) -> None:
        """Add, from an earlier report on the same photographs and clips, the groups that this one
        has not. Their Pareto ratios may be those of more or fewer of the photographs, which their
        tables say. Their frames a second are left out: the machine may have been another.

        Raises `InputNotFoundError`, `UsageError` or `OutputError`.
        """
        try:
            document = json.loads(earlier.read_text(encoding="utf-8"))
            entries = list(document["entries"])
        except FileNotFoundError:
            raise InputNotFoundError(f"There is no report {earlier}.") from None
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise UsageError(f"{earlier} is no quality.json: {error}.") from None
        for key in ("schema", "photographs", "clips"):
            one, other = (one_document.get(key) for one_document in (document, self.document))
            if key == "clips":  # their own error differs by the machine's rounding
                one, other = ([*clips] for clips in (one or {}, other or {}))
            if one != other:
                raise UsageError(f"{earlier} has other {key} than this report; measure them anew.")
        own = {entry["group"] for entry in self.document["entries"]}
        for entry in entries:
            if entry["group"] not in own:
                kept = {k: v for k, v in entry["figures"].items() if not k.startswith("fps")}
                self.document["entries"].append(entry | {"figures": kept})
        self.write()

    def write(self) -> None:
        """Write both files. Raises `OutputError`."""
        write_json(self._folder / "quality.json", self.document)
        write_text(self._folder / "quality.md", markdown(self.document))
