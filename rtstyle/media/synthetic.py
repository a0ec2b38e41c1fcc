"""Sources and sinks without a file or a device: a moving pattern, nothing, several at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Self

import numpy as np

from rtstyle.closing import Closing
from rtstyle.frame import Frame, StreamInfo
from rtstyle.media.base import Origin, Sink, SinkRequest


class SyntheticSource(Closing):
    """`n_frames` pictures of a textured colour pattern that moves two pixels a frame.

    The same arguments give the same pictures everywhere. Frames come as fast as they are taken.
    """

    info: StreamInfo
    notes: list[str]
    origin: Origin | None

    def __init__(
        self,
        width: int = 640,
        height: int = 360,
        *,
        n_frames: int = 100,
        rate: Fraction = Fraction(30),
        seed: int = 0,
    ) -> None:
        self.info = StreamInfo(width, height, rate, 1 / rate, n_frames)
        self.notes = []
        self.origin = None
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[:height, :width]
        waves = [
            np.sin(rng.uniform(0.01, 0.08) * x + rng.uniform(0.01, 0.08) * y + rng.uniform(0, 6))
            for _ in range(3)
        ]
        grain = rng.normal(0, 12, (height, width, 1))
        self._pattern = np.clip(128 + 90 * np.stack(waves, -1) + grain, 0, 255).astype(np.uint8)

    def frames(self) -> Iterator[Frame]:
        """Every frame in order, a fresh array each."""
        step = 1 / self.info.rate
        for index in range(self.info.n_frames or 0):
            image = np.roll(self._pattern, 2 * index, axis=1)
            yield Frame(image, index * step, index, step)


class NullSink(Closing):
    """Counts the frames that it takes and keeps nothing, to measure everything before it."""

    notes: list[str]

    @classmethod
    def from_name(cls, name: str, request: SinkRequest) -> Self:
        """Open one; nothing of the request matters."""
        return cls()

    def __init__(self) -> None:
        self.notes = []
        self.n_frames = 0

    def write(self, frame: Frame) -> None:
        """Count the frame."""
        self.n_frames += 1

    def finish(self, *, complete: bool = True) -> None:
        """Nothing to complete."""


class TeeSink(Closing):
    """Gives every frame to each of `sinks`, in order. Closing them is left to who opened them."""

    notes: list[str]

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self.notes = []
        self._sinks = tuple(sinks)

    def write(self, frame: Frame) -> None:
        """Pass the frame on; the first sink that fails ends it."""
        for sink in self._sinks:
            sink.write(frame)

    def finish(self, *, complete: bool = True) -> None:
        """Finish every sink; afterwards `notes` has all of theirs."""
        for sink in self._sinks:
            sink.finish(complete=complete)
            self.notes += sink.notes
