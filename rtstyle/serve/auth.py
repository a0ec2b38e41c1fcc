"""Who may use the page, how much of it, and by which name: keys, origins, limits."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from rtstyle.errors import InputNotFoundError, UsageError

_COOKIE = "rtstyle-key"
_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


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
    max_uploads: int = 12
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


def authorize(options: ServeOptions) -> Middleware:
    """The middleware that refuses with 403 whoever may not come in."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        host = urlsplit(f"//{request.host}").hostname or ""
        if options.is_local and host not in _LOCAL_NAMES:
            # Another site's name that was made to point here (DNS rebinding).
            return _refused("This page is only for this machine; open it as localhost.")
        if not _may_come_from(request):
            return _refused("Requests from other pages are not taken.")
        if options.access_key and not _has_key(request, options.access_key):
            return _refused("The access key is missing or wrong; open the address as printed.")
        if request.path == "/" and "key" in request.query and options.access_key:
            # hides the key from the history
            response: web.StreamResponse = web.Response(status=303, headers={"Location": "/"})
            response.set_cookie(
                _COOKIE, options.access_key, httponly=True, samesite="Strict",
                secure=options.scheme == "https",
            )  # fmt: skip
        else:
            response = await handler(request)
        if not response.prepared:
            _harden(response, request.host)
        return response

    return check


def _may_come_from(request: web.Request) -> bool:
    """Whether a request that does something comes from our own page."""
    origin = request.headers.get("Origin")
    if origin is None:
        is_socket = request.headers.get("Upgrade", "").lower() == "websocket"
        return request.method in ("GET", "HEAD") and not is_socket
    # Browsers name the page; TLS may end before us, so the scheme is not compared.
    return urlsplit(origin).netloc == request.host


def _has_key(request: web.Request, key: str) -> bool:
    shown = request.query.get("key") or request.cookies.get(_COOKIE) or ""
    return hmac.compare_digest(shown.encode(), key.encode())


def _refused(sentence: str) -> web.Response:
    response = web.Response(status=403, text=sentence)
    _harden(response, "")
    return response


def _harden(response: web.StreamResponse, host: str) -> None:
    """What browsers are told not to do."""
    sockets = f" ws://{host} wss://{host}" if host else ""
    response.headers.update(
        {
            "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; "
            f"media-src 'self' blob:; connect-src 'self'{sockets}; frame-ancestors 'none'; "
            "base-uri 'none'; form-action 'none'",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Permissions-Policy": "camera=(self), microphone=()",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": response.headers.get("Cache-Control", "no-store"),
        }
    )
