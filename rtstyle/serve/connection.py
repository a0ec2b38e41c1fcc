"""One visitor: a socket for messages, a WebRTC connection for video, a thread for the session."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
from collections.abc import Coroutine
from dataclasses import asdict
from threading import Thread
from time import perf_counter
from typing import Any

from aiohttp import WSMsgType, web
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from rtstyle.errors import RtstyleError, UsageError
from rtstyle.frame import Image
from rtstyle.live.commands import Command, Rights
from rtstyle.live.session import Figures, Session
from rtstyle.live.settings import Settings
from rtstyle.serve.app_state import AppState
from rtstyle.serve.auth import is_loopback
from rtstyle.serve.capture_clock import CaptureClock
from rtstyle.serve.messages import Offer, Ping, parse_message
from rtstyle.serve.tracks import StylizedTrack, TrackSink, TrackSource
from rtstyle.serve.webrtc import filter_offer
from rtstyle.style.style import Style
from rtstyle.web.plan import settings_message

_log = logging.getLogger("rtstyle")
_SEND_SECONDS = 10.0  # that a browser may take to read a message
_LONGEST_MESSAGE = 64 * 1024


class Connection:
    """Serves one socket until it closes. Everything it holds is released then. Lives in asyncio."""

    def __init__(self, state: AppState, rights: Rights) -> None:
        self.id = secrets.token_urlsafe(12)
        self.controls = state.controls()
        self.rights = rights
        self.uploading = asyncio.Lock()
        self._state = state
        self._socket = web.WebSocketResponse(heartbeat=10.0, max_msg_size=_LONGEST_MESSAGE)
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._is_loopback = False
        self._peer: RTCPeerConnection | None = None
        self._sink = state.shared.sink if state.shared else TrackSink(self._loop)
        self._track: StylizedTrack | None = None
        self._clock: CaptureClock | None = None
        self._source: TrackSource | None = None
        self._session: Session | None = None
        self._thread: Thread | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()  # the settings, since the page got them
        self._uploads: list[str] = []
        self._faces: dict[str, bytes] = {}  # thumbnails by style
        self._face: Image | None = None
        self._began = perf_counter()
        self._offered = 0.0

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """Answer messages until the page leaves or the visit is over."""
        await self._socket.prepare(request)
        self._transport = request.transport
        self._is_loopback = is_loopback(request.remote or "")
        self.controls.listen(self._on_change)
        hello = {"viewer": self.id, **self._state.welcome(self.rights)}
        await self.say({"hello": hello})
        gallery = self._state.gallery_message(self.controls)
        await self.say(gallery | settings_message(self.controls.settings))
        self._start(self._report())
        self._start(self._send_settings())
        try:
            async for message in self._socket:
                if message.type is WSMsgType.TEXT:
                    await self._handle(message.data)
        finally:
            await self.close()
        return self._socket

    async def say(self, message: dict[str, Any]) -> None:
        """Send a message to the page; a page that does not read it is cut off."""
        if self._socket.closed:
            return
        try:
            async with asyncio.timeout(_SEND_SECONDS):
                await self._socket.send_str(json.dumps(message))
        except TimeoutError:
            self._abort()
        except (ConnectionError, RuntimeError):
            pass  # it has gone

    async def close(self, reason: str = "") -> None:
        """End the visit and release what it holds. More than once does no harm."""
        if reason:
            await self.say({"goodbye": reason})
        self.controls.forget(self._on_change)
        for name in self._uploads:  # from the gallery of a shared run, too
            self.controls.remove(name)
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
        try:
            async with asyncio.timeout(_SEND_SECONDS):
                await self._socket.close()
        except TimeoutError:
            self._abort()

    async def face(self, style: Style) -> bytes | None:
        """The visitor in that style, as a JPEG file; None before there is a picture of them.

        Made once a style and visit, of the same picture. Raises `EngineError`.
        """
        if self._face is None and self._source is not None:
            self._face = await asyncio.to_thread(self._source.newest)
        if self._face is not None and style.name not in self._faces:
            paint, face = self._state.thumbnails.of, self._face
            self._faces[style.name] = await asyncio.to_thread(paint, style, face)
        return self._faces.get(style.name)

    def keep(self, style: Style, *, most: int) -> None:
        """Add an uploaded style to the gallery; the oldest of more than `most` is removed."""
        self._uploads = [name for name in self._uploads if name != style.name]
        if len(self._uploads) >= most:
            self.controls.remove(self._uploads.pop(0))
        self._uploads.append(style.name)
        self.controls.add(style)

    async def _handle(self, text: str) -> None:
        try:
            message = parse_message(text, self.rights)
            match message:
                case Command():
                    self.controls.do(message)
                case Ping(value):
                    await self.say({"pong": value})
                case Offer(sdp):
                    await self._answer(sdp)
        except RtstyleError as error:
            await self.say({"sorry": str(error)})

    async def _answer(self, offer: str) -> None:
        if self._peer is not None:
            raise UsageError("The page has sent its offer already; reload it to start again.")
        # No servers: addresses of this machine only, no other machine is asked.
        peer = self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._offered = perf_counter()
        self._track = self._sink.watch()

        @peer.on("track")
        def take(track: Any) -> None:
            if track.kind == "video" and self._state.shared is None and self._source is None:
                self._start(self._receive(track))

        try:
            sdp = filter_offer(offer, from_loopback=self._is_loopback)
            await peer.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
            sender = peer.addTrack(self._track)
            if self._state.shared is not None:  # nothing is received that nobody reads
                for transceiver in peer.getTransceivers():
                    transceiver.direction = "sendonly"
            else:
                self._clock = CaptureClock(sender, peer.getReceivers()[0])
                self._track.on_sent = self._on_sent
            await peer.setLocalDescription(await peer.createAnswer())
        except Exception as error:
            # aiortc raises, and asserts, whatever malformed text makes it stumble over.
            _log.info("An offer was refused: %r", error)
            await self.close("The browser's offer was not understood.")
            return
        await self.say({"answer": peer.localDescription.sdp})

    async def _receive(self, track: Any) -> None:
        """Frames from the browser to the session's thread, which the first one starts."""
        with contextlib.suppress(MediaStreamError):  # the end
            while True:
                frame = await track.recv()
                if self._source is None:
                    self._source = TrackSource(frame)
                    self._thread = Thread(
                        target=self._run, args=(self._source,), name="rtstyle-viewer", daemon=True
                    )
                    self._thread.start()
                else:
                    self._source.push(frame)
        if self._source is not None:
            self._source.close()

    def _run(self, source: TrackSource) -> None:
        """In a thread of its own, like the main thread of `rtstyle live`."""
        try:
            session = self._session = Session(
                source, self._sink, self.controls, self._state.pool, options=self._state.live
            )
            session.run()
        except RtstyleError as error:
            _log.warning("A visit ended: %s", error)
            reason = "The pictures cannot be painted; the output of this rtstyle says why."
            self._loop.call_soon_threadsafe(lambda: self._start(self.close(reason)))

    async def _report(self) -> None:
        """Send figures once a second; end the visit when its time is over."""
        while True:
            await asyncio.sleep(min(1.0, self._state.options.seat_seconds))
            if reason := self._over():
                self._start(self.close(reason))
                return
            figures, notice = self._figures()
            pictures = self._clock.take() if self._clock else []
            await self.say({"figures": asdict(figures) | {"notice": notice, "pictures": pictures}})

    def _on_sent(self, ticks: int) -> None:
        pts = self._source.pts(ticks) if self._source else None
        if self._clock is not None and pts is not None:
            self._clock.sent(pts)

    def _figures(self) -> tuple[Figures, str]:
        if self._state.shared is not None:
            return self._state.shared.figures()
        session = self._session
        return (session.figures, session.public_notice) if session else (Figures(), "")

    def _over(self) -> str:
        """Why the visit should end now; "" when it should not."""
        options, now = self._state.options, perf_counter()
        if now - self._began > options.session_seconds:
            return "This visit has lasted as long as one may; reload the page to go on."
        if self._peer is None:
            late = now - self._began > options.seat_seconds
            return "The page did not ask for video; press the button to try again." if late else ""
        if self._peer.connectionState in ("failed", "closed"):
            return "The video connection was lost."
        late = now - self._offered > options.seat_seconds
        if self._peer.connectionState != "connected":
            return "The video connection failed; a firewall may be in the way." if late else ""
        if self._state.shared is not None:
            return ""
        if self._source is None:
            return "No pictures came from the browser." if late else ""
        if now - self._source.last_push > options.idle_seconds:
            return "No pictures came from the browser for a while."
        return ""

    def _on_change(self, settings: Settings) -> None:
        """A listener of the controls, in whatever thread changed them."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._changed.set)

    async def _send_settings(self) -> None:
        """The newest settings after changes; a slow page misses those in between."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self.say(settings_message(self.controls.settings))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
