"""A sink that keeps nothing, to measure everything before it."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rtstyle.frame import Frame


class NullSink:
    """Counts the frames it takes."""

    notes: list[str]

    def __init__(self) -> None:
        self.notes = []
        self.n_frames = 0

    def write(self, frame: Frame) -> None:
        """Count the frame."""
        self.n_frames += 1

    def finish(self, *, complete: bool = True) -> None:
        """Nothing to complete."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass
