"""Window, virtual camera, network and several at once."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import threading
import time
import types
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from rtstyle.errors import MissingExtraError, OutputError, optional
from rtstyle.frame import Frame, StreamInfo
from rtstyle.media import open_sink
from rtstyle.media.devices import network as network_sink
from rtstyle.media.devices.network import NetworkSink
from rtstyle.media.devices.source import TIME_BASE
from rtstyle.media.devices.virtualcam import VirtualCameraSink
from rtstyle.media.devices.window import KEYS, WindowSink
from rtstyle.media.synthetic import NullSink, TeeSink
from tests.media.clips import picture

INFO = StreamInfo(64, 48, Fraction(25), TIME_BASE)


def frame(index: int) -> Frame:
    return Frame(picture(index), Fraction(index, 25), index)


def test_a_library_that_is_missing_says_how_to_install_it() -> None:
    with pytest.raises(MissingExtraError, match=r"pip install 'rtstyle\[live\]'"):
        optional("surely_no_such_library", "The window")


@pytest.fixture
def pygame(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setenv("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    return pytest.importorskip("pygame", reason="pygame-ce is not installed")


def test_a_window_shows_frames_and_passes_keys_on(pygame: Any) -> None:
    commands: list[str] = []
    with WindowSink(INFO, on_command=commands.append, status=lambda: "udnie  25 fps") as window:
        for key in (pygame.K_RIGHT, pygame.K_3, pygame.K_SPACE, pygame.K_h, pygame.K_i):
            pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=key))
        pygame.event.post(pygame.event.Event(pygame.QUIT))
        window.write(frame(3))
        shown = pygame.surfarray.array3d(pygame.display.get_surface()).transpose(1, 0, 2)
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_h))
        window.write(frame(3))
        bare = pygame.surfarray.array3d(pygame.display.get_surface()).transpose(1, 0, 2)
        window.finish()
    assert commands == ["next", "style 3", "pause", "quit"]
    assert not np.array_equal(shown, picture(3))  # the help lies over it
    np.testing.assert_array_equal(bare, picture(3))
    assert not pygame.display.get_init()


def test_every_key_says_a_command_that_exists() -> None:
    from rtstyle.live.commands import COMMANDS

    assert {command.split()[0] for command in KEYS.values()} <= set(COMMANDS)


def test_a_virtual_camera_gets_every_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []

    class Camera:
        device = "/dev/video9"

        def __init__(self, **options: Any) -> None:
            self.options = options

        def send(self, image: Any) -> None:
            sent.append((image.copy(), self.options))

        def close(self) -> None:
            sent.append("closed")

    library = types.SimpleNamespace(Camera=Camera, PixelFormat=types.SimpleNamespace(RGB="rgb"))
    monkeypatch.setitem(sys.modules, "pyvirtualcam", library)  # type: ignore[arg-type]
    with open_sink("virtualcam:/dev/video9", INFO, live=True) as sink:
        sink.write(frame(1))
    np.testing.assert_array_equal(sent[0][0], picture(1))
    assert sent[0][1] == {
        "width": 64, "height": 48, "fps": 25.0, "device": "/dev/video9", "fmt": "rgb"
    }  # fmt: skip
    assert sent[-1] == "closed"


def test_no_virtual_camera_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**options: Any) -> None:
        raise RuntimeError("'v4l2loopback' backend: No device found\nDid you …")

    library = types.SimpleNamespace(Camera=refuse, PixelFormat=types.SimpleNamespace(RGB="rgb"))
    monkeypatch.setitem(sys.modules, "pyvirtualcam", library)  # type: ignore[arg-type]
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(OutputError, match="modprobe v4l2loopback") as caught:
        VirtualCameraSink(INFO)
    assert len(str(caught.value).splitlines()) == 1


def test_a_real_virtual_camera_where_there_is_one() -> None:
    pytest.importorskip("pyvirtualcam", reason="pyvirtualcam is not installed")
    try:
        sink = VirtualCameraSink(INFO)
    except OutputError as error:
        pytest.skip(f"no loopback device here: {error}")
    with sink:
        for index in range(3):
            sink.write(frame(index))


def test_a_stream_arrives_at_the_other_end() -> None:
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_000_000)
    receiver.bind(("127.0.0.1", 0))
    receiver.settimeout(1.0)
    data = bytearray()

    def listen() -> None:
        while True:
            try:
                data.extend(receiver.recv(65536))
            except TimeoutError:
                return

    thread = threading.Thread(target=listen)
    with NetworkSink(f"udp://127.0.0.1:{receiver.getsockname()[1]}", INFO) as sink:
        thread.start()
        for index in range(15):
            sink.write(frame(index))
            time.sleep(0.02)
        sink.finish()
    thread.join()
    receiver.close()
    with av.open(io.BytesIO(bytes(data)), format="mpegts") as container:
        decoded = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    assert len(decoded) >= 5
    assert np.abs(decoded[0].astype(int) - picture(0)).mean() < 12


@pytest.mark.parametrize("url", ["rtmp://127.0.0.1:1/live", "rtsp://127.0.0.1:1/live"])
def test_a_server_that_is_not_there_is_reported(url: str) -> None:
    with pytest.raises(OutputError, match="takes no stream"):
        NetworkSink(url, INFO)


def test_a_server_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_sink, "_CONNECT_SECONDS", 2.0)
    ticks: list[float] = []
    done = threading.Event()

    def tick() -> None:
        while not done.wait(0.05):
            ticks.append(time.monotonic())

    thread = threading.Thread(target=tick)
    thread.start()
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(OutputError, match="no answer"),
    ):
        NetworkSink(f"rtmp://127.0.0.1:{silent.getsockname()[1]}/live", INFO)
    done.set()
    thread.join()
    assert max(np.diff(ticks)) < 1.0, "connecting stopped everything else"


def test_a_connection_that_breaks_is_made_again() -> None:
    with NetworkSink("udp://127.0.0.1:9", INFO) as sink:
        assert sink._sender is not None
        sink._sender.kill()
        notices = set()
        end = time.monotonic() + 20
        index = 0
        while "" not in notices or len(notices) < 2 or sink.notice:
            assert time.monotonic() < end
            sink.write(frame(index := index + 1))
            notices.add(sink.notice)
            time.sleep(0.02)
    assert any("connecting again" in notice for notice in notices)


def test_several_sinks_get_the_same(tmp_path: Path) -> None:
    first, second = NullSink(), open_sink(tmp_path / "a.mp4", INFO, live=True)
    with second, TeeSink([first, second]) as tee:
        for index in range(3):
            tee.write(frame(index))
        tee.finish()
    assert first.n_frames == 3
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 3


def test_no_display_is_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("pygame", reason="pygame-ce is not installed")
    code = (
        "from tests.media.test_live_sinks import INFO\n"
        "from rtstyle.errors import OutputError\n"
        "from rtstyle.media.devices.window import WindowSink\n"
        "try: WindowSink(INFO)\n"
        "except OutputError as error: print(error)\n"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60,
        env=environment | {"SDL_VIDEODRIVER": "x11"}, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert "--to web" in done.stdout
