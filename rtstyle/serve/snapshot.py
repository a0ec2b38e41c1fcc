"""A visitor's snapshot: the camera's picture at its full size, painted as their run paints it."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from rtstyle.engines import open_engine
from rtstyle.engines.base import Engine
from rtstyle.errors import ModelError
from rtstyle.frame import Frame, Image
from rtstyle.image import Look, prepare
from rtstyle.live.engine_pool import EnginePool
from rtstyle.live.options import LiveOptions
from rtstyle.live.overlay import compose
from rtstyle.live.settings import Settings
from rtstyle.masks import Mask, PersonMasks
from rtstyle.passes import Pass, Passes, combine
from rtstyle.serve.pictures import encoded
from rtstyle.style.style import Area, Style


def paint_snapshot(
    picture: Image, settings: Settings, live: LiveOptions, pool: EnginePool
) -> bytes:
    """The picture (H, W, 3), painted as the settings say at its own size, as a PNG file.

    Without the areas where the masks have no model, as the run goes on then. The engines are not
    kept, since every size takes ones of its own. Raises `EngineError`.
    """
    look = Look(
        strength=settings.strength,
        preserve_color=settings.preserve_color,
        stroke=live.stroke if settings.stroke is None else settings.stroke,
    )
    if settings.mirror:
        picture = np.ascontiguousarray(picture[:, ::-1])
    areas, masks = _areas(picture, settings.areas)
    with ExitStack() as opened:
        engines: dict[Path, Engine] = {}

        def one(style: Style) -> Pass:
            path = style.model.path
            if path not in engines:
                engines[path] = opened.enter_context(open_engine(pool.options, style.model))
            return Pass(engines[path], style, look)

        how = Passes.of(one(settings.mixed))
        how = replace(how, areas=tuple((a, one(a.style) if a.style else None) for a in areas))
        how = how.in_view(masks)
        images = [_painted(run, picture) for run in how.runs]
        painted = combine(images, how, picture, masks)
    return encoded(compose(painted, picture, split=settings.split, stamped=False), ".png")


def _areas(picture: Image, areas: tuple[Area, ...]) -> tuple[tuple[Area, ...], dict[str, Mask]]:
    if not areas:
        return (), {}
    try:
        return areas, PersonMasks()(Frame(picture, Fraction(0), 0))
    except ModelError:
        return (), {}


def _painted(run: Pass, picture: Image) -> Image:
    batch = prepare(picture, model=run.engine.model, look=run.look)
    stylized = run.engine.submit(batch, run.style.vector, run.look.strength).result()
    return run.finish(stylized, picture)
