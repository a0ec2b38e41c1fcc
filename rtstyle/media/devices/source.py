"""A live source: bounded reads, the last picture held, the device reopened with back-off."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fractions import Fraction
from threading import Event, Thread
from time import perf_counter
from typing import Protocol

import cv2
import numpy as np

from rtstyle.channel import Channel
from rtstyle.closing import Closing
from rtstyle.errors import MediaError, RtstyleError
from rtstyle.frame import Frame, Image, StreamInfo
from rtstyle.media.base import Origin
from rtstyle.media.devices.sound import SoundRing

TIME_BASE = Fraction(1, 90_000)  # of live frame times, in seconds; what video formats like


class Device(AbstractContextManager["Device"], Protocol):
    """One opened camera, stream or screen. Used by one thread; a context manager that closes it."""

    info: StreamInfo
    note: str  # a sentence on what differs from what was asked for; "" otherwise

    def pictures(self) -> Iterator[Image]:
        """The pictures, each when it is due. May block for as long as the device does."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait, in seconds: for a device to open; for a picture before the last one is
    shown again, and how often then; for a picture before the device is given up and reopened;
    between attempts to reopen, at first and at most."""

    opening: float = 10.0
    picture: float = 1.0
    holding: float = 0.2
    stalled: float = 5.0
    first_retry: float = 0.5
    last_retry: float = 8.0


class LiveSource(Closing):
    """Frames of a device, timed by their arrival.

    A device that fails or stalls is reopened; until then its last picture is repeated, and `notice`
    says why. The constructor raises what the first opening raises, or `MediaError` when that takes
    too long. With `reopen=False`, the source ends when the device's pictures end. Pictures of
    another size than the first are scaled to fit into it. `sound` is what belongs to the pictures.
    """

    info: StreamInfo
    notes: list[str]
    origin: Origin | None

    def __init__(
        self,
        name: str,
        open_device: Callable[[], Device],
        *,
        reopen: bool = True,
        patience: Patience | None = None,
    ) -> None:
        self.name = name
        self.notice = ""
        self.notes = []
        self.origin = None
        self.sound: SoundRing | None = None
        self._open_device, self._reopen = open_device, reopen
        self._patience = patience or Patience()
        self._closed = Event()
        self._started = perf_counter()
        self._capture = _Capture(open_device)
        try:
            opened = self._capture.opened.take(self._patience.opening)
        except BaseException:
            self._capture.end()
            raise
        if opened is None:
            self._capture.end()
            raise MediaError(
                f"{name} did not open within {self._patience.opening:g} seconds; check that it "
                "is plugged in, or that the address answers."
            )
        self.info = opened.info
        if opened.note:
            self.notes.append(opened.note)

    def clock(self) -> float:
        """The time now in seconds, on the clock of the frames' times."""
        return perf_counter() - self._started

    def frames(self) -> Iterator[Frame]:
        """Frames until the source is closed. Raises `MediaError` only where nothing is reopened."""
        last_time = Fraction(-1)
        for index, (seconds, image) in enumerate(self._pictures()):
            ticks = max(round((seconds - self._started) / TIME_BASE), last_time // TIME_BASE + 1)
            last_time = ticks * TIME_BASE
            yield Frame(_fitted(image, self.info.width, self.info.height), last_time, index)

    def close(self) -> None:
        """End `frames` and release the device. Safe from any thread, more than once."""
        self._closed.set()
        self._capture.end()

    def _pictures(self) -> Iterator[tuple[float, Image]]:
        """Fresh and held pictures, each with the `perf_counter` time of its arrival."""
        patience = self._patience
        held: Image | None = None
        retry_after = patience.first_retry
        since = perf_counter()  # the last sign of life
        while not self._closed.is_set():
            try:
                shot = self._capture.pictures.take(patience.picture if held is None else
                                                   self._time_to_hold(since))  # fmt: skip
                ended = shot is None and self._capture.pictures.is_over
                why = "the pictures ended"
            except RtstyleError as error:
                if not self._reopen:
                    raise
                shot, ended, why = None, True, str(error).rstrip(".")
            if shot is not None:
                self.notice, held = "", shot[1]
                since, retry_after = perf_counter(), patience.first_retry
                yield shot
                continue
            if self._closed.is_set() or (ended and not self._reopen):
                return
            if ended or perf_counter() - since > patience.stalled:
                self.notice = f"{self.name}: {why if ended else 'no pictures come'}; trying again"
                self._capture.end()
                wait_until = perf_counter() + retry_after
                while held is not None and perf_counter() < wait_until:
                    yield perf_counter(), held
                    self._closed.wait(patience.holding)
                self._closed.wait(max(0.0, wait_until - perf_counter()))
                retry_after = min(2 * retry_after, patience.last_retry)
                if not self._closed.is_set():
                    self._capture, since = _Capture(self._open_device), perf_counter()
            elif held is not None:
                self.notice = self.notice or f"{self.name}: waiting for the next picture"
                yield perf_counter(), held

    def _time_to_hold(self, since: float) -> float:
        """How long to wait for a fresh picture before the held one is delivered again."""
        silent = perf_counter() - since
        return self._patience.holding if silent > self._patience.picture else self._patience.picture


@dataclass(frozen=True, slots=True)
class _Opened:
    info: StreamInfo
    note: str


class _Capture:
    """One opening of a device, read in a separate thread, since drivers get stuck.

    A stuck thread is abandoned; once the driver returns, it closes the device and ends.
    """

    def __init__(self, open_device: Callable[[], Device]) -> None:
        self.opened: Channel[_Opened] = Channel(1)
        self.pictures: Channel[tuple[float, Image]] = Channel(1, newest_wins=True)
        self._open_device = open_device
        self._thread = Thread(target=self._run, name="rtstyle-capture", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Ask for the device to be closed, and wait up to two seconds for it."""
        self.opened.cancel()
        self.pictures.cancel()
        self._thread.join(timeout=2.0)

    def _run(self) -> None:
        try:
            with self._open_device() as device:
                self.opened.put(_Opened(device.info, device.note))
                for image in device.pictures():
                    if not self.pictures.put((perf_counter(), image)):
                        break
        except BaseException as error:
            self.opened.close(error)
            self.pictures.close(error)
        else:
            self.opened.close()
            self.pictures.close()


def _fitted(image: Image, width: int, height: int) -> Image:
    """The picture scaled to fit and centred on black, (height, width, 3)."""
    if image.shape[:2] == (height, width):
        return image
    factor = min(width / image.shape[1], height / image.shape[0])
    size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
    result = np.zeros((height, width, 3), np.uint8)
    top, left = (height - size[1]) // 2, (width - size[0]) // 2
    result[top : top + size[1], left : left + size[0]] = cv2.resize(
        image, size, interpolation=cv2.INTER_AREA
    )
    return result
