"""The page and what it asks for, over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import ssl
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from urllib.parse import unquote

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from rtstyle.engines import EngineOptions
from rtstyle.errors import MediaError, OutputError, RtstyleError, UsageError
from rtstyle.live.controls import Settings
from rtstyle.live.engine_pool import EnginePool
from rtstyle.live.session import LiveOptions
from rtstyle.serve.app_state import AppState, gallery_message, settings_message
from rtstyle.serve.auth import ServeOptions, authorize
from rtstyle.serve.connection import Connection
from rtstyle.serve.pictures import decode_upload
from rtstyle.serve.tracks import prepare_webrtc
from rtstyle.style.style import Style

_PAGE = {"app.js": "text/javascript", "style.css": "text/css", "icon.svg": "image/svg+xml"}


def serve(
    options: ServeOptions,
    live: LiveOptions,
    gallery: list[Style],
    settings: Settings,
    *,
    engine: str | EngineOptions = "auto",
    on_ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve until Ctrl-C, which is raised as `KeyboardInterrupt`. Raises `OutputError`.

    `on_ready` gets the address once the page is there. The first style's engine is opened by its
    first viewer.
    """

    async def run() -> None:
        with EnginePool(engine, keep=8) as pool:
            server = Server(AppState(options, live, pool, settings, gallery))
            on_ready(await server.start())
            try:
                await asyncio.Event().wait()
            finally:
                await server.stop()

    asyncio.run(run())


class Server:
    """Serves one state. Lives in asyncio; `start` and `stop` are called there."""

    def __init__(self, state: AppState) -> None:
        self._state = state
        self._viewers: dict[str, Connection] = {}
        self._n_uploads = asyncio.Semaphore(1)  # decoding is memory: one at a time
        self._runner: web.AppRunner | None = None
        self._thumbnail_task: asyncio.Task[None] | None = None
        self.port = state.options.port

    async def start(self) -> str:
        """Listen, and return the address to open. Raises `OutputError` where that cannot be."""
        options = self._state.options
        prepare_webrtc()
        application = web.Application(
            middlewares=[authorize(options)], client_max_size=options.max_bytes
        )
        application.add_routes(
            [
                web.get("/", self._index),
                web.get("/{name:[a-z]+\\.(?:js|css|svg)}", self._file),
                web.get("/thumbnails/{name}", self._thumbnail),
                web.get("/gallery", self._gallery),
                web.get("/live", self._live),
                web.post("/paintings", self._upload),
            ]
        )
        self._runner = web.AppRunner(
            application, access_log=None, logger=_logger(), shutdown_timeout=2.0
        )
        await self._runner.setup()
        site = web.TCPSite(
            self._runner, options.host, options.port, ssl_context=_tls(options), reuse_address=True
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
        await asyncio.gather(*(v.close("The server was stopped.") for v in self._viewers.values()))
        if self._thumbnail_task is not None:
            self._thumbnail_task.cancel()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _prepare_thumbnails(self) -> None:
        """Before they are asked for. A style that cannot be painted says so when it is."""
        for style in self._state.gallery:
            with contextlib.suppress(RtstyleError):
                await asyncio.to_thread(self._state.thumbnails.jpeg, style)

    @property
    def n_viewers(self) -> int:
        """How many visits there are now."""
        return len(self._viewers)

    async def _index(self, request: web.Request) -> web.Response:
        return web.Response(text=_page_file("index.html").decode(), content_type="text/html")

    async def _file(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in _PAGE:
            raise web.HTTPNotFound
        return web.Response(body=_page_file(name), content_type=_PAGE[name], charset="utf-8")

    async def _gallery(self, request: web.Request) -> web.Response:
        """What the page shows before anybody starts."""
        controls = self._state.controls()
        told = {"mode": self._state.mode, "uploads": self._state.takes_uploads}
        return web.json_response(
            told | gallery_message(controls) | settings_message(controls.settings)
        )

    async def _thumbnail(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        style = next((s for s in self._state.gallery if s.name == name), None)
        if style is None:
            raise web.HTTPNotFound
        try:
            body = await asyncio.to_thread(self._state.thumbnails.jpeg, style)
        except RtstyleError as error:
            raise web.HTTPServiceUnavailable(text=str(error)) from error
        headers = {"Cache-Control": "private, max-age=3600"}
        return web.Response(body=body, content_type="image/jpeg", headers=headers)

    async def _live(self, request: web.Request) -> web.StreamResponse:
        limit = self._state.options.max_viewers
        if len(self._viewers) >= limit:
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            await socket.send_json({"full": limit})
            await socket.close()
            return socket
        viewer = Connection(self._state)
        self._viewers[viewer.id] = viewer
        try:
            return await viewer.serve(request)
        finally:
            del self._viewers[viewer.id]

    async def _upload(self, request: web.Request) -> web.Response:
        """A picture, as the body of the request, becomes a style of the viewer that sent it."""
        options = self._state.options
        viewer = self._viewers.get(request.query.get("viewer", ""))
        if viewer is None:
            return _sorry(403, "Open the page first; this visit is over.")
        if not self._state.takes_uploads:
            return _sorry(409, "No model for any painting is installed.")
        too_large = f"A picture may have at most {options.max_bytes / 1e6:g} MB."
        if (request.content_length or 0) > options.max_bytes:
            return _sorry(413, too_large)
        try:
            data = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return _sorry(413, too_large)
        name = _style_name(request.query.get("name", ""))
        async with self._n_uploads:
            try:
                style = await asyncio.to_thread(
                    lambda: self._state.style_of_picture(
                        decode_upload(data, max_pixels=options.max_pixels), name
                    )
                )
            except MediaError as error:
                return _sorry(415, str(error))
            except RtstyleError as error:
                return _sorry(500, str(error))
        viewer.keep(style, most=options.max_uploads)
        await viewer.say(gallery_message(viewer.controls))
        with contextlib.suppress(UsageError):
            viewer.controls.do(f"style {name}")
        return web.json_response({"name": name})


def _logger() -> logging.Logger:
    """For errors of ours: whoever sends what is no HTTP must not fill the terminal."""

    def is_ours(record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, HttpProcessingError)

    logger = logging.getLogger("rtstyle.serve")
    logger.filters = [is_ours]
    return logger


def _page_file(name: str) -> bytes:
    return (resources.files("rtstyle.serve") / "page" / name).read_bytes()


def _style_name(told: str) -> str:
    """A short name out of a file's: letters, digits, spaces; never a number or a path."""
    stem = Path(unquote(told)).stem
    words = re.sub(r"[^\w .-]|_", " ", stem).strip(" .-")
    return f"“{' '.join(words.split())[:32] or 'picture'}”"


def _sorry(status: int, sentence: str) -> web.Response:
    return web.json_response({"sorry": sentence}, status=status)


def _tls(options: ServeOptions) -> ssl.SSLContext | None:
    if options.tls_cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(options.tls_cert, options.tls_key)
    except (ssl.SSLError, OSError) as error:
        raise UsageError(
            f"{options.tls_cert} and {options.tls_key} are no certificate and its key ({error})."
        ) from error
    return context
