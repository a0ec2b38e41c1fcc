"""The option that every check has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions:
    """Base of the checks' command lines."""

    not_kept: Annotated[
        bool, typer.Option("--not-kept", help="print the finding, keep it nowhere")
    ] = False
