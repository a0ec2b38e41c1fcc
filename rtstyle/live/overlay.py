"""What happens to a live picture around the net: mirror, pause and bar code before; split after."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol

import numpy as np

from rtstyle.closing import Closing
from rtstyle.frame import Frame, Image
from rtstyle.live import barcode
from rtstyle.live.controls import Controls
from rtstyle.media.base import Source


class TimedSource(Source, Protocol):
    """A live source. `clock()` is the time now in seconds on the clock of its frames' times,
    `notice` what is wrong at the moment; `close` ends its frames from any thread."""

    notice: str

    def clock(self) -> float: ...

    def close(self) -> None: ...


class ControlledSource(Closing):
    """The frames of `source` as the controls want them: mirrored, or frozen while paused.

    With `stamped`, each carries its number and capture time as a bar code.
    """

    def __init__(self, source: TimedSource, controls: Controls, *, stamped: bool = False) -> None:
        self.info, self.notes, self.origin = source.info, source.notes, source.origin
        self._source, self._controls, self._stamped = source, controls, stamped
        self.n_frames = 0  # so far, for the rate of the source

    def frames(self) -> Iterator[Frame]:
        """As `Source.frames`; ends at the command quit."""
        frozen: Image | None = None
        for frame in self._source.frames():
            settings = self._controls.settings
            if settings.quitting:
                return
            self.n_frames += 1
            frozen = (frame.image if frozen is None else frozen) if settings.paused else None
            image = frame.image if frozen is None else frozen
            if settings.mirror:
                image = np.ascontiguousarray(image[:, ::-1])
            if self._stamped:
                image = barcode.draw(image, barcode.Stamp(frame.index, float(frame.time) * 1e3))
            yield replace(frame, image=image)

    def close(self) -> None:
        self._source.close()


def compose(stylized: Image, original: Image, *, split: float | None, stamped: bool) -> Image:
    """The picture to show: the original in the left share `split` of it and under the bar code."""
    if split is None and not stamped:
        return stylized
    result = stylized.copy()
    height, width = result.shape[:2]
    if split is not None:
        x = round(split * width)
        result[:, :x] = original[:, :x]
        result[:, max(0, x - 1) : x + 1] = 255
    if stamped:
        rows = barcode.strip_height(height)
        result[:rows] = original[:rows]
    return result
