"""What every live source and every live sink keeps, beyond `test_contract`."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rtstyle.frame import Frame, StreamInfo
from rtstyle.media import Sink
from rtstyle.media.devices import webcam
from rtstyle.media.devices.camera_mode import Camera, Mode
from rtstyle.media.devices.opening import open_live_sink, open_live_source
from rtstyle.media.devices.source import TIME_BASE, LiveSource
from rtstyle.media.devices.webcam import Capture
from tests.media.clips import Clip, make_clip, picture
from tests.media.test_live_source import Camera as MadeUp


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
    with _served(folder) as address, open_live_source(f"{address}/a.mkv") as source:
        yield source


@contextmanager
def _opened(text: str) -> Iterator[LiveSource]:
    with open_live_source(text) as source:
        yield source


SOURCES: dict[str, Callable[[Path], Any]] = {
    "pattern": lambda folder: _opened("lavfi:testsrc2=size=64x48:rate=25"),
    "looped file": lambda folder: _opened(str(make_clip(folder / "a.mp4"))),
    "http": _http,
}


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

    camera = Camera("/dev/video0", "Small Camera", (Mode(8, 6, 30, "yuyv422"),))
    monkeypatch.setattr(webcam, "find_cameras", lambda: [camera])
    monkeypatch.setattr(webcam, "AvDevice", device)
    monkeypatch.setattr("sys.platform", "linux")
    with open_live_source("webcam:0", Capture(width=640, height=480)) as source:
        pass
    assert asked[0].options["video_size"] == "8x6"
    (note,) = source.notes
    assert "Small Camera has no 640×480" in note
    assert "8×6" in note


SINKS: dict[str, Callable[[Path, StreamInfo], Sink]] = {
    "null": lambda folder, info: open_live_sink("null", info),
    "file": lambda folder, info: open_live_sink(str(folder / "o.mp4"), info),
    "udp": lambda folder, info: open_live_sink("udp://127.0.0.1:9", info),
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
