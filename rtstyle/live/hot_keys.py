"""Keys that are heard while another window has the focus, where the system lets us.

X11, Windows, and macOS once the terminal may watch the keyboard; Wayland tells no program of
others' keys.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

from rtstyle.closing import Closing
from rtstyle.errors import MissingExtraError, OutputError, RtstyleError, install_line

KEYS = {
    "<ctrl>+<alt>+<right>": "next",
    "<ctrl>+<alt>+<left>": "previous",
    "<ctrl>+<alt>+<up>": "strength +0.1",
    "<ctrl>+<alt>+<down>": "strength -0.1",
    "<ctrl>+<alt>+s": "scene next",
    "<ctrl>+<alt>+a": "scene previous",
    "<ctrl>+<alt>+o": "split",
    "<ctrl>+<alt>+p": "pause",
    "<ctrl>+<alt>+r": "record",
}


class HotKeys(Closing):
    """Hears `KEYS` everywhere. `do` carries out a command, in the thread that listens; `on_note`
    gets a sentence for what cannot be done. Raises `MissingExtraError`, and `OutputError` where
    the system has no keyboard that can be watched."""

    def __init__(self, do: Callable[[str], None], *, on_note: Callable[[str], None]) -> None:
        self._do, self._on_note = do, on_note
        if find_spec("pynput") is None:
            raise MissingExtraError(
                f"Hot keys need pynput, which is not installed: {install_line('hotkeys')}."
            )
        try:
            from pynput.keyboard import GlobalHotKeys

            keys = {key: partial(self._pressed, command) for key, command in KEYS.items()}
            self._listener: Any = GlobalHotKeys(keys)
            self._listener.start()
            self._listener.wait()
        except Exception as error:  # of each system's own kind
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise OutputError(
                f"Keys of other windows cannot be heard here ({lines[0]}); leave --hot-keys out."
            ) from error

    def _pressed(self, command: str) -> None:
        try:
            self._do(command)
        except RtstyleError as error:
            self._on_note(str(error))

    def close(self) -> None:
        self._listener.stop()
