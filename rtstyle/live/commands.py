"""The commands of a live run, and who may give them.

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
from dataclasses import dataclass

from rtstyle.errors import UsageError
from rtstyle.live.modulation import SOURCES, Modulation
from rtstyle.style.style import PLACES

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
MOST_SECONDS = 3600.0
NUMBER = re.compile(r"[+-]?(\d{1,6}(\.\d{0,9})?|\.\d{1,9})", re.ASCII)


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

    @property
    def names_style(self) -> bool:
        """Whether its argument, if that is a text, is a style's name, or a backdrop's."""
        return _ARGUMENTS[self.name] in (_STYLE, _AREA)


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
    if NUMBER.fullmatch(what):
        return Command("on", _share(what), place=place)
    return Command("on", False if what == "off" else what, rights.any_style, place)


def spoken(name: str, value: object = None) -> str:
    """A message of a name and a value, as OSC and MIDI send it, in words; "" for a button that is
    let go. Raises `UsageError` for a value that no command takes."""
    kind = _ARGUMENTS.get(name)
    if value is None or isinstance(value, str):
        return name if value is None else f"{name} {value}"
    if not isinstance(value, int | float) or not abs(value) < MOST_SECONDS + 1:  # NaN neither
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
        or not all(NUMBER.fullmatch(number) for number in numbers)
        or not all(0 <= float(number) <= 1 for number in numbers[:2])
        or not all(0.1 <= float(number) <= MOST_SECONDS for number in numbers[2:])
    ):
        example = f"{source} strength 0.2 0.8{' 4' if source == 'lfo' else ''}"
        raise UsageError(
            f"A knob ({', '.join(_MOVABLE)}) and two numbers from 0 to 1 were expected, such as "
            f"{example!r}, not {text[:40]!r}."
        )
    return Modulation(source, knob, *map(float, numbers))


def _share(text: str) -> Change:
    """ "0.4", or "+0.1" and "-0.1", which are added to the present number."""
    if not NUMBER.fullmatch(text):
        raise UsageError(f"A number such as 0.4, or +0.1, was expected, not {text[:40]!r}.")
    return Change(float(text), relative=text[0] in "+-")


def _switch(text: str) -> bool:
    if text.lower() not in ("on", "off"):
        raise UsageError(f"on or off was expected, not {text[:40]!r}.")
    return text.lower() == "on"
