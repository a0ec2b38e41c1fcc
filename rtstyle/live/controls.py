"""What can be changed while painting, and the one language to change it.

    next | previous | style NAME or NUMBER      pick one of the gallery
    blend 0.4 | blend +0.1 | with NAME          mix with a second style of the same model
    strength 0.8 | strength -0.1
    color | split | mirror | pause | record     switch over, or say on or off; split 0.3 moves it
    snapshot | quit

Keys of the window, lines on stdin and the browser all speak it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from threading import Lock

from rtstyle.errors import StyleNotFoundError, UsageError
from rtstyle.style.parse import find_style
from rtstyle.style.style import Style, mix

COMMANDS = (
    "next", "previous", "style", "blend", "with", "strength", "color", "split", "mirror", "pause",
    "snapshot", "record", "quit",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The state of one live painting.

    `blend` is how far from `style` to `partner`, 0 to 1. `split` is the share of the width that
    stays unpainted, None for all painted. `snapshots` counts those asked for.
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
        """What the net is to paint: the style, or its blend with the partner."""
        if self.partner is None or self.blend == 0 or not can_mix(self.style, self.partner):
            return self.style
        return mix([(self.style, 1 - self.blend), (self.partner, self.blend)])


def can_mix(one: Style, other: Style) -> bool:
    """Whether the two styles share a net that can paint between them."""
    return one.vector is not None and one.model.path == other.model.path


class Controls:
    """The settings of one live painting, changed by commands. Safe from any thread.

    `gallery` is what next, previous and numbers walk through; a name that is none of it is looked
    up with `find`, which a stranger must not be given: it opens files. Whoever listens is called
    with the settings after every change, in the thread that changed them.
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
        """Call `listener` no more; harmless when it was not."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def add(self, style: Style) -> None:
        """Put a style at the end of the gallery; one of the same name is replaced."""
        with self._lock:
            others = [known for known in self._gallery if known.name != style.name]
            self._gallery = (*others, style)

    def remove(self, name: str) -> None:
        """Take a style out of the gallery; harmless when it is none of it."""
        with self._lock:
            self._gallery = tuple(known for known in self._gallery if known.name != name)

    def do(self, command: str) -> None:
        """Carry out a command. Raises `UsageError` for one that cannot be, changing nothing."""
        word, _, argument = command.strip().partition(" ")
        with self._lock:
            changed = self._changed(self._settings, word.lower(), argument.strip())
            self._settings = changed
        for listener in list(self._listeners):
            listener(changed)

    def _changed(self, now: Settings, word: str, argument: str) -> Settings:
        match word:
            case "next":
                return self._picked(now, self._neighbour(now.style, +1))
            case "previous":
                return self._picked(now, self._neighbour(now.style, -1))
            case "style":
                return self._picked(now, self._named(argument))
            case "with":
                return replace(now, partner=self._partner(now.style, argument))
            case "blend":
                return self._blended(now, argument)
            case "strength":
                return replace(now, strength=_share(argument, now.strength))
            case "color":
                return replace(now, preserve_color=_switch(argument, now.preserve_color))
            case "mirror":
                return replace(now, mirror=_switch(argument, now.mirror))
            case "pause":
                return replace(now, paused=_switch(argument, now.paused))
            case "record":
                return replace(now, recording=_switch(argument, now.recording))
            case "split":
                return replace(now, split=_split(argument, now.split))
            case "snapshot":
                return replace(now, snapshots=now.snapshots + 1)
            case "quit":
                return replace(now, quitting=True)
        raise UsageError(f"There is no command {word!r}; known are {', '.join(COMMANDS)}.")

    def _picked(self, now: Settings, style: Style) -> Settings:
        """Another style; the partner stays where the two can be mixed."""
        if now.partner is not None and can_mix(style, now.partner):
            return replace(now, style=style)
        return replace(now, style=style, partner=None, blend=0.0)

    def _blended(self, now: Settings, argument: str) -> Settings:
        partner = now.partner or self._partner(now.style, "")
        return replace(now, partner=partner, blend=_share(argument, now.blend))

    def _partner(self, style: Style, name: str) -> Style:
        if name:
            partner = self._named(name)
            if can_mix(style, partner):
                return partner
            raise UsageError(
                f"{style.name} and {partner.name} cannot be mixed; only styles that share one "
                "model can."
            )
        others = [s for s in self._gallery if can_mix(style, s) and s.name != style.name]
        if not others:
            raise UsageError(f"No other style shares the model of {style.name}, so none mixes.")
        after = self._place(style)
        return next((s for s in others if self._place(s) > after), others[0])

    def _neighbour(self, style: Style, step: int) -> Style:
        return self._gallery[(self._place(style) + step) % len(self._gallery)]

    def _place(self, style: Style) -> int:
        """Where the style stands in the gallery; -1 for one that is not of it."""
        return next((i for i, known in enumerate(self._gallery) if _same(known, style)), -1)

    def _named(self, name: str) -> Style:
        if name.isdecimal():
            if 1 <= int(name) <= len(self._gallery):
                return self._gallery[int(name) - 1]
            raise StyleNotFoundError(f"There are styles 1 to {len(self._gallery)}, no {name}.")
        return next((s for s in self._gallery if s.name == name), None) or self._find(name)


def _same(one: Style, other: Style) -> bool:
    return one.name == other.name and one.model.path == other.model.path


def _share(text: str, now: float) -> float:
    """ "0.4" as it is, "+0.1" and "-0.1" added to what is now; kept between 0 and 1."""
    try:
        value = float(text)
    except ValueError:
        raise UsageError(f"A number from 0 to 1, or +0.1, was expected, not {text!r}.") from None
    if text[:1] in "+-":
        value += now
    if value != value:
        raise UsageError("A number from 0 to 1 was expected, not NaN.")
    return round(min(1.0, max(0.0, value)), 4)


def _switch(text: str, now: bool) -> bool:
    match text.lower():
        case "":
            return not now
        case "on":
            return True
        case "off":
            return False
    raise UsageError(f"on or off was expected, not {text!r}.")


def _split(text: str, now: float | None) -> float | None:
    if text in ("", "on", "off"):
        return 0.5 if _switch(text, now is not None) else None
    return _share(text, now or 0.0)
