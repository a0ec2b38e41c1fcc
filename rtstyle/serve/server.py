"""The page and what it asks for, over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import ssl
from collections.abc import Callable

from aiohttp import web, web_response
from aiohttp.http_exceptions import HttpProcessingError

from rtstyle.engines import EngineOptions
from rtstyle.errors import OutputError, RtstyleError, UsageError
from rtstyle.live.commands import PAGE as PAGE_RIGHTS
from rtstyle.live.engine_pool import EnginePool
from rtstyle.live.options import LiveOptions
from rtstyle.live.remote import open_remotes
from rtstyle.live.settings import Settings
from rtstyle.serve.api import Api
from rtstyle.serve.app_state import AppState
from rtstyle.serve.auth import ServeOptions, authorize, harden
from rtstyle.serve.certificate import own_certificate
from rtstyle.serve.connection import Connection
from rtstyle.serve.uploads import Uploads
from rtstyle.serve.webrtc import prepare_webrtc
from rtstyle.style.scene import Scene
from rtstyle.style.style import Style
from rtstyle.web.plan import Plan, plan_painting, settings_message
from rtstyle.web.runtime import fetch_runtime, kept_runtime
from rtstyle.web.site import PAGE, page_file

_log = logging.getLogger("rtstyle")
_TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
_FOR_GOOD = "private, max-age=31536000, immutable"  # the name holds the content's digest


def serve(
    options: ServeOptions,
    live: LiveOptions,
    gallery: list[Style],
    settings: Settings,
    *,
    scenes: tuple[Scene, ...] = (),
    engine: str | EngineOptions = "auto",
    on_ready: Callable[[str], None] = lambda url: None,
    on_note: Callable[[str], None] = lambda sentence: None,
) -> None:
    """Serve the page, every visitor with a camera of their own, until SIGTERM or Ctrl-C.

    `on_ready` gets the address once it answers, `on_note` every sentence for the host. The first
    style's engine is opened by its first visitor. Raises `OutputError`, what `open_remotes` raises,
    and `KeyboardInterrupt`.
    """

    plan = _plan(options, gallery)

    async def run() -> None:
        with EnginePool(engine, keep=8 + len(scenes)) as pool, contextlib.ExitStack() as stack:
            state = AppState(options, live, pool, settings, gallery, scenes=scenes, plan=plan)
            open_remotes(
                stack, state.every_run, osc=options.osc, midi=options.midi, on_note=on_note,
                midi_rights=PAGE_RIGHTS,
            )  # fmt: skip
            server = Server(state)
            on_ready(await server.start())
            ended = asyncio.Event()
            with contextlib.suppress(NotImplementedError):  # Windows
                asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
            try:
                await ended.wait()
            finally:
                await server.stop()

    asyncio.run(run())


def _plan(options: ServeOptions, gallery: list[Style]) -> Plan | None:
    """How browsers paint. Only `paint="here"` fetches what they need where it is missing."""
    if options.paint == "server":
        return None
    runtime = fetch_runtime() if options.paint == "here" else kept_runtime()
    return plan_painting(gallery, runtime) if runtime is not None else None


class Server:
    """The page of one `AppState`. Lives in asyncio; `start` and `stop` are called there."""

    def __init__(self, state: AppState) -> None:
        self._state = state
        self._connections: dict[str, Connection] = {}
        self._runner: web.AppRunner | None = None
        self._thumbnail_task: asyncio.Task[None] | None = None
        self.port = state.options.port

    async def start(self) -> str:
        """Listen, and return the address to open. Raises `OutputError` where that cannot be."""
        options = self._state.options
        tls = _tls(options)
        prepare_webrtc()
        # The value of the header `Server`, which by default holds the versions.
        web_response.SERVER_SOFTWARE = "rtstyle"  # type: ignore[attr-defined]
        application = web.Application(
            middlewares=[authorize(options)], client_max_size=options.max_bytes
        )
        application.on_response_prepare.append(harden(paints_here=self._state.plan is not None))
        router = application.router
        for path, handler in {
            "/{name:([a-z]+\\.(?:js|css|svg))?}": self._file,
            "/thumbnails/{name}": self._thumbnail,
            "/gallery": self._gallery,
            "/{name:(?:runtime|models)/.+}": self._painting_file,
            "/live": self._live,
            "/healthz": _healthy,
        }.items():
            router.add_get(path, handler, expect_handler=_expect)
        Api(self._state, self._connections.get).add_routes(router, expect_handler=_expect)
        Uploads(self._state, self._connections.get).add_routes(router, expect_handler=_expect)
        router.add_route("*", "/{path:.*}", _not_found, expect_handler=_expect)
        self._runner = web.AppRunner(
            application, access_log=None, logger=_logger(), shutdown_timeout=2.0,
            keepalive_timeout=options.seat_seconds,
        )  # fmt: skip
        await self._runner.setup()
        site = web.TCPSite(
            self._runner, options.host, options.port, ssl_context=tls, reuse_address=True
        )
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise OutputError(
                f"The page cannot be served at {options.host}:{options.port}: "
                f"{error.strerror or error}; choose another --port or --host."
            ) from error
        self.port = self._runner.addresses[0][1]
        self._thumbnail_task = asyncio.create_task(self._prepare_thumbnails())
        return options.url(self.port)

    async def stop(self) -> None:
        """Close every visit and stop listening."""
        await asyncio.gather(
            *(visit.close("The server was stopped.") for visit in self._connections.values())
        )
        if self._thumbnail_task is not None:
            self._thumbnail_task.cancel()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _prepare_thumbnails(self) -> None:
        """Before they are asked for. A style that fails says so when it is."""
        for style in self._state.gallery:
            with contextlib.suppress(RtstyleError):
                await asyncio.to_thread(self._state.thumbnails.jpeg, style)

    @property
    def n_viewers(self) -> int:
        """How many visits there are now."""
        return len(self._connections)

    async def _file(self, request: web.Request) -> web.Response:
        name = request.match_info["name"] or "index.html"
        if name not in PAGE:
            raise web.HTTPNotFound
        kind = _TYPES[name.rpartition(".")[2]]
        return web.Response(body=page_file(name), content_type=kind, charset="utf-8")

    async def _painting_file(self, request: web.Request) -> web.StreamResponse:
        """What browsers paint with. Its name is looked up, never opened."""
        name, plan = request.match_info["name"], self._state.plan
        if plan is None or name not in plan.files:
            raise web.HTTPNotFound
        content = plan.files[name]
        kind = "text/javascript" if name.endswith(".js") else "application/octet-stream"
        headers = {
            "Cache-Control": _FOR_GOOD if name.startswith("models/") else "private, no-cache"
        }
        if isinstance(content, bytes):
            return web.Response(body=content, content_type=kind, headers=headers)
        return web.FileResponse(content, headers=headers | {"Content-Type": kind})

    async def _gallery(self, request: web.Request) -> web.Response:
        """What the page shows before a visit."""
        controls = self._state.controls()
        return web.json_response(
            self._state.welcome(self._state.rights(is_host=self._is_host(request)))
            | self._state.painting
            | self._state.gallery_message(controls)
            | settings_message(controls.settings)
        )

    async def _thumbnail(self, request: web.Request) -> web.Response:
        """Of a sample photo; for a `viewer`, of what their camera shows."""
        name, visit = request.match_info["name"], None
        if viewer := request.query.get("viewer"):
            visit = self._connections.get(viewer)
        styles = visit.controls.gallery if visit else self._state.gallery
        style = next((s for s in styles if s.name == name), None)
        if style is None or (viewer and visit is None):
            raise web.HTTPNotFound
        try:
            if visit is not None:
                body = await visit.face(style) or b""
            else:
                body = await asyncio.to_thread(self._state.thumbnails.jpeg, style)
        except RtstyleError as error:
            _log.warning("%s has no thumbnail: %s", name, error)
            raise web.HTTPServiceUnavailable(text=f"{name} cannot be painted here.") from error
        if not body:
            raise web.HTTPNotFound
        headers = {"Cache-Control": "no-store" if viewer else "private, max-age=3600"}
        return web.Response(body=body, content_type="image/jpeg", headers=headers)

    async def _live(self, request: web.Request) -> web.StreamResponse:
        limit = self._state.options.max_viewers
        if len(self._connections) >= limit:
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            await socket.send_json({"full": limit})
            await socket.close()
            return socket
        visit = Connection(self._state, self._state.rights(is_host=self._is_host(request)))
        self._connections[visit.id] = visit
        try:
            return await visit.serve(request)
        finally:
            del self._connections[visit.id]

    def _is_host(self, request: web.Request) -> bool:
        return self._state.options.is_host(request)


def _logger() -> logging.Logger:
    """For our own errors: malformed HTTP must not fill the terminal."""

    def is_ours(record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, HttpProcessingError)

    logger = logging.getLogger("rtstyle.serve")
    logger.filters = [is_ours]
    return logger


async def _healthy(request: web.Request) -> web.StreamResponse:
    """For supervisors, and for pages that wait for a restart."""
    return web.Response(text="ok")


async def _not_found(request: web.Request) -> web.StreamResponse:
    raise web.HTTPNotFound


async def _expect(request: web.Request) -> None:
    """aiohttp's own handler quotes the header, which fails where that is no text."""
    if request.headers.get("Expect", "").lower() != "100-continue":
        raise web.HTTPExpectationFailed
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def _tls(options: ServeOptions) -> ssl.SSLContext | None:
    if options.self_signed:
        certificate, key = own_certificate()
    elif options.tls_cert is None or options.tls_key is None:
        return None
    else:
        certificate, key = options.tls_cert, options.tls_key
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except (ssl.SSLError, OSError) as error:
        raise UsageError(
            f"{certificate} and {key} are no certificate and its key ({error})."
        ) from error
    return context
