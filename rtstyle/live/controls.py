"""The commands of a live run, who may give them, and the settings that they change.

    next | previous | style NAME or NUMBER      pick one of the gallery
    blend 0.4 | blend +0.1 | with NAME          mix with a second style of the same model
    strength 0.8 | strength -0.1
    color | split | mirror | pause | record     toggle, or set by on or off; split 0.3 moves it
    snapshot | quit

Keys of the window, lines on stdin and the page speak the same language. `parse` is its only
parser; what it returns has been checked, and `Controls` looks up names but parses nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from threading import Lock

from rtstyle.errors import StyleNotFoundError, UsageError
from rtstyle.style.parse import find_style
from rtstyle.style.style import Style, mix

_STYLE, _SHARE, _SWITCH, _SPLIT, _NONE = "style", "share", "switch", "split", "none"
_ARGUMENTS = {
    "next": _NONE, "previous": _NONE, "style": _STYLE, "with": _STYLE, "blend": _SHARE,
    "strength": _SHARE, "color": _SWITCH, "split": _SPLIT, "mirror": _SWITCH, "pause": _SWITCH,
    "snapshot": _NONE, "record": _SWITCH, "quit": _NONE,
}  # fmt: skip
COMMANDS = tuple(_ARGUMENTS)
_LONGEST = 4096  # characters of a command; paths are no longer
_NUMBER = re.compile(r"[+-]?(\d{1,6}(\.\d{0,9})?|\.\d{1,9})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Rights:
    """What may be asked for: these commands, and with `any_style` styles outside of the gallery,
    which opens files."""

    commands: frozenset[str]
    any_style: bool = False


HOST = Rights(frozenset(COMMANDS), any_style=True)  # keys of the window, and stdin
PAGE = Rights(HOST.commands - {"record", "snapshot", "quit"})  # nothing on the host's disk
WATCH = Rights(frozenset())


@dataclass(frozen=True, slots=True)
class Change:
    """A share from 0 to 1, or with `relative` what is added to the present one."""

    value: float
    relative: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """One checked command. `argument` is a style's name, a share, on (True), off or None."""

    name: str
    argument: str | Change | bool | None = None
    any_style: bool = False


def parse(text: str, rights: Rights = HOST) -> Command:
    """The command in `text`. Raises `UsageError` for what is none, or beyond the rights."""
    if len(text) > _LONGEST:
        raise UsageError(f"A command has at most {_LONGEST} characters, not {len(text)}.")
    word, _, rest = text.strip().partition(" ")
    name, rest = word.lower(), rest.strip()
    if name not in _ARGUMENTS:
        raise UsageError(f"There is no command {word[:40]!r}; known are {', '.join(COMMANDS)}.")
    if name not in rights.commands:
        raise UsageError(f"The command {name} is not allowed here; the host may give it.")
    kind = _ARGUMENTS[name]
    if kind == _NONE and rest:
        raise UsageError(f"The command {name} stands alone, without {rest[:40]!r}.")
    if kind == _STYLE:
        if not rest and name == "style":
            raise UsageError("A style's name or number was expected after style.")
        return Command(name, rest, rights.any_style)
    if kind == _SHARE or (kind == _SPLIT and rest.lower() not in ("", "on", "off")):
        return Command(name, _share(rest))
    return Command(name, _switch(rest) if rest else None)


def _share(text: str) -> Change:
    """ "0.4", or "+0.1" and "-0.1", which are added to the present share."""
    if not _NUMBER.fullmatch(text):
        raise UsageError(f"A number from 0 to 1, or +0.1, was expected, not {text[:40]!r}.")
    return Change(float(text), relative=text[0] in "+-")


