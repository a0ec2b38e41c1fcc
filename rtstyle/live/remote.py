"""The ways in for programs and instruments beside a run: OSC and MIDI."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from rtstyle.live.commands import HOST, Rights
from rtstyle.live.controls import Controls
from rtstyle.live.midi import MidiInput
from rtstyle.live.osc import OscServer


def open_remotes(
    stack: ExitStack,
    controls: Controls,
    *,
    osc: str | None,
    midi: str | None,
    on_note: Callable[[str], None],
    midi_rights: Rights = HOST,
) -> None:
    """Open what `OscServer` and `MidiInput` take, None for none, and let `stack` close it. OSC has
    the rights of the page. Raises their errors."""
    if osc is not None:
        server = stack.enter_context(OscServer(osc, controls.do, on_note=on_note))
        on_note(f"OSC is heard at port {server.port}; {server.prefix}style is an address")
    if midi is not None:
        stack.enter_context(MidiInput(midi, controls, on_note=on_note, rights=midi_rights))
