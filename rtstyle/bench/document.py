"""The results as one JSON document: machine, catalogue of speeds, every figure, what is missing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rtstyle import __version__
from rtstyle.bench.machine import Machine
from rtstyle.bench.result import Measured, Missing
from rtstyle.bench.runner import Outcome, parse_measured
from rtstyle.errors import MediaError, OutputError
from rtstyle.media.partial import PartialFile

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Document:
    """All that a run gave. `made` is its time in UTC, ISO 8601."""

    machine: Machine
    measured: tuple[Measured, ...]
    missing: tuple[Missing, ...]
    app_version: str = __version__
    made: str = ""

    @classmethod
    def of(cls, machine: Machine, outcomes: Sequence[Outcome]) -> Document:
        """The document of a run that ends now."""
        return cls(
            machine,
            tuple(outcome for outcome in outcomes if isinstance(outcome, Measured)),
            tuple(outcome for outcome in outcomes if isinstance(outcome, Missing)),
            made=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def catalogue(self) -> dict[str, dict[str, float]]:
        """Frames a second by profile and size: `{profile: {"1280x720": 31.5}}`."""
        speeds: dict[str, dict[str, float]] = {}
        for row in self.measured:
            speeds.setdefault(row.profile, {})[row.case.size] = row.fps
        return speeds

    def to_json(self) -> str:
        """The document of schema version `SCHEMA`. `results` and `latencies` repeat the fewest
        figures that a catalogue of machines needs; `cases` has them all."""
        latencies: dict[str, dict[str, Any]] = {}
        for row in self.measured:
            told = {"of": row.latency_of, **asdict(row.latency_ms)}
            latencies.setdefault(row.profile, {})[row.case.size] = told
        document = {
            "schema": SCHEMA,
            "app": {"name": "rtstyle", "version": self.app_version},
            "made": self.made,
            "machine": {"key": self.machine.key, **asdict(self.machine)},
            "results": self.catalogue(),
            "latencies_ms": latencies,
            "cases": [asdict(row) for row in self.measured],
            "missing": [{"what": row.what, "reason": row.reason} for row in self.missing],
        }
        return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_document(path: Path) -> Document:
    """The document in the file at `path`. Raises `MediaError` when it is none of `SCHEMA`."""
    try:
        return parse_document(path.read_text(encoding="utf-8"), path)
    except OSError as error:
        raise MediaError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError:
        raise MediaError(f"{path} is no text and no result of `rtstyle bench`.") from None


def parse_document(text: str, path: Path) -> Document:
    """The document in `text`, which stands in `path`. Raises `MediaError`."""
    try:
        told = json.loads(text)
        version = told["schema"]
        if version != SCHEMA:
            raise MediaError(
                f"{path} has results of schema {version}; this rtstyle reads schema {SCHEMA}. "
                "Upgrade rtstyle, or measure again."
            )
        machine = dict(told["machine"])
        machine.pop("key", None)
        document = Document(
            Machine(**machine),
            tuple(parse_measured(row) for row in told["cases"]),
            tuple(Missing(row["what"], row["reason"]) for row in told["missing"]),
            told["app"]["version"],
            told["made"],
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        if isinstance(error, MediaError):
            raise
        raise MediaError(f"{path} is no result of `rtstyle bench` ({error!r:.80}).") from None
    slow = [str(row.case) for row in document.measured if not row.fps > 0]
    if slow:
        raise MediaError(f"{path} tells a speed of 0 or less for {slow[0]}; that is no figure.")
    return document


def write_text(path: Path, text: str, *, overwrite: bool) -> None:
    """Write a report under its name in one step. Raises `OutputError`, `OutputExistsError`."""
    file = PartialFile(path, overwrite=overwrite)
    try:
        file.temporary.write_text(text, encoding="utf-8")
        file.commit()
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        file.discard()
