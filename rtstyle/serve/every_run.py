"""The runs of all visitors under one hand, for the OSC and MIDI of `rtstyle serve`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from threading import Lock
from weakref import WeakSet

from rtstyle.errors import RtstyleError
from rtstyle.live.commands import Command
from rtstyle.live.controls import Controls
from rtstyle.live.settings import Settings
from rtstyle.style.scene import Scene
from rtstyle.style.style import Style


class EveryRun(Controls):
    """A command changes the run of every visitor, and how those that come later begin. A run that
    cannot follow, as in a style that was uploaded, stays as it is. Safe from any thread."""

    def __init__(
        self, gallery: Sequence[Style], settings: Settings, *, scenes: Sequence[Scene] = ()
    ) -> None:
        super().__init__(gallery, settings, scenes=scenes)
        self._runs, self._guard = WeakSet[Controls](), Lock()

    def begin(self) -> Controls:
        """The controls of a new visitor's run."""
        controls = Controls(self.gallery, self.settings, scenes=self.scenes)
        with self._guard:
            self._runs.add(controls)
        return controls

    def do(self, command: str | Command) -> None:
        """As `Controls` has it, in every run."""
        super().do(command)
        with self._guard:
            runs = list(self._runs)
        for controls in runs:
            with suppress(RtstyleError):
                controls.do(command)
