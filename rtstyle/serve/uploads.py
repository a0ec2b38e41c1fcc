"""Pictures that visitors send: as styles, and their camera's for a snapshot."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable, Collection
from itertools import count
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

from aiohttp import web

from rtstyle.errors import MediaError, RtstyleError, UsageError
from rtstyle.frame import Image
from rtstyle.live.commands import Command
from rtstyle.serve.app_state import AppState
from rtstyle.serve.connection import Connection
from rtstyle.serve.pictures import decode_upload
from rtstyle.serve.snapshot import paint_snapshot

T = TypeVar("T")

_log = logging.getLogger("rtstyle")
_UPLOAD_SECONDS = 60.0  # that a picture may take to arrive
_LARGEST_SNAPSHOT = 1920 * 1920  # pixels; the page sends nothing larger


class Uploads:
    """The endpoints of one `AppState`. `visit` finds a visitor's connection. Lives in asyncio."""

    def __init__(self, state: AppState, visit: Callable[[str], Connection | None]) -> None:
        self._state, self._visit = state, visit
        self._receiving = asyncio.Semaphore(state.options.max_viewers)  # it takes memory
        self._decoding = asyncio.Lock()  # which takes more

    def add_routes(self, router: web.UrlDispatcher, **options: Any) -> None:
        """Add both endpoints to the server's."""
        router.add_post("/paintings", self._upload, **options)
        router.add_post("/snapshots", self._snapshot, **options)

    async def _upload(self, request: web.Request) -> web.Response:
        """A picture, as the body of the request, becomes a style of the visit that sent it."""
        if (visit := self._visit(request.query.get("viewer", ""))) is None:
            return _sorry(403, "Open the page first; this visit is over.")
        if "style" not in visit.rights.commands:
            return _sorry(403, "Only the host chooses the style here.")
        if not self._state.takes_uploads:
            return _sorry(409, "No model for any painting is installed.")
        name = _style_name(request.query.get("name", ""), {s.name for s in visit.controls.gallery})
        style = await self._taken(
            request,
            visit,
            lambda picture: self._state.style_of_picture(picture, name),
            max_pixels=self._state.options.max_pixels,
        )
        if isinstance(style, web.Response):
            return style
        visit.keep(style, most=self._state.options.max_uploads)
        await visit.say(self._state.gallery_message(visit.controls))
        with contextlib.suppress(UsageError):
            visit.controls.do(Command("style", name))
        return web.json_response({"name": name})

    async def _snapshot(self, request: web.Request) -> web.Response:
        """What a visitor's camera shows, at its full size, as the visit paints it."""
        visit, state = self._visit(request.query.get("viewer", "")), self._state
        if visit is None or state.shared is not None:
            return _sorry(403, "Open the page first; this visit is over.")
        settings = visit.controls.settings
        png = await self._taken(
            request,
            visit,
            lambda picture: paint_snapshot(picture, settings, state.live, state.pool),
            max_pixels=_LARGEST_SNAPSHOT,
        )
        if isinstance(png, web.Response):
            return png
        return web.Response(body=png, content_type="image/png")

    async def _taken(
        self,
        request: web.Request,
        visit: Connection,
        use: Callable[[Image], T],
        *,
        max_pixels: int,
    ) -> T | web.Response:
        """What `use` makes, in a thread, of the picture in the request's body; else the refusal."""
        options = self._state.options
        too_large = f"A picture may have at most {options.max_bytes / 1e6:g} MB."
        if (request.content_length or 0) > options.max_bytes:
            return _sorry(413, too_large)
        if visit.uploading.locked() or self._receiving.locked():
            return _sorry(429, "One picture at a time; wait for the one before.")

        def decode_and_use(data: bytes) -> T:
            return use(decode_upload(data, max_pixels=max_pixels))

        async with visit.uploading, self._receiving:
            try:
                async with asyncio.timeout(_UPLOAD_SECONDS):
                    data = await request.read()
                async with self._decoding:
                    return await asyncio.to_thread(decode_and_use, data)
            except TimeoutError:
                return _sorry(408, "The picture took too long; try a smaller one.")
            except web.HTTPRequestEntityTooLarge:
                return _sorry(413, too_large)
            except MediaError as error:
                return _sorry(415, str(error))
            except RtstyleError as error:
                _log.warning("A picture cannot be used: %s", error)
                return _sorry(500, "This picture cannot be painted here.")


def _style_name(file_name: str, taken: Collection[str]) -> str:
    """A short style name from a file's: letters, digits, spaces; never a number or a path.

    Another picture of the same name gets a number.
    """
    stem = Path(unquote(file_name)).stem
    words = " ".join(re.sub(r"[^\w .-]|_", " ", stem).strip(" .-").split())[:32] or "picture"
    names = (f"“{words}{f' {n}' if n > 1 else ''}”" for n in count(1))
    return next(name for name in names if name not in taken)


def _sorry(status: int, sentence: str) -> web.Response:
    return web.json_response({"sorry": sentence}, status=status)