def _switch(text: str) -> bool:
    if text.lower() not in ("on", "off"):
        raise UsageError(f"on or off was expected, not {text[:40]!r}.")
    return text.lower() == "on"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The state of one live run.

    `blend` is the position between `style` and `partner`, 0 to 1. `split` is the share of the width
    that shows the original, None for none of it. `snapshots` counts the snapshots asked for.
    """

    style: Style
    partner: Style | None = None
    blend: float = 0.0
    strength: float = 1.0
    preserve_color: bool = False
    split: float | None = None
    mirror: bool = False
    paused: bool = False
    recording: bool = False
    snapshots: int = 0
    quitting: bool = False

    @property
    def mixed(self) -> Style:
        """What the net runs with: the style, or its blend with the partner."""
        if self.partner is None or self.blend == 0 or not can_mix(self.style, self.partner):
            return self.style
        return mix([(self.style, 1 - self.blend), (self.partner, self.blend)])


def can_mix(one: Style, other: Style) -> bool:
    """Whether the two styles share a net that can run a mix of them."""
    return one.vector is not None and one.model.path == other.model.path


class Controls:
    """The settings of one live run, changed by commands. Safe from any thread.

    `gallery` is what next, previous, numbers and names choose from, "a=0.7,b=0.3" for a mix. The
    host's other names are looked up by `find`. Listeners are called with the settings after every
    change, in the thread that made it.
    """

    def __init__(
        self,
        gallery: Sequence[Style],
        settings: Settings,
        *,
        find: Callable[[str], Style] = find_style,
    ) -> None:
        self._lock = Lock()
        self._find = find
        self._gallery = tuple(gallery)
        self._settings = settings
        self._listeners: list[Callable[[Settings], None]] = []

    @property
    def settings(self) -> Settings:
        """The settings now."""
        return self._settings

    @property
    def gallery(self) -> tuple[Style, ...]:
        """The styles to choose from."""
        return self._gallery

    def listen(self, listener: Callable[[Settings], None]) -> None:
        """Call `listener` after every change from now on."""
        self._listeners.append(listener)

    def forget(self, listener: Callable[[Settings], None]) -> None:
        """Stop calling `listener`; harmless when it was not called."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def add(self, style: Style) -> None:
        """Append a style to the gallery; one of the same name is replaced."""
        with self._lock:
            others = [known for known in self._gallery if known.name != style.name]
            self._gallery = (*others, style)

    def remove(self, name: str) -> None:
        """Take a style out of the gallery; harmless when it is not in there."""
        with self._lock:
            self._gallery = tuple(known for known in self._gallery if known.name != name)

    def do(self, command: str | Command) -> None:
        """Carry out a command; a text has the host's rights.

        Raises `UsageError` where it cannot be done, and the errors of `find_style`; nothing has
        changed then.
        """
        if isinstance(command, str):
            command = parse(command)
        argument: object = command.argument
        if isinstance(argument, str):  # looked up before the lock is taken: it may open files
            argument = self._named(argument, command.any_style) if argument else None
        with self._lock:
            changed = self._settings = self._changed(self._settings, command.name, argument)
        for listener in list(self._listeners):
            listener(changed)

    def _changed(self, now: Settings, name: str, argument: object) -> Settings:
        match name, argument:
            case "next", _:
                return _picked(now, self._neighbour(now.style, +1))
            case "previous", _:
                return _picked(now, self._neighbour(now.style, -1))
            case "style", Style() as style:
                return _picked(now, style)
            case "with", Style() as partner if not can_mix(now.style, partner):
                raise UsageError(
                    f"{now.style.name} and {partner.name} cannot be mixed; only styles that share "
                    "one model can."
                )
            case "with", Style() as partner:
                return replace(now, partner=partner)
            case "with", _:
                return replace(now, partner=self._next_partner(now.style))
            case "blend", Change() as change:
                partner = now.partner or self._next_partner(now.style)
                return replace(now, partner=partner, blend=_moved(now.blend, change))
            case "strength", Change() as change:
                return replace(now, strength=_moved(now.strength, change))
            case "split", Change() as change:
                return replace(now, split=_moved(now.split or 0.0, change))
            case "split", on:
                return replace(now, split=0.5 if _toggled(now.split is not None, on) else None)
            case "color", on:
                return replace(now, preserve_color=_toggled(now.preserve_color, on))
            case "mirror", on:
                return replace(now, mirror=_toggled(now.mirror, on))
            case "pause", on:
                return replace(now, paused=_toggled(now.paused, on))
            case "record", on:
                return replace(now, recording=_toggled(now.recording, on))
            case "snapshot", _:
                return replace(now, snapshots=now.snapshots + 1)
            case "quit", _:
                return replace(now, quitting=True)
        raise UsageError(f"The command {name} does not take {argument!r}.")

    def _next_partner(self, style: Style) -> Style:
        others = [s for s in self._gallery if can_mix(style, s) and s.name != style.name]
        if not others:
            raise UsageError(f"No other style shares the model of {style.name}, so none mixes.")
        after = self._place(style)
        return next((s for s in others if self._place(s) > after), others[0])

    def _neighbour(self, style: Style, step: int) -> Style:
        return self._gallery[(self._place(style) + step) % len(self._gallery)]

    def _place(self, style: Style) -> int:
        """The style's index in the gallery; -1 for one that is not in there."""
        return next((i for i, known in enumerate(self._gallery) if _same(known, style)), -1)

    def _named(self, name: str, any_style: bool) -> Style:
        if name.isascii() and name.isdecimal():
            if len(name) <= 6 and 1 <= int(name) <= len(self._gallery):
                return self._gallery[int(name) - 1]
            raise StyleNotFoundError(f"There are styles 1 to {len(self._gallery)}, no {name[:12]}.")
        if style := self._of_gallery(name):
            return style
        if any_style:
            return self._find(name)
        raise StyleNotFoundError(f"There is no style {name[:40]!r} in the gallery.")

    def _of_gallery(self, text: str) -> Style | None:
        """The style of that exact name, or the mix of such; None where one is missing."""
        if style := next((s for s in self._gallery if s.name == text), None):
            return style
        parts = [part.rpartition("=") for part in text.split(",", 16)]
        styles = [
            next((s for s in self._gallery if s.name == n.strip()), None) for n, _, _ in parts
        ]
        weights = [weight.strip() for _, _, weight in parts]
        if None in styles or not all(_NUMBER.fullmatch(weight) for weight in weights):
            return None
        return mix([(s, float(w)) for s, w in zip(styles, weights, strict=True) if s is not None])


def _picked(now: Settings, style: Style) -> Settings:
    """Another style; the partner stays where the two can be mixed."""
    if now.partner is not None and can_mix(style, now.partner):
        return replace(now, style=style)
    return replace(now, style=style, partner=None, blend=0.0)


def _same(one: Style, other: Style) -> bool:
    return one.name == other.name and one.model.path == other.model.path


def _moved(now: float, change: Change) -> float:
    value = now + change.value if change.relative else change.value
    return round(min(1.0, max(0.0, value)), 4)


def _toggled(now: bool, on: object) -> bool:
    return on if isinstance(on, bool) else not now
