"""The page in a thread of its own, showing one painting to all who open it."""

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
from rtstyle.serve.app_state import Show, Studio
from rtstyle.serve.options import ServeOptions
from rtstyle.serve.server import Server
from rtstyle.serve.tracks import BrowserSink

T = TypeVar("T")


class WebSink(Closing):
    """Shows frames on a page at `url`, whose controls are the ones given.

    Raises `OutputError` when the page cannot be served. `figures` may be assigned: what the page
    shows of the rate and the latency, and a notice.
    """

    notes: list[str]

    def __init__(self, options: ServeOptions, controls: Controls, pool: EnginePool) -> None:
        self.notes = []
        self._loop = asyncio.new_event_loop()
        self._sink = BrowserSink(self._loop)
        self._show = Show(self._sink, controls)
        self._thread = Thread(target=self._loop.run_forever, name="rtstyle-web", daemon=True)
        self._thread.start()
        try:
            self._server = self._call(
                self._started(
                    Studio(
                        options,
                        LiveOptions(),
                        pool,
                        controls.settings,
                        list(controls.gallery),
                        show=self._show,
                    )
                )
            )
        except BaseException:
            self._end_loop()
            raise

    def describe(self, figures: Callable[[], tuple[Figures, str]]) -> None:
        """Have the page show these figures and this notice."""
        self._show.figures = figures

    def write(self, frame: Frame) -> None:
        """Show the frame to all who watch."""
        self._sink.write(frame)

    def finish(self, *, complete: bool = True) -> None:
        """Nothing to complete."""

    def close(self) -> None:
        self._call(self._server.stop())
        self._end_loop()

    async def _started(self, studio: Studio) -> Server:
        server = Server(studio)
        self.url = await server.start()
        return server

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30.0)

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5.0)
        self._loop.close()
