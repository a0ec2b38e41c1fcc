"""Holding a frame rate by the height that the net runs at, without visible oscillation."""

from __future__ import annotations

_STEPS = (1.0, 0.84, 0.7, 0.59, 0.5, 0.42, 0.35, 0.3)  # each about 0.7 times the pixels before
_TOO_SLOW, _ROOM = 0.94, 0.7  # of the target rate; of a frame's time, after one step up
_SLOW_SECONDS, _ROOM_SECONDS, _LONGEST_SECONDS = 1.5, 4.0, 120.0


class AdaptiveHeight:
    """Chooses the height, between `lowest` and `highest`, for `target` frames a second.

    One step down after 1.5 seconds below the target. One step up after 4 seconds in which the next
    step would take at most 70% of a frame's time; each time that proves too slow soon after, the
    wait doubles. Used by one thread.
    """

    def __init__(self, target: float, *, highest: int, lowest: int = 144) -> None:
        self.height = highest
        self._target = target
        self._heights = sorted(
            {max(min(lowest, highest), round(highest * step)) for step in _STEPS}, reverse=True
        )
        self._place = 0
        self._slow_since: float | None = None
        self._room_since: float | None = None
        self._patience = _ROOM_SECONDS
        self._went_up_at: float | None = None

    def update(self, now: float, *, fps: float, paint_ms: float, source_fps: float) -> int:
        """The height from here on. `now` is in seconds, `paint_ms` the net's time for a frame.

        A source that delivers less than the target does not count as a slow net.
        """
        wanted = min(self._target, source_fps)
        slow = fps < _TOO_SLOW * wanted and paint_ms > 0.5e3 / self._target
        self._slow_since = (self._slow_since or now) if slow else None
        room = not slow and self._place > 0 and self._has_room(paint_ms)
        self._room_since = (self._room_since or now) if room else None
        if self._slow_since is not None and now - self._slow_since >= _SLOW_SECONDS:
            self._down(now)
        elif self._room_since is not None and now - self._room_since >= self._patience:
            self._move(-1)
            self._went_up_at = now
        return self.height

    def _has_room(self, paint_ms: float) -> bool:
        ratio = (self._heights[self._place - 1] / self.height) ** 2
        return paint_ms * ratio < _ROOM * 1e3 / self._target

    def _down(self, now: float) -> None:
        if self._went_up_at is not None and now - self._went_up_at < 4 * _ROOM_SECONDS:
            self._patience = min(2 * self._patience, _LONGEST_SECONDS)
        self._went_up_at = None
        if self._place < len(self._heights) - 1:
            self._move(+1)

    def _move(self, step: int) -> None:
        self._place += step
        self.height = self._heights[self._place]
        self._slow_since = self._room_since = None
