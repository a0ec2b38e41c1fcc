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
from rtstyle.bench.result import Check, Measured, Missing, build, items, text
from rtstyle.bench.runner import Outcome
from rtstyle.errors import MediaError, RtstyleError
from rtstyle.files import write_output

SCHEMA = 1
_KEYS = {"reasons": "untold"}  # of fields of `Machine`, as schema 1 calls them
_FIELDS = {key: name for name, key in _KEYS.items()}
_MOST_BYTES = 8_000_000  # a run of every engine at every size has some hundred thousand


@dataclass(frozen=True, slots=True)
class Document:
    """All that a run gave, of `rtstyle gpu-check` also its `checks`. `made` is its time in UTC, ISO
    8601."""

    machine: Machine
    measured: tuple[Measured, ...]
    missing: tuple[Missing, ...]
    app_version: str = __version__
    made: str = ""
    checks: tuple[Check, ...] = ()

    @classmethod
    def of(
        cls, machine: Machine, outcomes: Sequence[Outcome], checks: Sequence[Check] = ()
    ) -> Document:
        """The document of a run that ends now."""
        return cls(
            machine,
            tuple(outcome for outcome in outcomes if isinstance(outcome, Measured)),
            tuple(outcome for outcome in outcomes if isinstance(outcome, Missing)),
            made=datetime.now(UTC).isoformat(timespec="seconds"),
            checks=tuple(checks),
        )

    def catalogue(self) -> dict[str, dict[str, float]]:
        """Frames a second by profile and size: `{profile: {"1280x720": 31.5}}`."""
        speeds: dict[str, dict[str, float]] = {}
        for row in self.measured:
            speeds.setdefault(row.profile, {})[row.case.size] = row.fps
        return speeds

    def to_json(self) -> str:
        """The document of schema version `SCHEMA`. `results` and `latencies` repeat the
        figures that a catalogue of machines needs; `cases` has all."""
        latencies: dict[str, dict[str, Any]] = {}
        for row in self.measured:
            data = {"of": row.latency_of, **asdict(row.latency_ms)}
            latencies.setdefault(row.profile, {})[row.case.size] = data
        document = {
            "schema": SCHEMA,
            "app": {"name": "rtstyle", "version": self.app_version},
            "made": self.made,
            "machine": {"key": self.machine.key, **_facts(self.machine)},
            "results": self.catalogue(),
            "latencies_ms": latencies,
            "cases": [asdict(row) for row in self.measured],
            "missing": [{"what": row.what, "reason": row.reason} for row in self.missing],
        }
        if self.checks:
            document["checks"] = [asdict(row) for row in self.checks]
        return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _facts(machine: Machine) -> dict[str, Any]:
    return {_KEYS.get(name, name): fact for name, fact in asdict(machine).items()}


def read_document(path: Path) -> Document:
    """The document in the file at `path`. Raises `MediaError` when it is none of `SCHEMA`."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise MediaError(
                f"{path} has more than {_MOST_BYTES // 10**6} MB; no result of `rtstyle bench` has."
            )
        return parse_document(path.read_text(encoding="utf-8"), path)
    except OSError as error:
        raise MediaError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError:
        raise MediaError(f"{path} is no text and no result of `rtstyle bench`.") from None


def parse_document(content: str, path: Path) -> Document:
    """The document in `content`, from the file `path`. Every value is checked for its type and
    bounds, whoever wrote it. Raises `MediaError`."""
    try:
        data = json.loads(content)
        version = data["schema"]
        if version != SCHEMA:
            raise MediaError(
                f"{path} has results of schema {version!r:.20}; this rtstyle reads schema {SCHEMA}."
                " Upgrade rtstyle, or measure again."
            )
        machine = {_FIELDS.get(k, k): fact for k, fact in data["machine"].items() if k != "key"}
        made = text(data["made"], "made")
        datetime.fromisoformat(made)
        return Document(
            build(Machine, machine, "machine"),
            tuple(
                build(Measured, row, f"cases[{place}]")
                for place, row in enumerate(items(data["cases"], "cases"))
            ),
            tuple(
                build(Missing, row, f"missing[{place}]")
                for place, row in enumerate(items(data["missing"], "missing"))
            ),
            text(data["app"]["version"], "app.version"),
            made,
            tuple(
                build(Check, row, f"checks[{place}]")
                for place, row in enumerate(items(data.get("checks", []), "checks"))
            ),
        )
    except KeyError as error:
        raise MediaError(f"{path} is no result of `rtstyle bench`: it has no {error}.") from None
    except MediaError:
        raise
    except RtstyleError as error:  # a case that cannot be
        raise MediaError(f"{path} is no result of `rtstyle bench`: {error}") from None
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise MediaError(f"{path} is no result of `rtstyle bench`: {error!s:.200}.") from None


def write_text(path: Path, content: str, *, overwrite: bool) -> None:
    """Write a report under its name in one step. Raises `OutputError`, `OutputExistsError`."""
    write_output(path, content.encode(), overwrite=overwrite)
