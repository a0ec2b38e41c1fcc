"""The settings of a live run, and what a scene makes of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rtstyle.live.modulation import Modulation
from rtstyle.style.scene import Scene
from rtstyle.style.style import Area, Style, can_mix, mix


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


def in_scene(now: Settings, beginning: Settings, scene: Scene) -> Settings:
    """The settings in a scene; knobs that it does not name are as at the beginning."""
    chosen = picked(now, scene.style or beginning.style)
    return replace(
        chosen,
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


def picked(now: Settings, style: Style) -> Settings:
    """Another style; the partner stays where the two can be mixed."""
    if now.partner is not None and can_mix(style, now.partner):
        return replace(now, style=style)
    return replace(now, style=style, partner=None, blend=0.0)
