"""The report on disk: quality.json, rewritten after every entry, and quality.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.quality.clips import Clip
from benchmarks.quality.entries import Entry
from benchmarks.quality.measure import Figure
from benchmarks.quality.remembered import write_json, write_text
from benchmarks.quality.tables import markdown

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

    def write(self) -> None:
        """Write both files. Raises `OutputError`."""
        write_json(self._folder / "quality.json", self.document)
        write_text(self._folder / "quality.md", markdown(self.document))
