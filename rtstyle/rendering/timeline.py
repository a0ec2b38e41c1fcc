"""What changes at which time of a render. How a frame is painted depends on its time alone."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from rtstyle.engines.base import Engine
from rtstyle.image import Look
from rtstyle.passes import Pass, Passes, fade
from rtstyle.style.style import Area, Style


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """From `time` on, in seconds of the output, another style or look; `fade` seconds are taken to
    get there, but no more than there are before the next change. `steady` is the strength of
    `SteadyFilter`, None for that of the job; `areas` are painted otherwise."""

    time: Fraction
    style: Style
    look: Look
    steady: float | None = None
    fade: Fraction = Fraction(0)
    areas: tuple[Area, ...] = ()


class Timeline:
    """The passes for a frame by its time, with engines that `engine` opens for a style and a look.

    `states` are the one to begin with, whatever its time, and the changes in order.
    """

    def __init__(self, states: Sequence[Change], engine: Callable[[Style, Look], Engine]) -> None:
        ends = [state.time for state in states[1:]]
        fades = [min(s.fade, end - s.time) for s, end in zip(states, ends, strict=False)]
        fades.append(states[-1].fade)
        self._states = [replace(s, fade=f) for s, f in zip(states, fades, strict=True)]
        self._times = [state.time for state in states[1:]]
        self._engine = engine

    def __call__(self, time: Fraction) -> Passes:
        """How the frame of that time is painted."""
        index = bisect_right(self._times, time)
        state = self._states[index]
        if not index or time >= state.time + state.fade:
            return replace(
                Passes.of(self._pass(state)), steady=state.steady, areas=self._areas(state)
            )
        before, share = self._states[index - 1], float((time - state.time) / state.fade)
        steady = (1 - share) * (before.steady or 0.0) + share * (state.steady or 0.0)
        passes = fade(self._pass(before), self._pass(state), share)
        return replace(passes, steady=steady, areas=self._areas(state))

    def _areas(self, state: Change) -> tuple[tuple[Area, Pass | None], ...]:
        return tuple(
            (area, None if area.style is None else self._pass(replace(state, style=area.style)))
            for area in state.areas
        )

    def _pass(self, state: Change) -> Pass:
        return Pass(self._engine(state.style, state.look), state.style, state.look)
