"""Commands from MIDI: knobs and keys of a controller, bound by `learn COMMAND` and then a move."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import platformdirs

from rtstyle.closing import Closing
from rtstyle.errors import MediaError, RtstyleError, needs_extra
from rtstyle.files import atomic_write
from rtstyle.live.commands import HOST, Rights, parse, spoken
from rtstyle.live.controls import Controls

_VIRTUAL = "virtual:"  # before the name of a port that other programs can send to


class MidiInput(Closing):
    """Listens to the port whose name holds `name`, "" for the first, or "virtual:NAME" for one of
    its own. Bindings are kept in `path`, by default in the user's configuration.

    `on_note` gets every sentence. Raises `MissingExtraError`, and `MediaError` where there is no
    such port.
    """

    def __init__(
        self,
        name: str,
        controls: Controls,
        *,
        on_note: Callable[[str], None],
        path: Path | None = None,
        rights: Rights = HOST,
    ) -> None:
        self._controls, self._on_note, self._rights = controls, on_note, rights
        self._path = path or platformdirs.user_config_path("rtstyle", appauthor=False) / "midi.json"
        self.bindings = self._read()
        self._port = self._open(name)

    def close(self) -> None:
        self._port.close()

    def take(self, message: Any) -> None:
        """Carry out what a message is bound to, or bind it while a command is being learnt."""
        if message.type == "control_change":
            place, value = f"cc {message.channel + 1} {message.control}", message.value / 127
        elif message.type in ("note_on", "note_off"):
            pressed = message.type == "note_on" and message.velocity > 0
            place, value = f"note {message.channel + 1} {message.note}", float(pressed)
        else:
            return
        try:
            if wanted := self._controls.settings.learning:
                self.bindings[place] = wanted
                self._controls.do("learn off")
                self._write()
                self._on_note(f"{place} is {wanted} from now on")
            elif bound := self.bindings.get(place):
                name, _, rest = bound.partition(" ")
                text = (bound if value >= 0.5 else "") if rest else spoken(name, value)
                if text:
                    self._controls.do(parse(text, self._rights))
        except RtstyleError as error:
            self._on_note(str(error))

    def _open(self, name: str) -> Any:
        with needs_extra("control", "MIDI"):
            import mido
            import rtmidi  # noqa: F401  # what mido opens ports with
        try:
            if name.startswith(_VIRTUAL):
                virtual = name.removeprefix(_VIRTUAL)
                return mido.open_input(virtual, virtual=True, callback=self.take)
            known = mido.get_input_names()
            found = next((port for port in known if name.lower() in port.lower()), None)
            if found is not None:
                return mido.open_input(found, callback=self.take)
        except (OSError, RuntimeError, SystemError, NotImplementedError) as error:
            why = str(error).strip() or type(error).__name__
            raise MediaError(f"MIDI cannot be opened here: {why}; leave --midi out.") from error
        there = ", ".join(known) or "none; plug one in"
        raise MediaError(f"There is no MIDI port {name!r}; there is {there}.")

    def _read(self) -> dict[str, str]:
        try:
            kept = json.loads(self._path.read_text(encoding="utf-8"))
            return {str(place): str(bound) for place, bound in kept.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError):
            self._on_note(f"{self._path} cannot be read, so no MIDI knob is bound yet.")
            return {}

    def _write(self) -> None:
        try:
            with atomic_write(self._path, parents=True) as part:
                part.write_text(json.dumps(self.bindings, indent=1), encoding="utf-8")
        except OSError as error:
            self._on_note(f"{self._path} cannot be written: {error.strerror or error}.")
