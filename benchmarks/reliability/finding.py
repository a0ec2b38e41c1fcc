"""What one check found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of a check.

    `claim` is the sentence that the check tests and `passed` whether it held. `figures` are what
    was counted or measured, in the order to show; `command` runs the check again; `seconds` is
    what it took.
    """

    check: str
    claim: str
    figures: dict[str, str | int | float]
    passed: bool
    command: str
    seconds: float
