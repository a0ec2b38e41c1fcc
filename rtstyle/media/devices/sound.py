"""Sound beside live pictures: a ring of samples on their clock, what fills it and what reads it.

A clip fills the ring as its pictures are played, a microphone as it is heard; recordings, files and
network streams read from it what belongs to the pictures that they have taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import av
import numpy as np
from av.audio.resampler import AudioResampler
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError
from numpy.typing import NDArray

from rtstyle.closing import Closing
from rtstyle.errors import MediaError, UsageError
from rtstyle.media.video.container import reason

Samples = NDArray[np.int16]  # (n, 2), at RATE

RATE = 48_000  # samples a second, in stereo
_KEPT_SECONDS = 20
_AHEAD_SECONDS = 1.0  # by which a clip's sound is decoded before its pictures are due
_LATE_SECONDS = Fraction(1, 2)  # by which a microphone's may come after the pictures
_DRIFT = RATE // 10  # samples; a microphone that is further off its clock than this is set right
_INPUTS = {"linux": ("alsa", "{}", "default"), "darwin": ("avfoundation", ":{}", "0"),
           "win32": ("dshow", "audio={}", "")}  # fmt: skip


class SoundRing:
    """The latest seconds of sound, by sample numbers that count from the clock's 0.

    `delay` is how much later than the pictures of the same time the samples may come, in seconds.
    What nobody wrote is silence. Safe from any thread.
    """

    def __init__(self, *, delay: Fraction = Fraction(0)) -> None:
        self.delay = delay
        self.failed = ""  # a sentence, once no more sound comes
        self._lock = Lock()
        self._ring = np.zeros((_KEPT_SECONDS * RATE, 2), np.int16)
        self._end = 0  # where the newest sample ends

    @property
    def end(self) -> int:
        """The number after that of the newest sample."""
        return self._end

    def put(self, start: int, samples: Samples) -> None:
        """Write `samples`, the first of which has the number `start`."""
        size = len(self._ring)
        start, samples = max(start, start + len(samples) - size), samples[-size:]
        if start < 0:
            start, samples = 0, samples[-start:]
        with self._lock:
            gap = min(max(0, start - self._end), size)
            self._ring[(start - gap + np.arange(gap)) % size] = 0
            self._ring[(start + np.arange(len(samples))) % size] = samples
            self._end = max(self._end, start + len(samples))

    def get(self, start: int, end: int) -> Samples:
        """The samples with the numbers from `start` to before `end`."""
        numbers = np.arange(start, max(start, end))
        with self._lock:
            there = (numbers < self._end) & (numbers >= max(0, self._end - len(self._ring)))
            return np.where(there[:, None], self._ring[numbers % len(self._ring)], np.int16(0))


class ClipSound(Closing):
    """The sound of the video file at `path`, written into `ring` as the pictures are played.

    Without sound in the file, or where it cannot be decoded, nothing is written.
    """

    def __init__(self, path: Path, ring: SoundRing) -> None:
        self._ring = ring
        self._container = av.open(str(path), metadata_errors="replace")
        self._chunks = self._decoded()
        self._next: tuple[Fraction, Samples] | None = None
        self._zero = Fraction(0)
        if self._container.streams.video:
            stream = self._container.streams.video[0]
            self._zero = (stream.start_time or 0) * (stream.time_base or Fraction(0))

    def advance(self, time: float, *, began: float) -> None:
        """Decode up to a second after `time`, of a clip that began at `began` on the ring's clock;
        both in seconds."""
        while (chunk := self._next or next(self._chunks, None)) is not None:
            start, samples = chunk
            self._next = chunk if start > time + _AHEAD_SECONDS else None
            if self._next is not None:
                return
            self._ring.put(round((began + float(start)) * RATE), samples)

    def close(self) -> None:
        self._container.close()

    def _decoded(self) -> Iterator[tuple[Fraction, Samples]]:
        with suppress(FFmpegError):  # damage: silence from there on
            if self._container.streams.audio:
                for frame in _converted(self._container):
                    begin = (frame.pts or 0) * (frame.time_base or Fraction(0)) - self._zero
                    yield begin, _samples(frame)


class Microphone(Closing):
    """What the microphone `name` hears, written into `ring` by a thread by the pictures' `clock()`.

    "" is the system's own, "lavfi:GRAPH" one of FFmpeg's generators. Raises `MediaError` where it
    cannot be opened.
    """

    def __init__(self, name: str, ring: SoundRing, clock: Callable[[], float], *, platform: str):
        self._ring, self._clock = ring, clock
        if name.startswith("lavfi:"):
            format_, url = "lavfi", f"{name.partition(':')[2]},arealtime"
        else:
            format_, pattern, usual = _INPUTS.get(platform, _INPUTS["linux"])
            url = pattern.format(name or usual)
        try:
            self._container = av.open(url, format=format_)
            if not self._container.streams.audio:
                raise ValueError("it has no sound")
        except (FFmpegError, ValueError) as error:
            raise MediaError(
                f"The microphone {name or 'of this system'} cannot be opened: "
                f"{reason(error) if isinstance(error, FFmpegError) else error}; "
                "there is no sound from it."
            ) from error
        self._closed = False
        self._thread = Thread(target=self._listen, name="rtstyle-microphone", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed = True
        self._thread.join(2.0)

    def _listen(self) -> None:
        at: int | None = None
        try:
            for frame in _converted(self._container):
                samples = _samples(frame)
                arrived = round(self._clock() * RATE) - len(samples)
                at = arrived if at is None or abs(arrived - at) > _DRIFT else at
                self._ring.put(at, samples)
                at += len(samples)
                if self._closed:
                    break
        except FFmpegError as error:
            self._ring.failed = f"The microphone broke off: {reason(error)}."
        finally:
            self._container.close()


class SoundTrack:
    """The sound of `ring` as a stream of a file that is being written, in step with its pictures.

    `zero` is the ring's time that is the file's 0. Stands where `rtstyle.media.video.remux` has the
    sound of a file that is painted. Used by one thread.
    """

    def __init__(self, ring: SoundRing, codec: str, *, zero: Fraction = Fraction(0)) -> None:
        self.notes: list[str] = []
        self.zero = zero
        self._ring, self._codec = ring, codec
        self._done = 0  # samples that are in the file
        self._last = Fraction(0)

    def starts(self) -> list[Fraction]:
        """When streams start, in seconds, as a unit that the file's clock must have."""
        return [Fraction(1, RATE)]

    def needs_free_keys(self) -> bool:
        return False

    def add_streams(self, output: OutputContainer, *, before_video: bool) -> None:
        """Add the stream, after the video's."""
        if not before_video:
            self._stream: Any = output.add_stream(self._codec, rate=RATE, layout="stereo")

    def describe(self, output: OutputContainer, video: object) -> None:
        """There is nothing to copy."""

    def write(self, output: OutputContainer, time: Fraction | None) -> None:
        """Write what belongs to the pictures before `time`, in seconds; None is the end."""
        end = self._last if time is None else max(Fraction(0), time - self._ring.delay)
        self._last = max(self._last, time or Fraction(0))
        count = int(end * RATE) - self._done
        if count > 0:
            first = round(self.zero * RATE) + self._done
            samples = self._ring.get(first, first + count)
            frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16")
            frame.sample_rate, frame.pts, frame.time_base = RATE, self._done, Fraction(1, RATE)
            self._done += count
            output.mux(self._stream.encode(frame))
        if time is None:
            output.mux(self._stream.encode(None))

    def end_at(self, time: Fraction) -> None:
        """The last picture ends at `time`."""
        self._last = time

    def close(self) -> None:
        """There is nothing to close: the ring is its owner's."""


def open_microphone(
    name: str, ring: SoundRing, clock: Callable[[], float], *, platform: str
) -> Microphone:
    """Open what `--sound microphone[:NAME]` asks for. Raises `UsageError` and `MediaError`."""
    word, _, which = name.partition(":")
    if word != "microphone":
        raise UsageError(f"The sound is own, none or microphone[:NAME], not {name!r}.")
    ring.delay = _LATE_SECONDS
    return Microphone(which, ring, clock, platform=platform)


def _converted(container: InputContainer) -> Iterator[av.AudioFrame]:
    """The first sound of the container, in the ring's format."""
    resampler = AudioResampler("s16", "stereo", RATE)
    for frame in container.decode(container.streams.audio[0]):
        yield from resampler.resample(frame)
    yield from resampler.resample(None)


def _samples(frame: av.AudioFrame) -> Samples:
    return np.asarray(frame.to_ndarray(), np.int16).reshape(-1, 2)
