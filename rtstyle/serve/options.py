"""Who may use the page, and how much of it."""

from __future__ import annotations

import ipaddress
import secrets
import socket
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from rtstyle.errors import InputNotFoundError, UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """Where the page is, and the limits of a visit.

    On another address than this machine's own a random `key` guards the page unless one is given.
    Pictures dropped on the page have at most `max_bytes` and `max_pixels`. A visit ends after
    `idle_seconds` without pictures from the browser, and after `session_seconds` at the latest.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    key: str | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    max_viewers: int = 4
    max_bytes: int = 10_000_000
    max_pixels: int = 40_000_000
    max_paintings: int = 12
    idle_seconds: float = 30.0
    session_seconds: float = 4 * 3600.0
    access_key: str | None = field(init=False, default=None)  # what the page really asks for

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise UsageError(f"A port is a number from 0 to 65535, not {self.port}.")
        if self.max_viewers < 1:
            raise UsageError(f"At least 1 viewer must be let in, not {self.max_viewers}.")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise UsageError("A secure page needs both --tls-cert and --tls-key.")
        for path in (self.tls_cert, self.tls_key):
            if path is not None and not path.is_file():
                raise InputNotFoundError(f"There is no file {path}; check its name.")
        if self.key is not None and len(self.key) < 8:
            raise UsageError("An access key has at least 8 characters.")
        needed = None if self.is_local else secrets.token_urlsafe(12)
        object.__setattr__(self, "access_key", self.key or needed)

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the page."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def scheme(self) -> str:
        return "https" if self.tls_cert else "http"

    def url(self, port: int) -> str:
        """The address to open, with the key where one is asked for."""
        host = socket.gethostname() if self.host in ("0.0.0.0", "::") else self.host
        host = f"[{host}]" if ":" in host else host
        key = f"?key={quote(self.access_key)}" if self.access_key else ""
        return f"{self.scheme}://{host}:{port}/{key}"
