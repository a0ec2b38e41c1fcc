"""The page as a sink: one live run that all visitors watch, served by a thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from threading import Thread
from typing import Any, Self, TypeVar

from rtstyle.closing import Closing
from rtstyle.frame import Frame
from rtstyle.live.controls import Controls
from rtstyle.live.engine_pool import EnginePool
from rtstyle.live.options import LiveOptions
from rtstyle.live.run import Status
from rtstyle.live.session import Figures
from rtstyle.media.base import SinkRequest
from rtstyle.serve.app_state import AppState, SharedRun
from rtstyle.serve.auth import ServeOptions
from rtstyle.serve.server import Server
from rtstyle.serve.tracks import TrackSink

T = TypeVar("T")


class WebSink(Closing):
    """Shows frames on a page, with the figures and the notice that `figures()` gives.

    Visitors watch at `url`; the one who opens `control_url` changes the style and the rest.
    Raises `OutputError` when the page cannot be served.
    """

    notes: list[str]

    @classmethod
    def from_name(cls, name: str, request: SinkRequest) -> Self:
        """Serve the page of the live run that is the request's panel."""
        run = request.panel
        if not isinstance(run, Status):
            raise TypeError("A page is opened for a live run.")
        options = run.serve if isinstance(run.serve, ServeOptions) else ServeOptions()
        page = cls(options, run.controls, run.pool, figures=run.figures)
        run.note(f"watch at {page.url}")
        run.on_note(f"control at {page.control_url}")  # a secret: not on the screen
        return page

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
            self.control_url = options.url(self._server.port, control=True)
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
        self._call(end_tasks())
        self._end_loop()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30.0)

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5.0)
        self._loop.close()


async def end_tasks() -> None:
    """Cancel whatever still runs in this loop, as `asyncio.run` does at its end."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _started(state: AppState) -> tuple[Server, str]:
    server = Server(state)
    return server, await server.start()
