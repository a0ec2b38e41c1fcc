"""Several sinks at once."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rtstyle.frame import Frame
from rtstyle.media.base import Sink


class TeeSink:
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass
