"""What all connections share: the gallery, the engines, the limits; and messages for the page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rtstyle.errors import StyleNotFoundError
from rtstyle.frame import Image
from rtstyle.live.commands import PAGE, WATCH, Rights
from rtstyle.live.controls import Controls
from rtstyle.live.engine_pool import EnginePool
from rtstyle.live.options import LiveOptions
from rtstyle.live.session import Figures
from rtstyle.live.settings import Settings
from rtstyle.serve.auth import ServeOptions
from rtstyle.serve.every_run import EveryRun
from rtstyle.serve.pictures import Thumbnails
from rtstyle.serve.tracks import TrackSink
from rtstyle.style.encoder import (
    arbitrary_style_model,
    encode,
    prepare_style_image,
    read_style_encoder,
)
from rtstyle.style.scene import Scene
from rtstyle.style.style import Style
from rtstyle.web.plan import Plan, gallery_message


@dataclass(frozen=True, slots=True)
class SharedRun:
    """The one live run that all connections watch, as `rtstyle live --to web` has it.

    `figures()` gives its figures and a notice.
    """

    sink: TrackSink
    controls: Controls
    figures: Callable[[], tuple[Figures, str]]


class AppState:
    """Everything that outlives a connection. Without a `shared` run, visitors bring a camera, which
    browsers may paint themselves by the `plan`."""

    def __init__(
        self,
        options: ServeOptions,
        live: LiveOptions,
        pool: EnginePool,
        settings: Settings,
        gallery: list[Style],
        *,
        scenes: tuple[Scene, ...] = (),
        shared: SharedRun | None = None,
        plan: Plan | None = None,
    ) -> None:
        self.options, self.live, self.pool, self.shared = options, live, pool, shared
        self.gallery, self.thumbnails = gallery, Thumbnails(pool)
        self.every_run, self.plan = EveryRun(gallery, settings, scenes=scenes), plan

    def controls(self) -> Controls:
        """Controls for a new connection: those of the shared run, or its own."""
        if self.shared is not None:
            return self.shared.controls
        return self.every_run.begin()

    def rights(self, *, is_host: bool) -> Rights:
        """Everybody controls a run of their own; a shared one is the host's."""
        return PAGE if is_host or self.shared is None else WATCH

    def welcome(self, rights: Rights) -> dict[str, Any]:
        """What the page needs to know: whether it watches a shared run or brings a camera, whether
        it controls it, and whether it may upload a picture as a style."""
        controls = "style" in rights.commands
        return {
            "mode": "camera" if self.shared is None else "watch",
            "controls": controls,
            "uploads": controls and self.takes_uploads,
        }

    def gallery_message(self, controls: Controls) -> dict[str, Any]:
        """The gallery of the controls for the page; visitors' own pictures have no thumbnail."""
        message = gallery_message(controls.gallery, self.plan)
        names = {style.name for style in self.gallery}
        for row in message["gallery"]:
            row["own"] = row["name"] not in names
        return message | {"scenes": [scene.name for scene in controls.scenes]}

    @property
    def painting(self) -> dict[str, Any]:
        """For the page: where pictures are painted, and how it can do so itself."""
        if self.plan is None:
            return {}
        return {"paint": self.options.paint, "here": self.plan.document}

    @property
    def takes_uploads(self) -> bool:
        """Whether a model is installed that takes any picture as its style."""
        try:
            arbitrary_style_model()
        except StyleNotFoundError:
            return False
        return True

    def style_of_picture(self, picture: Image, name: str) -> Style:
        """The picture (H, W, 3) as a style, in memory only. Takes a moment.

        Raises the errors of `style_from_image`.
        """
        model = arbitrary_style_model()
        encoder = read_style_encoder(model)
        vector = encode(encoder, prepare_style_image(picture, encoder))
        vector.setflags(write=False)
        return Style(name, model, vector)
