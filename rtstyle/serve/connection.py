"""One visitor: a socket for messages, a WebRTC connection for video, a thread for the session."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
from threading import Thread
from time import perf_counter
from typing import Any

from aiohttp import WSMsgType, web
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from rtstyle.errors import RtstyleError
from rtstyle.live.controls import Settings
from rtstyle.live.session import Figures, Session
from rtstyle.serve.app_state import AppState, gallery_message, settings_message
from rtstyle.serve.tracks import StylizedTrack, TrackSink, TrackSource
from rtstyle.style.style import Style

_log = logging.getLogger("rtstyle")
_OFFER_SECONDS = 20.0  # for the page to send its offer, and for the pictures to begin


class Connection:
    """Serves one socket until it closes. Everything it holds is released then. Lives in asyncio."""

    def __init__(self, state: AppState) -> None:
        self.id = secrets.token_urlsafe(12)
        self.controls = state.controls()
        self._state = state
        self._socket = web.WebSocketResponse(heartbeat=10.0, max_msg_size=256 * 1024)
        self._loop = asyncio.get_running_loop()
        self._peer: RTCPeerConnection | None = None
        self._sink = state.shared.sink if state.shared else TrackSink(self._loop)
        self._track: StylizedTrack | None = None
        self._source: TrackSource | None = None
        self._session: Session | None = None
        self._thread: Thread | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._uploads: list[str] = []
        self._since = perf_counter()

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """Talk until the page leaves or the visit is over."""
        await self._socket.prepare(request)
        self.controls.listen(self._send_settings)
        self._start(self._report())
        await self.say(
            {
                "hello": {
                    "viewer": self.id,
                    "mode": self._state.mode,
                    "uploads": self._state.takes_uploads,
                    "megabytes": self._state.options.max_bytes / 1e6,
                }
            }
        )
        await self.say(gallery_message(self.controls) | settings_message(self.controls.settings))
        try:
            async for message in self._socket:
                if message.type is WSMsgType.TEXT:
                    await self._hear(message.data)
        finally:
            await self.close()
        return self._socket

    async def say(self, message: dict[str, Any]) -> None:
        """Send a message to the page; harmless when it has gone."""
        if not self._socket.closed:
            with contextlib.suppress(ConnectionError, RuntimeError):
                await self._socket.send_str(json.dumps(message))

    async def close(self, reason: str = "") -> None:
        """End the visit and release what it holds. More than once does no harm."""
        if reason:
            await self.say({"goodbye": reason})
        self.controls.forget(self._send_settings)
        for task in self._tasks - {asyncio.current_task()}:
            task.cancel()
        if self._session is not None:
            self._session.stop()
        if self._source is not None:
            self._source.close()
        if self._track is not None:
            self._sink.leave(self._track)
            self._track.stop()
        peer, self._peer = self._peer, None
        if peer is not None:
            await peer.close()
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.to_thread(thread.join, 10.0)
        await self._socket.close()

    def keep(self, style: Style, *, most: int) -> None:
        """Put a style of the viewer's own into the gallery; the oldest of more than `most` goes."""
        self._uploads = [name for name in self._uploads if name != style.name]
        if len(self._uploads) >= most:
            self.controls.remove(self._uploads.pop(0))
        self._uploads.append(style.name)
        self.controls.add(style)

    async def _hear(self, text: str) -> None:
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            message = None
        match message:
            case {"do": str(command)} if command.split(maxsplit=1)[:1] != ["quit"]:
                try:
                    self.controls.do(command)
                except RtstyleError as error:
                    await self.say({"sorry": str(error)})
            case {"offer": str(sdp)} if self._peer is None:
                await self._answer(sdp)
            case {"ping": _}:
                await self.say({"pong": message["ping"]})
            case _:
                await self.say({"sorry": "The page said something that was not understood."})

    async def _answer(self, sdp: str) -> None:
        # No servers: addresses of this machine only, nothing is asked of anybody else.
        peer = self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._track = self._sink.watch()

        @peer.on("track")
        def take(track: Any) -> None:
            if track.kind == "video" and self._state.shared is None and self._source is None:
                self._start(self._pump(track))

        try:
            await peer.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
            peer.addTrack(self._track)
            await peer.setLocalDescription(await peer.createAnswer())
        except Exception as error:
            # aiortc raises, and asserts, whatever malformed text makes it stumble over.
            _log.info("An offer was refused: %r", error)
            await self.close("The browser's offer was not understood.")
            return
        await self.say({"answer": peer.localDescription.sdp})

    async def _pump(self, track: Any) -> None:
        """Pictures from the browser to the thread that paints, which the first one starts."""
        try:
            while True:
                frame = await track.recv()
                if self._source is None:
                    self._source = TrackSource(frame)
                    self._thread = Thread(
                        target=self._paint, args=(self._source,), name="rtstyle-viewer", daemon=True
                    )
                    self._thread.start()
                else:
                    self._source.push(frame)
        except MediaStreamError:
            if self._source is not None:
                self._source.close()

    def _paint(self, source: TrackSource) -> None:
        """In a thread of its own, like the main thread of `rtstyle live`."""
        try:
            session = self._session = Session(
                source, self._sink, self.controls, self._state.pool, options=self._state.live
            )
            session.run()
        except RtstyleError as error:
            sentence = str(error)
            self._loop.call_soon_threadsafe(lambda: self._start(self.close(sentence)))

    async def _report(self) -> None:
        """Figures once a second; ends the visit when its time is over."""
        while True:
            await asyncio.sleep(1.0)
            if reason := self._over():
                self._start(self.close(reason))
                return
            figures, notice = self._figures()
            await self.say(
                {
                    "figures": {
                        "fps": round(figures.fps, 1),
                        "latency": round(figures.latency_ms),
                        "dropped": figures.dropped,
                        "height": figures.height,
                        "notice": notice,
                    }
                }
            )

    def _figures(self) -> tuple[Figures, str]:
        if self._state.shared is not None:
            return self._state.shared.figures()
        return (self._session.figures, self._session.notice) if self._session else (Figures(), "")

    def _over(self) -> str:
        """Why the visit should end now; "" when it should not."""
        options, now = self._state.options, perf_counter()
        if now - self._since > options.session_seconds:
            return "This visit has lasted as long as one may; reload the page to go on."
        if self._state.shared is not None:
            return ""
        if self._source is None:
            late = now - self._since > _OFFER_SECONDS and self._peer is not None
            return "No pictures came from the browser." if late else ""
        if now - self._source.last_push > options.idle_seconds:
            return "No pictures came from the browser for a while."
        return ""

    def _send_settings(self, settings: Settings) -> None:
        """A listener of the controls, in whatever thread changed them."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(
                lambda: self._start(self.say(settings_message(settings)))
            )

    def _start(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
