"""Holding a frame rate by the height that the net runs at, without visible oscillation."""

from __future__ import annotations

# Of the highest; each has about 0.7 times the pixels of the one before.
_STEPS = (1.0, 0.84, 0.7, 0.59, 0.5, 0.42, 0.35, 0.3, 0.25, 0.21)
_TOO_SLOW = 0.94  # of the target rate
# Of a frame's time, what the net may take by the model of its cost: at the start, where the cost
# of everything around it is not known yet; after a step down; after a step up, which is worth an
# engine's opening, and the risk of another one for the way back, only where much is gained.
_START, _DOWN, _UP = 0.62, 0.75, 0.5
_SLOW_SECONDS, _ROOM_SECONDS, _LONGEST_SECONDS = 0.5, 4.0, 120.0


class AdaptiveHeight:
    """Chooses the height, between `lowest` and `highest`, for `target` frames a second.

    A net's time is modelled as proportional to its pixels, so one measurement tells which height is
    fast enough, and it is reached in one step: each is an engine to open, which slows down the one
    at work. Down after half a second below the target; up after 4 seconds in which a larger height
    would take at most half of a frame's time; each time that proves too slow soon after, the wait
    doubles. Used by one thread.
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

    def start(self, paint_ms: float) -> int:
        """The height to start with, where the net takes `paint_ms` for a frame of the highest."""
        self._move_to(self._fitting(paint_ms, _START))
        return self.height

    def update(self, now: float, *, fps: float, paint_ms: float, source_fps: float) -> int:
        """The height from here on. `now` is in seconds, `paint_ms` the net's time for a frame.

        Called with figures of the height that was chosen last alone. A source that delivers less
        than the target does not count as a slow net.
        """
        wanted = min(self._target, source_fps)
        slow = fps < _TOO_SLOW * wanted and paint_ms > 0.5e3 / self._target
        self._slow_since = (self._slow_since or now) if slow else None
        larger = self._fitting(paint_ms, _UP)
        room = not slow and larger < self._place
        self._room_since = (self._room_since or now) if room else None
        if self._slow_since is not None and now - self._slow_since >= _SLOW_SECONDS:
            if self._went_up_at is not None and now - self._went_up_at < 4 * _ROOM_SECONDS:
                self._patience = min(2 * self._patience, _LONGEST_SECONDS)
            self._went_up_at = None
            # What is around the net takes its part, but hardly more than half as long as the net.
            frame_ms = max(paint_ms, min(1e3 / max(fps, 1e-3), 1.5 * paint_ms))
            self._move_to(max(self._place + 1, self._fitting(frame_ms, _DOWN)))
        elif self._room_since is not None and now - self._room_since >= self._patience:
            self._move_to(larger)
            self._went_up_at = now
        return self.height

    def _fitting(self, paint_ms: float, share: float) -> int:
        """The place of the largest height whose net takes at most `share` of a frame's time, by
        that of the present one; the last where none does."""
        for place, height in enumerate(self._heights):
            if paint_ms * (height / self.height) ** 2 <= share * 1e3 / self._target:
                return place
        return len(self._heights) - 1

    def _move_to(self, place: int) -> None:
        self._place = min(place, len(self._heights) - 1)
        self.height = self._heights[self._place]
        self._slow_since = self._room_since = None
