"""The findings on disk, `docs/reliability.json`, and the page made of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.reliability.finding import Finding
from rtstyle.bench.document import write_text
from rtstyle.bench.machine import this_machine
from rtstyle.errors import MediaError

DOCS = Path(__file__).parents[2] / "docs"
FINDINGS, PAGE = DOCS / "reliability.json", DOCS / "reliability.md"

_INTRODUCTION = """\
# Reliability

Made by `python -m benchmarks reliability`, which runs the checks, keeps what they find in
`reliability.json` and writes this page. Do not edit it by hand.
"""


@dataclass(frozen=True, slots=True)
class Kept:
    """A finding with the day and the machine that it was made on."""

    finding: Finding
    date: str
    machine: str

    @classmethod
    def now(cls, finding: Finding) -> Kept:
        """The finding as made now and here."""
        return cls(finding, datetime.now(UTC).date().isoformat(), str(this_machine()))


def read_findings(path: Path = FINDINGS) -> dict[str, Kept]:
    """The findings by check; none when there is no file. Raises `MediaError`."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return {
            row["check"]: Kept(
                Finding(**{k: v for k, v in row.items() if k not in ("date", "machine")}),
                row["date"],
                row["machine"],
            )
            for row in document
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise MediaError(f"{path} holds no findings ({error}); remove or restore it.") from error


def keep(finding: Finding, checks: Mapping[str, str], *, folder: Path = DOCS) -> None:
    """Put the finding in the place of the earlier one of its check, and write the page anew."""
    found = read_findings(folder / FINDINGS.name)
    found[finding.check] = Kept.now(finding)
    ordered = [found[check] for check in checks if check in found]
    rows = [asdict(k.finding) | {"date": k.date, "machine": k.machine} for k in ordered]
    write_text(
        folder / FINDINGS.name,
        json.dumps(rows, ensure_ascii=False, indent=1) + "\n",
        overwrite=True,
    )
    write_text(folder / PAGE.name, page(found, checks), overwrite=True)


def page(found: Mapping[str, Kept], checks: Mapping[str, str]) -> str:
    """The page in Markdown; `checks` are all checks with what each is about."""
    parts = [_INTRODUCTION]
    for check, about in checks.items():
        if check in found:
            parts.append(_section(about, found[check]))
        else:
            parts.append(
                f"## {about}\n\nNot measured yet: `python -m benchmarks reliability {check}`.\n"
            )
    return "\n".join(parts)


def _section(about: str, kept: Kept) -> str:
    finding = kept.finding
    verdict = "Holds" if finding.passed else "**Does not hold**"
    rows = [
        f"| {_cell(name)} | {_cell(_shown(value))} |" for name, value in finding.figures.items()
    ]
    table = "\n".join(["| | |", "|---|---|", *rows])
    return (
        f"## {about}\n\n{verdict}: {finding.claim}\n\n{table}\n\n"
        f"`{finding.command}`, {finding.seconds:.0f} s on {kept.date}, {kept.machine}.\n"
    )


def _shown(value: str | int | float) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
