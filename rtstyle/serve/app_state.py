"""What all viewers share: the gallery, the engines, the limit of how many are let in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rtstyle.errors import StyleNotFoundError
from rtstyle.frame import Image
from rtstyle.live.controls import Controls, Settings, can_mix
from rtstyle.live.engine_pool import EnginePool
from rtstyle.live.session import Figures, LiveOptions
from rtstyle.serve.options import ServeOptions
from rtstyle.serve.thumbnails import Thumbnails
from rtstyle.serve.tracks import BrowserSink
from rtstyle.style.encoder import arbitrary_style_model, style_from_image
from rtstyle.style.style import Style


class Show:
    """One painting that all viewers watch, as `rtstyle live --to web` has it."""

    def __init__(self, sink: BrowserSink, controls: Controls) -> None:
        self.sink, self.controls = sink, controls
        self.figures: Callable[[], tuple[Figures, str]] = lambda: (Figures(), "")


class Studio:
    """Everything of the page that outlives one viewer. Without a `show`, viewers bring a camera."""

    def __init__(
        self,
        options: ServeOptions,
        live: LiveOptions,
        pool: EnginePool,
        first: Settings,
        gallery: list[Style],
        *,
        show: Show | None = None,
    ) -> None:
        self.options, self.live, self.pool, self.show = options, live, pool, show
        self.gallery, self.thumbnails = gallery, Thumbnails(pool)
        self._first = first

    def controls(self) -> Controls:
        """Controls for one more viewer: the show's, or a set of its own."""
        if self.show is not None:
            return self.show.controls
        return Controls(self.gallery, self._first, find=_not_found)

    @property
    def mode(self) -> str:
        """What viewers do: "watch" the show, or bring a "camera"."""
        return "watch" if self.show is not None else "camera"

    @property
    def takes_paintings(self) -> bool:
        """Whether a model is installed that paints like any picture."""
        try:
            arbitrary_style_model()
        except StyleNotFoundError:
            return False
        return True

    def paint_like(self, picture: Image, name: str) -> Style:
        """A style of the picture. Takes a moment; raises the errors of `style_from_image`."""
        return replace(style_from_image(picture), name=name)


def _not_found(name: str) -> Style:
    """A stranger's names are never looked up among files."""
    raise StyleNotFoundError(f"There is no style {name!r} in the gallery.")


def gallery_message(controls: Controls) -> dict[str, Any]:
    """The gallery for the page: names, sentences, and who can be mixed with whom (`family`)."""
    families: list[Style] = []
    rows = []
    for style in controls.gallery:
        place = next((i for i, one in enumerate(families) if can_mix(one, style)), None)
        if place is None:
            place = len(families)
            families.append(style)
        rows.append(
            {
                "name": style.name,
                "about": style.description,
                "family": place,
                "painting": style.name not in style.model.styles,
            }
        )
    return {"gallery": rows}


def settings_message(settings: Settings) -> dict[str, Any]:
    """The settings for the page."""
    return {
        "settings": {
            "style": settings.style.name,
            "partner": settings.partner.name if settings.partner else None,
            "blend": settings.blend,
            "strength": settings.strength,
            "color": settings.preserve_color,
            "split": settings.split,
            "mirror": settings.mirror,
            "pause": settings.paused,
            "record": settings.recording,
        }
    }
