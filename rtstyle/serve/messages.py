"""What a page may say over its socket: an allow-list."""

from __future__ import annotations

import json
from dataclasses import dataclass

from rtstyle.errors import UsageError
from rtstyle.live.commands import Command, Rights, parse


@dataclass(frozen=True, slots=True)
class Offer:
    """A browser's WebRTC offer, as SDP."""

    sdp: str


@dataclass(frozen=True, slots=True)
class Ping:
    """Asks for the same value back."""

    value: str | float


def parse_message(text: str, rights: Rights) -> Command | Offer | Ping:
    """What the page sent. Raises `UsageError` for anything else, or beyond the rights."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        message = None
    if isinstance(message, dict) and len(message) == 1:
        match message:
            case {"do": str(command)}:
                return parse(command, rights)
            case {"offer": str(sdp)}:
                return Offer(sdp)
            case {"ping": str(value)} if len(value) <= 64:
                return Ping(value)
            case {"ping": int() | float() as number} if abs(number) < 1e15:  # no NaN either
                return Ping(number)
    raise UsageError("The page said something that was not understood.")
