"""A live source waits a bounded time, holds the last picture, and reopens its device."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pytest

from rtstyle.errors import InputNotFoundError, MediaError, UsageError
from rtstyle.frame import Image, StreamInfo
from rtstyle.media import open_sink, open_source
from rtstyle.media.devices.capture import LavfiSource, screen_input, without_password
from rtstyle.media.devices.source import TIME_BASE, LiveSource, Patience
from tests.media.clips import Clip, make_clip

HASTY = Patience(
    opening=0.5, picture=0.1, holding=0.02, stalled=0.3, first_retry=0.05, last_retry=0.1
)


class Camera:
    """A device that delivers `pictures` and then breaks, stalls or ends as told."""

    note = ""

    def __init__(self, pictures: list[int], then: Callable[[], None] = lambda: None) -> None:
        self.info = StreamInfo(8, 6, Fraction(30), TIME_BASE)
        self.closed = False
        self._pictures, self._then = pictures, then

    def pictures(self) -> Iterator[Image]:
        for value in self._pictures:
            time.sleep(0.01)
            yield np.full((6, 8, 3), value, np.uint8)
        self._then()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.closed = True


def unplug() -> None:
    raise MediaError("The camera was unplugged.")


def test_an_unplugged_camera_is_held_and_opened_again() -> None:
    devices = [Camera([1, 2, 3], unplug), Camera([7, 8, 9] * 30)]
    opened: list[Camera] = []

    def plug() -> Camera:
        opened.append(devices[len(opened)])
        return opened[-1]

    values, notices = [], set()
    with LiveSource("cam", plug, patience=HASTY) as source:
        for frame in source.frames():
            values.append(int(frame.image[0, 0, 0]))
            notices.add(source.notice)
            if values[-1] == 9:
                break
    first = next(n for n, value in enumerate(values) if value >= 7)  # a slow reader skips some
    assert set(values[:first]) <= {1, 2, 3}
    assert values.count(3) >= 2, "the last picture was not held"
    assert any("unplugged" in notice and "trying again" in notice for notice in notices)
    assert source.notice == ""
    assert all(camera.closed for camera in opened)


def test_a_stalled_camera_is_given_up_and_opened_again() -> None:
    release = threading.Event()
    devices = iter([Camera([5], lambda: release.wait(5) and None), Camera([6] * 50)])
    start = time.monotonic()
    with LiveSource("cam", lambda: next(devices), patience=HASTY) as source:
        for frame in source.frames():
            if frame.image[0, 0, 0] == 6:
                break
            assert time.monotonic() - start < 5
        release.set()


def test_a_camera_that_stays_away_is_asked_for_less_and_less() -> None:
    attempts = []

    def plug() -> Camera:
        attempts.append(time.monotonic())
        if len(attempts) > 1:
            raise MediaError("There is no camera.")
        return Camera([1], unplug)

    patience = replace(HASTY, first_retry=0.03, last_retry=0.3)
    with LiveSource("cam", plug, patience=patience) as source:
        for _ in source.frames():
            if len(attempts) >= 5:
                break
    gaps = np.diff(attempts)
    assert gaps[-1] > gaps[0] + 0.1


def test_times_rise_and_sizes_stay() -> None:
    class Growing(Camera):
        def pictures(self) -> Iterator[Image]:
            for side in (6, 12, 3, 9):
                time.sleep(0.01)
                yield np.full((side, 2 * side, 3), 200, np.uint8)

    with LiveSource("cam", lambda: Growing([]), reopen=False, patience=HASTY) as source:
        frames = list(source.frames())
    assert all(frame.image.shape == (6, 8, 3) for frame in frames)
    times = [frame.time for frame in frames]
    assert times == sorted(set(times))
    assert all((t / TIME_BASE).denominator == 1 for t in times)


def test_a_device_that_never_opens_is_not_waited_for() -> None:
    release = threading.Event()

    def stuck() -> Camera:
        release.wait(10)
        return Camera([1])

    start = time.monotonic()
    with pytest.raises(MediaError, match="did not open within"):
        LiveSource("cam", stuck, patience=HASTY)
    assert time.monotonic() - start < 5
    release.set()


def test_close_ends_frames_from_another_thread() -> None:
    release = threading.Event()
    source = LiveSource("cam", lambda: Camera([1], lambda: release.wait(9) and None))
    threading.Timer(0.2, source.close).start()
    threading.Timer(0.3, release.set).start()
    start = time.monotonic()
    assert all(frame.image[0, 0, 0] == 1 for frame in source.frames())
    assert time.monotonic() - start < 5


def test_a_pattern_keeps_its_pace_and_ends() -> None:
    start = time.monotonic()
    with LavfiSource("testsrc2=size=64x48:rate=50:duration=0.4") as source:
        assert (source.info.width, source.info.height, source.info.rate) == (64, 48, 50)
        frames = list(source.frames())
    assert 0.3 < time.monotonic() - start < 5
    assert 5 < len(frames) <= 20  # a busy machine drops some; nothing is delivered twice
    assert not np.array_equal(frames[0].image, frames[-1].image)


def test_a_file_is_played_over_and_over(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4", Clip(times=range(0, 4 * 512, 512)))  # 0.16 seconds
    with open_source(path, live=True) as source:
        start = time.monotonic()
        shown = list(islice(source.frames(), 10))
        assert time.monotonic() - start > 0.16
    assert len(shown) == 10


@pytest.mark.parametrize(
    ("text", "error", "word"),
    [
        ("lavfi:movie=/etc/passwd", UsageError, "testsrc2"),
        ("lavfi:testsrc2=size=nonsense", UsageError, "does not understand"),
        ("screen:huge", UsageError, "640x360"),
        ("nowhere.mp4", InputNotFoundError, "nowhere.mp4"),
        ("http://127.0.0.1:1/a.mp4", MediaError, "cannot be played"),
        ("rtsp://user:secret@127.0.0.1:1/", MediaError, "rtsp://127.0.0.1:1/"),
    ],
)
def test_what_cannot_be_opened_says_so(text: str, error: type[Exception], word: str) -> None:
    with pytest.raises(error, match=word) as caught:
        open_source(text, live=True)
    assert "secret" not in str(caught.value)


def test_a_screen_is_named_as_each_system_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":7")
    linux = screen_input("640x360+10+20", rate=25, platform="linux")
    assert (linux.url, linux.options["video_size"]) == (":7+10,20", "640x360")
    windows = screen_input("640x360+10+20", rate=25, platform="win32")
    assert (windows.format, windows.options["offset_x"]) == ("gdigrab", "10")
    monkeypatch.delenv("DISPLAY")
    with pytest.raises(MediaError, match="DISPLAY"):
        screen_input("", rate=25, platform="linux")


def test_passwords_stay_out_of_messages() -> None:
    assert without_password("rtsp://me:pw@cam:554/live?token=1") == "rtsp://cam:554/live"


def test_a_sink_that_is_none_is_reported() -> None:
    with pytest.raises(UsageError, match="virtualcam"):
        open_sink("hologram", StreamInfo(8, 6, Fraction(30), TIME_BASE), live=True)
