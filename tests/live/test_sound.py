"""Sound stays in step with live pictures: in files, recordings and streams, of clips and others."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from rtstyle.frame import Frame, StreamInfo
from rtstyle.live.run import LiveJob, run_live
from rtstyle.live.settings import Settings
from rtstyle.media.devices.network import NetworkSink
from rtstyle.media.devices.sound import RATE, SoundRing
from rtstyle.media.devices.source import TIME_BASE
from rtstyle.style.style import Style

RECORDED_AFTER, RATE_OF_CLIP = 0.8, 25


@pytest.fixture(scope="module")
def clap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds, dark and silent, with a flash and a tone at 0.4, 1.4 and 2.4 s."""
    path = tmp_path_factory.mktemp("clap") / "clap.mkv"
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=RATE_OF_CLIP)
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        sound = out.add_stream("pcm_s16le", rate=RATE, layout="stereo")
        samples = np.zeros((3 * RATE, 2), np.int16)
        for index in range(3 * RATE_OF_CLIP):
            flash = index % RATE_OF_CLIP == 10
            image = np.full((64, 96, 3), 255 if flash else 0, np.uint8)
            out.mux(video.encode(av.VideoFrame.from_ndarray(image)))
            if flash:
                start = index * RATE // RATE_OF_CLIP
                wave = 20_000 * np.sin(np.arange(RATE // 20) * 0.2)
                samples[start : start + len(wave)] = wave[:, None]
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16")
        frame.sample_rate = RATE
        out.mux(sound.encode(frame))
        out.mux(video.encode(None))
        out.mux(sound.encode(None))
    return path


def beginnings(times: list[float]) -> list[float]:
    """The times that no other precedes by less than a third of a second."""
    return [t for last, t in zip([-1.0, *times], times, strict=False) if t - last > 0.3]


def claps(path: Path) -> tuple[list[float], list[float]]:
    """When the file flashes and when it sounds, in seconds."""
    with av.open(str(path)) as file:
        pictures = [
            (f.time or 0.0, f.to_ndarray(format="gray").mean()) for f in file.decode(video=0)
        ]
    with av.open(str(path)) as file:
        heard = []
        for frame in file.decode(audio=0):
            loud = np.abs(frame.to_ndarray().reshape(2, -1)[0].astype(float))
            limit = 3000 if frame.format.name.startswith("s16") else 0.1
            heard += [(frame.time or 0.0) + k / RATE for k in np.flatnonzero(loud > limit)]
    return beginnings([t for t, mean in pictures if mean > 128]), beginnings(heard)


def job(gallery: list[Style], source: object, **changes: object) -> LiveJob:
    return LiveJob(
        settings=Settings(style=gallery[0]), gallery=tuple(gallery), source=str(source),
        **{"sinks": ("null",), **changes},
    )  # fmt: skip


def test_a_clip_to_a_file_ends_at_its_end_with_its_sound(
    clap: Path, gallery: list[Style], tmp_path: Path
) -> None:
    for n in range(3):  # a busy machine may leave out the first picture, and the file begins later
        out, notes = tmp_path / f"{n}.mp4", list[str]()
        outcome = run_live(job(gallery, clap, sinks=(str(out),)), on_note=notes.append)
        assert not outcome.interrupted
        flashes, tones = claps(out)
        if np.allclose(np.diff(tones), 1, atol=0.04):
            break
    assert np.allclose(np.diff(tones), [1, 1], atol=0.04), "no sound is missing"
    assert len(flashes) >= 2  # a busy machine leaves out pictures, and with them a flash
    assert max(min(abs(flash - tone) for tone in tones) for flash in flashes) < 0.04
    assert any("rtstyle render" in note for note in notes)


def test_a_recording_of_a_clip_has_the_sound_of_its_pictures(
    clap: Path, gallery: list[Style], tmp_path: Path
) -> None:
    def commands() -> object:
        time.sleep(RECORDED_AFTER)
        yield "record"
        time.sleep(4)  # past the clip's end: it begins again
        yield "quit"

    run_live(job(gallery, clap, folder=tmp_path), commands=commands())  # type: ignore[arg-type]
    (path,) = tmp_path.glob("*.mp4")
    flashes, tones = claps(path)
    assert len(flashes) >= 3
    assert np.abs(np.diff(tones) - 1).max() < 0.04, "no sound is missing"
    # On a busy machine a live run leaves out pictures, and with them a flash.
    nearest = [min(abs(flash - tone) for tone in tones) for flash in flashes]
    assert max(nearest) < 0.04
    assert len(set(np.round(flashes))) == len(flashes) <= len(tones)


def test_a_microphone_is_heard_and_a_missing_one_ends_nothing(
    gallery: list[Style], tmp_path: Path
) -> None:
    pattern = "lavfi:testsrc2=size=96x64:rate=25"
    run = job(gallery, pattern, sinks=(str(tmp_path / "mic.mp4"),), seconds=2.0,
              sound="microphone:lavfi:sine=frequency=440")  # fmt: skip
    run_live(run)
    with av.open(str(tmp_path / "mic.mp4")) as file:
        level = max(float(np.abs(f.to_ndarray()).max()) for f in file.decode(audio=0))
    assert level > 0.05
    notes: list[str] = []
    silent = job(gallery, pattern, sinks=(str(tmp_path / "silent.mp4"),), seconds=1.0,
                 sound="microphone:no such thing")  # fmt: skip
    run_live(silent, on_note=notes.append)
    assert any("microphone" in note and "cannot be opened" in note for note in notes)
    with av.open(str(tmp_path / "silent.mp4")) as file:
        assert not file.streams.audio


def test_a_stream_carries_the_sound(tmp_path: Path) -> None:
    ring = SoundRing()
    tone = (20_000 * np.sin(np.arange(2 * RATE) * 0.1)).astype(np.int16)
    ring.put(0, np.stack([tone, tone], 1))
    received = bytearray()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        receiver.settimeout(5)

        def listen() -> None:
            while data := receiver.recv(65_536):
                received.extend(data)

        thread = threading.Thread(target=listen)
        thread.start()
        info = StreamInfo(96, 64, Fraction(25), TIME_BASE)
        url = f"udp://127.0.0.1:{receiver.getsockname()[1]}"
        with NetworkSink(url, info, sound=ring) as sink:
            for index in range(25):
                sink.write(Frame(np.zeros((64, 96, 3), np.uint8), Fraction(index, 25), index))
                time.sleep(0.02)
            sink.finish()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            end.sendto(b"", receiver.getsockname())
        thread.join(10)
    path = tmp_path / "stream.ts"
    path.write_bytes(received)
    with av.open(str(path)) as file:
        level = max(float(np.abs(f.to_ndarray()).max()) for f in file.decode(audio=0))
    assert level > 0.3


def test_a_ring_keeps_what_is_new_and_is_silent_elsewhere() -> None:
    ring = SoundRing()
    ones = np.ones((RATE, 2), np.int16)
    ring.put(100, ones)
    ring.put(100 + 30 * RATE, 2 * ones)
    assert not ring.get(0, RATE).any()  # long gone
    assert not ring.get(25 * RATE, 26 * RATE).any()  # nobody wrote there
    assert ring.get(100 + 30 * RATE, 100 + 31 * RATE).min() == 2
    assert not ring.get(40 * RATE, 41 * RATE).any()  # not yet


NO_DISPLAY = """
import os
for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
    os.environ.pop(name, None)
from rtstyle.cli.main import main
main()
"""


def test_a_window_without_a_display_says_so() -> None:
    pytest.importorskip("pygame", reason="pygame-ce is not installed")
    arguments = ["live", "lavfi:testsrc2=size=96x64:rate=25", "--to", "window", "-t", "1"]
    run = subprocess.run(
        [sys.executable, "-c", NO_DISPLAY, *arguments], capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 1
    assert "--to web" in run.stderr
