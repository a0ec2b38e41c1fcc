"""The page in the main thread, each viewer with a camera of its own: what `rtstyle serve` runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from rtstyle.engines import EngineOptions
from rtstyle.live.controls import Settings
from rtstyle.live.engine_pool import EnginePool
from rtstyle.live.session import LiveOptions
from rtstyle.serve.app_state import Studio
from rtstyle.serve.options import ServeOptions
from rtstyle.serve.server import Server
from rtstyle.style.style import Style


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
            server = Server(Studio(options, live, pool, settings, gallery))
            on_ready(await server.start())
            try:
                await asyncio.Event().wait()
            finally:
                await server.stop()

    asyncio.run(run())
