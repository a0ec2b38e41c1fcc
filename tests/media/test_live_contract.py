"""What every live source and every live sink keeps, beyond `test_contract`."""

from __future__ import annotations

import functools
import http.server
import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rtstyle import media
from rtstyle.engines import EngineOptions
from rtstyle.frame import Frame, StreamInfo
from rtstyle.live.controls import Controls
from rtstyle.live.engine_pool import EnginePool
from rtstyle.live.run import LiveJob, Status
from rtstyle.live.settings import Settings
from rtstyle.media import ReadOptions, Sink, open_sink, open_source
from rtstyle.media.devices import capture, webcam
from rtstyle.media.devices.cameras import Camera
from rtstyle.media.devices.capture import AvDevice, Input
from rtstyle.media.devices.source import TIME_BASE, LiveSource
from rtstyle.media.options import CameraMode
from rtstyle.model.file import read_model
from rtstyle.style.style import styles_of
from tests.graphs import dimming
from tests.media.clips import Clip, make_clip, picture
from tests.media.test_live_source import Camera as MadeUp
from tests.serve.dim import DIM


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    """The address of a web server for the folder."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def _http(folder: Path) -> Iterator[LiveSource]:
    # long, as it is read ahead: at its end the source would say so
    make_clip(folder / "a.mkv", Clip(times=range(0, 1000 * 512, 512)))
    with _served(folder) as address, open_source(f"{address}/a.mkv", live=True) as source:
        yield source


def pattern_device(source: Input) -> AvDevice:
    """In place of a camera or a screen, which the machine need not have."""
    return AvDevice(replace(source, url="testsrc2=size=64x48:rate=25", format="lavfi", options={}))


@contextmanager
def _webcam(folder: Path) -> Iterator[LiveSource]:
    mode = CameraMode(64, 48, 25)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(webcam, "find_cameras", lambda: [Camera("/dev/video0", "Camera", (mode,))])
        patch.setattr(webcam, "AvDevice", pattern_device)
        with open_source("webcam:0", ReadOptions(camera=mode), live=True) as source:
            yield source


@contextmanager
def _screen(folder: Path) -> Iterator[LiveSource]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DISPLAY", ":7")
        patch.setattr("sys.platform", "linux")
        patch.setattr(capture, "AvDevice", pattern_device)
        with open_source("screen:64x48", live=True) as source:
            yield source


SOURCES: dict[str, Callable[[Path], AbstractContextManager[LiveSource]]] = {
    "webcam": _webcam,
    "lavfi": lambda folder: open_source("lavfi:testsrc2=size=64x48:rate=25", live=True),
    "screen": _screen,
    "stream": _http,
    "looped": lambda folder: open_source(make_clip(folder / "a.mp4"), live=True),
}


def test_every_live_row_is_tried() -> None:
    assert set(SOURCES) == {kind for kind, row in media.SOURCES.items() if row.live}
    live = {kind for kind, row in media.SINKS.items() if row.live is not False}
    assert set(SINKS) == live - {"ndi"}  # whose library is an extra: tests/media/test_ndi.py


@pytest.mark.parametrize("name", SOURCES)
def test_a_live_source_delivers_frames_as_it_announced(name: str, tmp_path: Path) -> None:
    with SOURCES[name](tmp_path) as source:
        frames = list(islice(source.frames(), 5))
        now = source.clock()
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    for frame in frames:
        assert frame.image.shape == (source.info.height, source.info.width, 3) == (48, 64, 3)
        assert frame.image.dtype == np.uint8
        assert frame.image.flags.c_contiguous
        assert (frame.time / source.info.time_base).denominator == 1
        assert frame.time <= now
    assert [frame.time for frame in frames] == sorted({frame.time for frame in frames})
    assert (source.notes, source.notice, source.origin) == ([], "", None)


@pytest.mark.parametrize("name", SOURCES)
def test_a_live_source_closes_before_it_is_read(name: str, tmp_path: Path) -> None:
    with SOURCES[name](tmp_path):
        pass
    assert [t.name for t in threading.enumerate() if t.name == "rtstyle-capture"] == []


def test_a_mode_that_a_camera_lacks_is_replaced_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def device(source: Any) -> MadeUp:
        asked.append(source)
        return MadeUp([1])

    camera = Camera("/dev/video0", "Small Camera", (CameraMode(8, 6, 30, "yuyv422"),))
    monkeypatch.setattr(webcam, "find_cameras", lambda: [camera])
    monkeypatch.setattr(webcam, "AvDevice", device)
    monkeypatch.setattr("sys.platform", "linux")
    with open_source("webcam:0", ReadOptions(camera=CameraMode(640, 480)), live=True) as source:
        pass
    assert asked[0].options["video_size"] == "8x6"
    (note,) = source.notes
    assert "Small Camera has no 640×480" in note
    assert "8×6" in note


def _window(folder: Path, info: StreamInfo) -> Sink:
    pytest.importorskip("pygame", reason="pygame-ce is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SDL_VIDEODRIVER", "dummy")
        return open_sink("window", info, live=True)


def _web(folder: Path, info: StreamInfo) -> Sink:
    pytest.importorskip("aiortc", reason="the extra live is not installed")
    from rtstyle.serve.auth import ServeOptions

    models = folder.with_name(f"{folder.name}-models")
    models.mkdir()
    dimming(models / "dimming.onnx", metadata={"rtstyle": json.dumps(DIM)})
    gallery = styles_of(read_model(models / "dimming.onnx"))
    notes: list[str] = []
    settings = Settings(style=gallery[0])
    job = LiveJob(settings=settings, gallery=tuple(gallery), serve=ServeOptions(port=0))
    pool = EnginePool(EngineOptions(name="onnxruntime", threads=1))
    run = Status(job, Controls(gallery, settings), pool, notes.append)
    sink = open_sink("web", info, live=True, panel=run)
    assert [note.partition(" at http://127.0.0.1:")[0] for note in notes] == ["watch", "control"]
    return sink


def _virtual_camera(folder: Path, info: StreamInfo) -> Sink:
    camera = SimpleNamespace(device="/dev/video9", send=lambda image: None, close=lambda: None)
    library = SimpleNamespace(
        Camera=lambda **options: camera, PixelFormat=SimpleNamespace(RGB="rgb")
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "pyvirtualcam", library)
        return open_sink("virtualcam", info, live=True)


SINKS: dict[str, Callable[[Path, StreamInfo], Sink]] = {
    "window": _window,
    "web": _web,
    "virtualcam": _virtual_camera,
    "null": lambda folder, info: open_sink("null", info, live=True),
    "file": lambda folder, info: open_sink(folder / "o.mp4", info, live=True),
    "network": lambda folder, info: open_sink("udp://127.0.0.1:9", info, live=True),
}


@pytest.mark.parametrize("name", SINKS)
def test_a_live_sink_takes_uneven_times_and_leaves_only_its_output(
    name: str, tmp_path: Path
) -> None:
    info = StreamInfo(64, 48, Fraction(30), TIME_BASE)
    with SINKS[name](tmp_path, info) as sink:
        for index, ticks in enumerate((1234, 5001, 5002, 11_987)):
            sink.write(Frame(picture(index), ticks * TIME_BASE, index))
        sink.finish()
    assert [path.name for path in tmp_path.iterdir()] == (["o.mp4"] if name == "file" else [])
    assert [t.name for t in threading.enumerate() if t.name == "rtstyle-network"] == []
