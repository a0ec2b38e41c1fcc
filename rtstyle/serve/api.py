"""The commands for programs: GET and POST /api/v1/…, a web socket, and what OpenAPI says of them.

The rights are those of the page. A run that all share is changed with the host key, in the header
`X-Rtstyle-Host`; a visitor's own with ?viewer=, the number that the page is greeted with.
"""

from __future__ import annotations

import html
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from aiohttp import web

from rtstyle import __version__
from rtstyle.errors import RtstyleError
from rtstyle.live.commands import COMMANDS, Rights
from rtstyle.live.controls import Controls
from rtstyle.live.session import Figures
from rtstyle.serve.app_state import AppState
from rtstyle.serve.auth import HOST_HEADER
from rtstyle.serve.connection import Connection
from rtstyle.serve.program_socket import LONGEST_MESSAGE, ProgramSocket, carry_out
from rtstyle.web.plan import settings_message

_ROOT = "/api/v1"


class Api:
    """The endpoints of one `AppState`. `visit` finds a visitor's connection."""

    def __init__(self, state: AppState, visit: Callable[[str], Connection | None]) -> None:
        self._state, self._visit = state, visit
        # By whether they may command: who only watches keeps no host out.
        self._n_sockets: Counter[bool] = Counter()

    def add_routes(self, router: web.UrlDispatcher, **options: Any) -> None:
        """Add every endpoint to the server's."""
        router.add_get(_ROOT, self._page, **options)
        router.add_get(f"{_ROOT}/openapi.json", self._document, **options)
        router.add_get(f"{_ROOT}/state", self._get_state, **options)
        router.add_post(f"{_ROOT}/do", self._do, **options)
        router.add_get(f"{_ROOT}/socket", self._socket, **options)

    async def _get_state(self, request: web.Request) -> web.Response:
        controls, rights = self._run(request)
        shared = self._state.shared
        figures, notice = shared.figures() if shared else (Figures(), "")
        return web.json_response(
            settings_message(controls.settings)
            | {
                "styles": [style.name for style in controls.gallery],
                "scenes": [scene.name for scene in controls.scenes],
                "commands": sorted(rights.commands),
                "figures": asdict(figures),
                "notice": notice,
            }
        )

    async def _do(self, request: web.Request) -> web.Response:
        try:
            controls, rights = self._run(request)
            text = (await request.content.read(LONGEST_MESSAGE)).decode()
            return web.json_response(carry_out(text, controls, rights))
        except (RtstyleError, UnicodeDecodeError) as error:
            is_ours = isinstance(error, RtstyleError)
            sentence = str(error) if is_ours else "A command is text in UTF-8."
            return web.json_response({"sorry": sentence}, status=400)

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        _, rights = self._run(request)
        limit, may_command = self._state.options.max_viewers, bool(rights.commands)
        if self._n_sockets[may_command] >= limit:
            raise web.HTTPTooManyRequests(
                text=json.dumps({"sorry": f"At most {limit} programs are connected at a time."}),
                content_type="application/json",
            )
        idle_seconds = self._state.options.idle_seconds
        self._n_sockets[may_command] += 1
        try:
            socket = ProgramSocket(lambda: self._run(request), idle_seconds=idle_seconds)
            return await socket.serve(request)
        finally:
            self._n_sockets[may_command] -= 1

    def _run(self, request: web.Request) -> tuple[Controls, Rights]:
        """What the request is about, and what it may do."""
        if self._state.shared is not None:
            is_host = self._state.options.is_host(request)
            return self._state.shared.controls, self._state.rights(is_host=is_host)
        if visit := self._visit(request.query.get("viewer", "")):
            return visit.controls, visit.rights
        sentence = "Every visitor has a run of their own here: name one by ?viewer=NUMBER."
        raise web.HTTPNotFound(
            text=json.dumps({"sorry": sentence}), content_type="application/json"
        )

    async def _document(self, request: web.Request) -> web.Response:
        return web.json_response(_DOCUMENT)

    async def _page(self, request: web.Request) -> web.Response:
        rows = "".join(
            f"<h2><code>{method.upper()} {path}</code></h2><p>{html.escape(facts['summary'])}</p>"
            for path, methods in _DOCUMENT["paths"].items()
            for method, facts in methods.items()
        )
        return web.Response(
            text=f"<!doctype html><html lang=en><meta charset=utf-8><title>rtstyle</title>"
            f"<h1>rtstyle {_DOCUMENT['info']['version']}</h1>"
            f"<p>{html.escape(_DOCUMENT['info']['description'])}</p>{rows}"
            f"<p>Commands: <code>{html.escape(', '.join(COMMANDS))}</code></p>"
            f'<p><a href="{_ROOT}/openapi.json">openapi.json</a></p></html>',
            content_type="text/html",
        )


def _operation(summary: str, **more: Any) -> dict[str, Any]:
    good = {"description": "The settings after it, or the state."}
    bad = {"description": "Why not, in one sentence: {sorry}."}
    return {"summary": summary, "responses": {"200": good, "400": bad, "403": bad}} | more


_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {"type": "object", "minProperties": 1, "maxProperties": 1},
            "examples": {
                "do": {"value": {"do": "scene night"}},
                "knob": {"value": {"strength": 0.5}},
            },
        },
        "text/plain": {"schema": {"type": "string"}, "example": "blend +0.1"},
    },
}
_DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {
        "title": "rtstyle",
        "version": __version__,
        "description": f"Watches and changes a live run. Changes need the header {HOST_HEADER} "
        "with the host key, or ?viewer= with a visit of one's own.",
    },
    "components": {
        "securitySchemes": {"host": {"type": "apiKey", "in": "header", "name": HOST_HEADER}}
    },
    "paths": {
        f"{_ROOT}/state": {
            "get": _operation("Settings, styles, scenes, commands that are allowed, and figures.")
        },
        f"{_ROOT}/do": {
            "post": _operation("Carry out one command.", requestBody=_BODY, security=[{"host": []}])
        },
        f"{_ROOT}/socket": {
            "get": _operation(
                "A web socket: a command each message, an empty one for the settings alone. Ends "
                "where none comes for half a minute."
            )
        },
    },
}
