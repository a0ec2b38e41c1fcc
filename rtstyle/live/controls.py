"""The commands of a live run, who may give them, and the settings that they change.

    next | previous | style NAME or NUMBER      pick one of the gallery
    blend 0.4 | blend +0.1 | with NAME          mix with a second style of the same model
    strength 0.8 | strength -0.1
    color | split | mirror | pause | record     toggle, or set by on or off; split 0.3 moves it
    scene night | scene 2 | scene next | scene previous
    fade 1.5                                    seconds that later changes of style take
    cycle 10                                    the next scene every so many seconds; 0 ends that
    on person udnie | on face 0.3 | on face off | keep person
    on background blur | on background picture:beach.jpg
    stroke 0.03 | stroke off | steady 0.5       of the picture's shorter side; the filter's strength
    lfo strength 0.2 0.8 4 | lfo strength off   moves a knob there and back in 4 seconds
    level blend 0 1 | beat strength 0.4 1       moves a knob by the sound
    learn strength | learn off                  binds the next MIDI knob or key that is touched
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
from rtstyle.live.modulation import SOURCES, Modulation
from rtstyle.style.backdrop import BLUR, Backdrop, read_backdrop
from rtstyle.style.parse import find_style
from rtstyle.style.scene import Scene, scene_named
from rtstyle.style.style import PLACES, Area, Style, can_mix, mix

_STYLE, _SHARE, _SWITCH, _SPLIT, _NONE = "style", "share", "switch", "split", "none"
_AREA, _SCENE, _SECONDS, _MODULATION, _COMMAND = "area", "scene", "seconds", "modulation", "command"
_ARGUMENTS = {
    "next": _NONE, "previous": _NONE, "style": _STYLE, "with": _STYLE, "blend": _SHARE,
    "strength": _SHARE, "color": _SWITCH, "split": _SPLIT, "mirror": _SWITCH, "pause": _SWITCH,
    "scene": _SCENE, "fade": _SECONDS, "cycle": _SECONDS, "stroke": _SPLIT, "steady": _SHARE,
    "on": _AREA, "keep": _AREA,
    **dict.fromkeys(SOURCES, _MODULATION), "learn": _COMMAND,
    "snapshot": _NONE, "record": _SWITCH, "quit": _NONE,
}  # fmt: skip
COMMANDS = tuple(_ARGUMENTS)
_MOVABLE = ("strength", "blend", "steady")  # from frame to frame, at no cost
_LONGEST = 4096  # characters of a command; paths are no longer
_MOST_SECONDS = 3600.0
_FINEST_STROKE = 0.01
_NUMBER = re.compile(r"[+-]?(\d{1,6}(\.\d{0,9})?|\.\d{1,9})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Rights:
    """What may be asked for: these commands, and with `any_style` styles outside of the gallery,
    which opens files."""

    commands: frozenset[str]
    any_style: bool = False


HOST = Rights(frozenset(COMMANDS), any_style=True)  # keys of the window, and stdin
# Listed one by one: a new command is the host's alone until somebody lets strangers have it. So:
# nothing on the host's disk, and no engines of other sizes.
PAGE = Rights(frozenset({
    "next", "previous", "style", "with", "blend", "strength", "color", "split", "mirror", "pause",
    "scene", "fade", "cycle", "steady", "on", "keep", "lfo", "level", "beat",
}))  # fmt: skip
WATCH = Rights(frozenset())


@dataclass(frozen=True, slots=True)
class Change:
    """A share from 0 to 1 or seconds, or with `relative` what is added to the present number."""

    value: float
    relative: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """One checked command. `argument` is a name, a number, on (True), off or None; `place` is where
    in the frame, of the commands that say so."""

    name: str
    argument: str | Change | Modulation | bool | None = None
    any_style: bool = False
    place: str = ""


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
    if kind in (_STYLE, _SCENE):
        if not rest and name != "with":
            raise UsageError(f"A {kind}'s name or number was expected after {name}.")
        return Command(name, rest, rights.any_style)
    if kind in (_SHARE, _SECONDS) or (kind == _SPLIT and rest.lower() not in ("", "on", "off")):
        return Command(name, _share(rest))
    if kind == _AREA:
        return _on(name, rest, rights)
    if kind == _MODULATION:
        return Command(name, _modulation(name, rest))
    if kind == _COMMAND:
        if rest.lower() != "off" and rest.partition(" ")[2]:
            parse(rest, rights)
        elif rest.lower() not in ("off", *COMMANDS):
            raise UsageError(f"A command was expected after learn, not {rest[:40]!r}.")
        return Command(name, "" if rest.lower() == "off" else rest)
    return Command(name, _switch(rest) if rest else None)


def _on(name: str, text: str, rights: Rights) -> Command:
    """ "person udnie", "face 0.3" or "face off"; "person" alone is what to keep."""
    place, _, what = text.partition(" ")
    what = "0" if name == "keep" and not what else what.strip()
    if place not in PLACES or not what or (name == "keep" and what != "0"):
        raise UsageError(f"A place ({', '.join(PLACES)}) and a style or share were expected.")
    if _NUMBER.fullmatch(what):
        return Command("on", _share(what), place=place)
    return Command("on", False if what == "off" else what, rights.any_style, place)


def spoken(name: str, value: object = None) -> str:
    """A message of a name and a value, as OSC and MIDI send it, in words; "" for a button that is
    let go. Raises `UsageError` for a value that no command takes."""
    kind = _ARGUMENTS.get(name)
    if value is None or isinstance(value, str):
        return name if value is None else f"{name} {value}"
    if not isinstance(value, int | float) or not abs(value) < _MOST_SECONDS + 1:  # NaN neither
        raise UsageError(f"A text or a number was expected for {name[:40]}.")
    if kind == _SWITCH:
        return f"{name} {'on' if value >= 0.5 else 'off'}"
    if kind == _NONE:
        return name if value >= 0.5 else ""
    if kind in (_STYLE, _SCENE):
        return f"{name} {int(value)}"
    return f"{name} {max(0.0, float(value)):.6f}"


def _modulation(source: str, text: str) -> Modulation | str:
    """ "strength 0.2 0.8 4"; "strength off" is the knob that moves no more."""
    knob, *numbers = text.split()[:5] or [""]
    n_wanted = 3 if source == "lfo" else 2
    if knob in _MOVABLE and numbers == ["off"]:
        return knob
    if (
        knob not in _MOVABLE
        or len(numbers) != n_wanted
        or not all(_NUMBER.fullmatch(number) for number in numbers)
        or not all(0 <= float(number) <= 1 for number in numbers[:2])
        or not all(0.1 <= float(number) <= _MOST_SECONDS for number in numbers[2:])
    ):
        example = f"{source} strength 0.2 0.8{' 4' if source == 'lfo' else ''}"
        raise UsageError(
            f"A knob ({', '.join(_MOVABLE)}) and two numbers from 0 to 1 were expected, such as "
            f"{example!r}, not {text[:40]!r}."
        )
    return Modulation(source, knob, *map(float, numbers))


def _share(text: str) -> Change:
    """ "0.4", or "+0.1" and "-0.1", which are added to the present number."""
    if not _NUMBER.fullmatch(text):
        raise UsageError(f"A number such as 0.4, or +0.1, was expected, not {text[:40]!r}.")
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
    `scene` is the name of the last one picked. `fade` and `cycle` are in seconds, 0 for none;
    `stroke` and `steady` are None where the run's options say them. `areas` are painted otherwise.
    `modulations` move knobs from frame to frame. `learning` is the command that waits for a MIDI
    knob.
    """

    style: Style
    partner: Style | None = None
    blend: float = 0.0
    strength: float = 1.0
    preserve_color: bool = False
    stroke: float | None = None
    steady: float | None = None
    scene: str = ""
    fade: float = 0.0
    cycle: float = 0.0
    areas: tuple[Area, ...] = ()
    modulations: tuple[Modulation, ...] = ()
    learning: str = ""
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
        if isinstance(argument, str) and _ARGUMENTS[command.name] in (_STYLE, _AREA):
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
            case "scene", str() as which:
                return self._in_scene(now, which)
            case "fade", Change() as change:
                return replace(now, fade=_moved(now.fade, change, most=_MOST_SECONDS))
            case "cycle", Change() as change if self.scenes:
                return replace(now, cycle=_moved(now.cycle, change, most=_MOST_SECONDS))
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
        if None in styles or not all(_NUMBER.fullmatch(weight) for weight in weights):
            return None
        return mix([(s, float(w)) for s, w in zip(styles, weights, strict=True) if s is not None])


