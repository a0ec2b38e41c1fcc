"""A web socket for programs: a command each message, the settings as each answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from time import perf_counter
from typing import Any

from aiohttp import WSMsgType, web

from rtstyle.errors import RtstyleError, UsageError
from rtstyle.live.commands import Rights, parse, spoken
from rtstyle.live.controls import Controls
from rtstyle.web.plan import settings_message

LONGEST_MESSAGE = 8 * 1024
_PER_SECOND, _BURST = 500.0, 1000.0  # messages that are read; the others wait in the network
_SEND_SECONDS = 10.0  # that a program may take to read an answer


class ProgramSocket:
    """Serves one socket until the program leaves, says nothing for `idle_seconds` or does not read
    its answers, or until the run is over: `run()` gives its controls and the program's rights, and
    raises `HTTPException` then. Lives in asyncio."""

    def __init__(self, run: Callable[[], tuple[Controls, Rights]], *, idle_seconds: float) -> None:
        self._run, self._idle_seconds = run, idle_seconds
        self._socket = web.WebSocketResponse(
            timeout=1.0, heartbeat=10.0, max_msg_size=LONGEST_MESSAGE
        )
        self._tokens, self._counted = _BURST, perf_counter()

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """Answer messages until the end."""
        socket = self._socket
        await socket.prepare(request)
        transport = request.transport
        while True:
            try:
                async with asyncio.timeout(self._idle_seconds):
                    message = await socket.receive()
                if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                    return socket  # the program left
                answer = json.dumps(self._answer(message.data))
            except (TimeoutError, web.HTTPException):
                await socket.close()
                return socket
            try:
                async with asyncio.timeout(_SEND_SECONDS):
                    await socket.send_str(answer)
            except (TimeoutError, ConnectionError):
                if transport is not None:
                    transport.abort()
                return socket
            await self._pace()

    def _answer(self, said: str | bytes) -> dict[str, Any]:
        controls, rights = self._run()
        try:
            if isinstance(said, bytes):
                raise UsageError("A command is text.")
            return carry_out(said, controls, rights)
        except RtstyleError as error:
            return {"sorry": str(error)}

    async def _pace(self) -> None:
        """Wait where messages come faster than they are read."""
        now = perf_counter()
        fresh = (now - self._counted) * _PER_SECOND
        self._tokens, self._counted = min(_BURST, self._tokens + fresh) - 1, now
        if self._tokens < 0:
            await asyncio.sleep(-self._tokens / _PER_SECOND)


def carry_out(text: str, controls: Controls, rights: Rights) -> dict[str, Any]:
    """Carry out {"do": "style udnie"}, {"strength": 0.5} or plain text; the settings after it.

    Raises `UsageError`.
    """
    if text.lstrip().startswith("{"):
        try:
            ((name, value),) = json.loads(text).items()
        except (ValueError, RecursionError):
            raise UsageError('One command was expected, such as {"do": "style udnie"}.') from None
        text = value if name == "do" and isinstance(value, str) else spoken(name, value)
    if text:
        controls.do(parse(text, rights))
    return settings_message(controls.settings)
