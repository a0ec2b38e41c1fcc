"""The page as a sink: one live run that all visitors watch, served by a thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from threading import Thread
from typing import Any, TypeVar

from rtstyle.closing import Closing
from rtstyle.frame import Frame
from rtstyle.live.controls import Controls
from rtstyle.live.engine_pool import EnginePool
from rtstyle.live.session import Figures, LiveOptions
from rtstyle.serve.app_state import AppState, SharedRun
from rtstyle.serve.auth import ServeOptions
from rtstyle.serve.server import Server
from rtstyle.serve.tracks import TrackSink

T = TypeVar("T")


class WebSink(Closing):
    """Shows frames on a page at `url`, with the figures and the notice that `figures()` gives.

    Raises `OutputError` when the page cannot be served.
    """

    notes: list[str]

    def __init__(
        self,
        options: ServeOptions,
        controls: Controls,
        pool: EnginePool,
        *,
        figures: Callable[[], tuple[Figures, str]],
    ) -> None:
        self.notes = []
        self._loop = asyncio.new_event_loop()
        self._sink = TrackSink(self._loop)
        self._thread = Thread(target=self._loop.run_forever, name="rtstyle-web", daemon=True)
        self._thread.start()
        state = AppState(
            options, LiveOptions(), pool, controls.settings, list(controls.gallery),
            shared=SharedRun(self._sink, controls, figures),
        )  # fmt: skip
        try:
            self._server, self.url = self._call(_started(state))
        except BaseException:
            self._end_loop()
            raise

    def write(self, frame: Frame) -> None:
        """Show the frame to all visitors."""
        self._sink.write(frame)

    def finish(self, *, complete: bool = True) -> None:
        """Nothing to complete."""

    def close(self) -> None:
        self._call(self._server.stop())
        self._end_loop()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30.0)

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5.0)
        self._loop.close()


async def _started(state: AppState) -> tuple[Server, str]:
    server = Server(state)
    return server, await server.start()