def in_scene(now: Settings, beginning: Settings, scene: Scene) -> Settings:
    """The settings in a scene; knobs that it does not name are as at the beginning."""
    picked = _picked(now, scene.style or beginning.style)
    return replace(
        picked,
        scene=scene.name,
        partner=beginning.partner if scene.style is None else None,
        blend=beginning.blend if scene.style is None else 0.0,
        strength=beginning.strength if scene.strength is None else scene.strength,
        preserve_color=beginning.preserve_color if scene.color is None else scene.color,
        stroke=beginning.stroke if scene.stroke is None else scene.stroke,
        steady=beginning.steady if scene.steady is None else scene.steady,
        areas=beginning.areas if scene.on is None else scene.on,
        fade=float(scene.fade) or beginning.fade,
    )


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


def _picked(now: Settings, style: Style) -> Settings:
    """Another style; the partner stays where the two can be mixed."""
    if now.partner is not None and can_mix(style, now.partner):
        return replace(now, style=style)
    return replace(now, style=style, partner=None, blend=0.0)


def _same(one: Style, other: Style) -> bool:
    return one.name == other.name and one.model.path == other.model.path


def _moved(now: float, change: Change, *, most: float = 1.0) -> float:
    value = now + change.value if change.relative else change.value
    return round(min(most, max(0.0, value)), 4)


def _toggled(now: bool, on: object) -> bool:
    return on if isinstance(on, bool) else not now
