"""A server in a thread, with models that answer at once."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rtstyle.engines import EngineOptions
from rtstyle.live.controls import Controls
from rtstyle.live.engine_pool import EnginePool
from rtstyle.live.options import LiveOptions
from rtstyle.live.session import Figures
from rtstyle.live.settings import Settings
from rtstyle.model.file import read_model
from rtstyle.style.style import styles_of
from tests.graphs import dimming, tinting
from tests.serve.dim import DIM


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of two styles, bright and dark, and one for any painting."""
    folder = tmp_path_factory.mktemp("models")
    dimming(folder / "dimming.onnx", metadata={"rtstyle": json.dumps(DIM)})
    tinting(folder / "tinting.onnx")
    return folder


@dataclass(frozen=True)
class Running:
    """A server that runs: where, how many visits it has, and the controls of a shared run."""

    url: str
    server: Any
    control_url: str = ""
    controls: Controls | None = None
    stop: Callable[[], None] = lambda: None
    every_run: Controls | None = None

    @property
    def n_viewers(self) -> int:
        return int(self.server.n_viewers)


@pytest.fixture
def serving(models: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Running]]:
    """Start a server with the given `ServeOptions`; it is stopped after the test.

    With `shared`, visitors watch a run as `rtstyle live --to web` has it, which shows nothing.
    """
    from rtstyle.serve.app_state import AppState, SharedRun
    from rtstyle.serve.auth import ServeOptions
    from rtstyle.serve.server import Server
    from rtstyle.serve.tracks import TrackSink
    from rtstyle.serve.web_sink import end_tasks

    monkeypatch.setenv("RTSTYLE_MODELS", str(models))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="test-server")
    thread.start()
    servers: list[Server] = []

    def call(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(30)

    with EnginePool(EngineOptions(name="onnxruntime", threads=1)) as pool:

        def start(*, shared: bool = False, plan: Any = None, **options: Any) -> Running:
            gallery = styles_of(read_model(models / "dimming.onnx"))

            async def run() -> Running:
                serve, settings = ServeOptions(**{"port": 0, **options}), Settings(style=gallery[0])
                controls = Controls(gallery, settings)
                watched = SharedRun(TrackSink(loop), controls, lambda: (Figures(), ""))
                state = AppState(
                    serve, LiveOptions(height=90), pool, settings, gallery,
                    shared=watched if shared else None, plan=plan,
                )  # fmt: skip
                server = Server(state)
                servers.append(server)
                url = await server.start()
                control_url = serve.url(server.port, control=True)
                return Running(
                    url, server, control_url, controls if shared else None,
                    lambda: call(server.stop()), state.every_run,
                )  # fmt: skip

            running: Running = call(run())
            return running

        yield start
        for server in servers:
            call(server.stop())
        call(end_tasks())
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()
    assert [t.name for t in threading.enumerate() if t.name.startswith("rtstyle")] == []
