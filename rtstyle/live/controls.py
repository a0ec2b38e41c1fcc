"""The settings of a live run, changed by commands from any thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from threading import Lock

from rtstyle.errors import StyleNotFoundError, UsageError
from rtstyle.live.commands import MOST_SECONDS, NUMBER, Change, Command, parse
from rtstyle.live.modulation import SOURCES, Modulation
from rtstyle.live.settings import Settings, in_scene, picked
from rtstyle.style.backdrop import BLUR, Backdrop, read_backdrop
from rtstyle.style.parse import find_style
from rtstyle.style.scene import Scene, scene_named
from rtstyle.style.style import PLACES, Area, Style, can_mix, mix

_FINEST_STROKE = 0.01


class Controls:
    """The settings of one live run, changed by commands. Safe from any thread.

    `gallery` is what next, previous, numbers and names choose from, "a=0.7,b=0.3" for a mix. The
    host's other names are looked up by `find`. A scene sets every knob that scenes have, to what
    `settings` have where it does not name it. Listeners are called with the settings after every
    change, in the thread that made it.
    """

    def __init__(
        self,
        gallery: Sequence[Style],
        settings: Settings,
        *,
        scenes: Sequence[Scene] = (),
        find: Callable[[str], Style] = find_style,
    ) -> None:
        self.scenes = tuple(scenes)
        self._lock = Lock()
        self._find = find
        self._gallery = tuple(gallery)
        self._beginning = self._settings = settings
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
        if isinstance(argument, str) and command.names_style:
            # Before the lock is taken: it may open files.
            behind = self._backdrop(command, argument) if command.place else None
            argument = behind or (self._named(argument, command.any_style) if argument else None)
        with self._lock:
            now = self._settings
            if command.place:
                changed = replace(now, areas=_with_area(now.areas, command.place, argument))
            else:
                changed = self._changed(now, command.name, argument)
            self._settings = changed
        for listener in list(self._listeners):
            listener(changed)

    def _changed(self, now: Settings, name: str, argument: object) -> Settings:
        match name, argument:
            case "next", _:
                return picked(now, self._neighbour(now.style, +1))
            case "previous", _:
                return picked(now, self._neighbour(now.style, -1))
            case "style", Style() as style:
                return picked(now, style)
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
            case "scene", str() as which:
                return self._in_scene(now, which)
            case "fade", Change() as change:
                return replace(now, fade=_moved(now.fade, change, most=MOST_SECONDS))
            case "cycle", Change() as change if self.scenes:
                return replace(now, cycle=_moved(now.cycle, change, most=MOST_SECONDS))
            case "cycle", _:
                raise UsageError("There are no scenes to cycle; name their file with --scenes.")
            case "stroke", Change() as change:
                stroke = max(_FINEST_STROKE, _moved(now.stroke or 0.0, change))
                return replace(now, stroke=stroke)
            case "stroke", False:
                return replace(now, stroke=None)
            case "steady", Change() as change:
                return replace(now, steady=_moved(now.steady or 0.0, change))
            case _, Modulation() | str() as wanted if name in SOURCES:
                knob = wanted if isinstance(wanted, str) else wanted.knob
                kept = tuple(m for m in now.modulations if m.knob != knob)
                more = () if isinstance(wanted, str) else (wanted,)
                return replace(now, modulations=kept + more)
            case "learn", str() as wanted:
                return replace(now, learning=wanted)
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

    def _in_scene(self, now: Settings, which: str) -> Settings:
        if which in ("next", "previous") and self.scenes:
            place = next((i for i, s in enumerate(self.scenes) if s.name == now.scene), None)
            step = 1 if which == "next" else -1
            place = (0 if step > 0 else -1) if place is None else place + step
            scene = self.scenes[place % len(self.scenes)]
        else:
            scene = scene_named(which, self.scenes)
        return in_scene(now, self._beginning, scene)

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

    @staticmethod
    def _backdrop(command: Command, text: str) -> Backdrop | None:
        return read_backdrop(text) if text == BLUR or command.any_style else None

    def _of_gallery(self, text: str) -> Style | None:
        """The style of that exact name, or the mix of such; None where one is missing."""
        if style := next((s for s in self._gallery if s.name == text), None):
            return style
        parts = [part.rpartition("=") for part in text.split(",", 16)]
        styles = [
            next((s for s in self._gallery if s.name == n.strip()), None) for n, _, _ in parts
        ]
        weights = [weight.strip() for _, _, weight in parts]
        if None in styles or not all(NUMBER.fullmatch(weight) for weight in weights):
            return None
        return mix([(s, float(w)) for s, w in zip(styles, weights, strict=True) if s is not None])


def _with_area(areas: tuple[Area, ...], place: str, what: object) -> tuple[Area, ...]:
    """The areas with another style or strength at a place, or without it."""
    now = next((area for area in areas if area.where == place), Area(place))
    others = [area for area in areas if area.where != place]
    if isinstance(what, Style):
        others.append(replace(now, style=what, backdrop=None))
    elif isinstance(what, Backdrop):
        others.append(replace(now, style=None, backdrop=what))
    elif isinstance(what, Change):
        strength = _moved(1.0 if now.strength is None else now.strength, what)
        others.append(replace(now, strength=strength))
    return tuple(sorted(others, key=lambda area: PLACES.index(area.where)))


def _same(one: Style, other: Style) -> bool:
    return one.name == other.name and one.model.path == other.model.path


def _moved(now: float, change: Change, *, most: float = 1.0) -> float:
    value = now + change.value if change.relative else change.value
    return round(min(most, max(0.0, value)), 4)


def _toggled(now: bool, on: object) -> bool:
    return on if isinstance(on, bool) else not now
