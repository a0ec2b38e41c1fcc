"""Who is let in: the access key, the origin of a request, the name that this server goes by."""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from rtstyle.serve.options import ServeOptions

_COOKIE = "rtstyle-key"
_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


def guard(options: ServeOptions) -> Middleware:
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
