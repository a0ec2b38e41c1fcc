"""Who may use the page: its address, the limits of a visit, keys, and the origin of a request."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from aiohttp import HttpVersion10, web
from aiohttp.typedefs import Handler, Middleware

from rtstyle.errors import InputNotFoundError, UsageError

HOST_HEADER = "X-Rtstyle-Host"  # the host key, for programs; browsers keep it in a cookie
PLACES = ("here", "server", "auto")
_ACCESS, _HOST = "key", "host"  # query parameters; the cookies are called rtstyle-key, -host
_ANY = {"0.0.0.0": ("192.0.2.1", "127.0.0.1"), "::": ("2001:db8::1", "::1")}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """Where the page is, and the limits of a visit.

    On an address that others reach, a random access `key` guards the page unless one is given. The
    host key, always random, gives control of a shared run. `paint` is where visitors' pictures are
    painted: "here" in their browsers, on the "server", or "auto", where a browser has a GPU. With
    `self_signed`, the page has a certificate of its own making. Uploaded pictures have at most
    `max_bytes` and `max_pixels`, and `max_uploads` of them are kept in memory for each visitor. A
    visit ends after `seat_seconds` without an offer, a connection or a picture, after
    `idle_seconds` without further pictures, and after `session_seconds` at the latest. `osc` and
    `midi` are what `open_remotes` takes, for the runs of all visitors.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    key: str | None = field(default=None, repr=False)
    tls_cert: Path | None = None
    tls_key: Path | None = None
    self_signed: bool = False
    paint: str = "server"
    max_viewers: int = 4
    max_bytes: int = 10_000_000
    max_pixels: int = 40_000_000
    max_uploads: int = 12
    seat_seconds: float = 15.0
    idle_seconds: float = 30.0
    session_seconds: float = 4 * 3600.0
    osc: str | None = None
    midi: str | None = None
    access_key: str | None = field(init=False, default=None, repr=False)  # asked for, if any
    host_key: str = field(init=False, default="", repr=False)

    def __post_init__(self) -> None:
        if not self.host.strip():
            raise UsageError("A host is an address or a name such as 127.0.0.1, not empty.")
        if not 0 <= self.port <= 65_535:
            raise UsageError(f"A port is a number from 0 to 65535, not {self.port}.")
        if self.max_viewers < 1:
            raise UsageError(f"At least 1 viewer must be let in, not {self.max_viewers}.")
        if self.paint not in PLACES:
            raise UsageError(f"Pictures are painted {', '.join(PLACES)}, not {self.paint!r}.")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise UsageError("A secure page needs both --tls-cert and --tls-key.")
        if self.self_signed and self.tls_cert is not None:
            raise UsageError("Use --self-signed or --tls-cert, not both.")
        for path in (self.tls_cert, self.tls_key):
            if path is not None and not path.is_file():
                raise InputNotFoundError(f"There is no file {path}; check its name.")
        if self.key is not None and len(self.key) < 8:
            raise UsageError("An access key has at least 8 characters.")
        needed = None if self.is_local else secrets.token_urlsafe(12)
        object.__setattr__(self, "access_key", self.key or needed)
        object.__setattr__(self, "host_key", secrets.token_urlsafe(16))

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the page."""
        return is_loopback(self.host)

    @property
    def scheme(self) -> str:
        return "https" if self.tls_cert or self.self_signed else "http"

    def url(self, port: int, *, control: bool = False) -> str:
        """The address to open, with the keys that it takes; `control` adds the host key."""
        host = network_address(self.host) if self.host in _ANY else self.host
        keys = {_ACCESS: self.access_key, _HOST: self.host_key if control else None}
        query = urlencode({name: key for name, key in keys.items() if key})
        return (
            f"{self.scheme}://{f'[{host}]' if ':' in host else host}:{port}/{query and '?'}{query}"
        )

    def is_host(self, request: web.Request) -> bool:
        """Whether the request carries the host key."""
        given = request.headers.get(HOST_HEADER) or _given(request, _HOST)
        return _same_key(given, self.host_key)

    def has_access(self, request: web.Request) -> bool:
        """Whether the request carries the access key, where one is needed."""
        return not self.access_key or _same_key(_given(request, _ACCESS), self.access_key)


def is_loopback(host: str) -> bool:
    """Whether the name or address means this machine itself, whatever a name server says."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def authorize(options: ServeOptions) -> Middleware:
    """The middleware that refuses with 403 what may not come in."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.version < HttpVersion10 and request.transport is not None:
            # A request line without an address; an answer in HTTP/0.9 would be none.
            request.transport.abort()
            return _refused("HTTP/1.1 was expected.")
        if options.is_local and not is_loopback(_hostname(request.host)):
            # Another site's name that was made to point here (DNS rebinding).
            return _refused("This page is only for this machine; open it as localhost.")
        is_program = options.is_host(request) and HOST_HEADER in request.headers
        if not _may_come_from(request) and not ("Origin" not in request.headers and is_program):
            return _refused("Requests from other pages are not taken.")
        if not options.has_access(request):
            return _refused("The access key is missing or wrong; open the address as printed.")
        if request.path != "/" or not request.query.keys() & {_ACCESS, _HOST}:
            return await handler(request)
        if _HOST in request.query and not options.is_host(request):
            return _refused("The host key is wrong; open the address as printed.")
        # The keys move into cookies, out of the address bar and the history.
        rest = [(n, v) for n, v in request.query.items() if n not in (_ACCESS, _HOST)]
        place = f"/?{urlencode(rest)}" if rest else "/"
        response = web.Response(status=303, headers={"Location": place})
        valid = {_ACCESS: options.access_key, _HOST: options.host_key}
        for name, key in valid.items():
            if key and name in request.query:
                response.set_cookie(
                    f"rtstyle-{name}", key, httponly=True, samesite="Strict",
                    secure=options.scheme == "https",
                )  # fmt: skip
        return response

    return check


def harden(*, paints_here: bool) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """Headers of every response: what browsers must not do. A page that `paints_here` compiles
    WebAssembly, in several threads where the browser isolates it."""

    async def add(request: web.Request, response: web.StreamResponse) -> None:
        scripts = " 'wasm-unsafe-eval'" if paints_here else ""
        response.headers.update(
            {
                "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; "
                f"script-src 'self'{scripts}; media-src 'self' blob:; "
                f"connect-src 'self'{_sockets(request.host)}; "
                "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
                "X-Content-Type-Options": "nosniff",
                "Referrer-Policy": "no-referrer",
                "Permissions-Policy": "camera=(self), microphone=(self)",
                "Cross-Origin-Resource-Policy": "same-origin",
                "Cache-Control": response.headers.get("Cache-Control", "no-store"),
            }
        )
        if paints_here:
            response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
            response.headers["Cross-Origin-Embedder-Policy"] = "require-corp"

    return add


def _sockets(host: str) -> str:
    """Safari's 'self' leaves out web sockets."""
    return f" ws://{host} wss://{host}" if _hostname(host) and not set(host) & set(" ;,'\"") else ""


def _may_come_from(request: web.Request) -> bool:
    """Whether a request that changes something comes from our own page."""
    origin = request.headers.get("Origin")
    if origin is None:
        is_socket = request.headers.get("Upgrade", "").lower() == "websocket"
        return request.method in ("GET", "HEAD") and not is_socket
    # The scheme is not compared: a proxy may end TLS before us.
    return origin.partition("://")[2] == request.host


def _given(request: web.Request, name: str) -> str:
    return request.query.get(name) or request.cookies.get(f"rtstyle-{name}") or ""


def _same_key(given: str, key: str) -> bool:
    """In constant time. Headers may hold bytes that are no text."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), key.encode())


def _hostname(netloc: str) -> str:
    try:
        return urlsplit(f"//{netloc}").hostname or ""
    except ValueError:
        return ""


def _refused(sentence: str) -> web.Response:
    return web.Response(status=403, text=sentence)


def network_address(wildcard: str) -> str:
    """The address of this machine that its network would use; asks nobody, sends nothing."""
    far, alone = _ANY[wildcard]
    family = socket.AF_INET6 if ":" in wildcard else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((far, 9))
            return str(probe.getsockname()[0])
    except OSError:
        return alone
