"""rtstyle turns a video or a webcam into a painting while you watch.

    import rtstyle

    rtstyle.render("in.mp4", "out.mp4", style="starry_night")

or, with every part in your own hands:

    style = rtstyle.find_style("starry_night")
    with (
        rtstyle.open_source("in.mp4") as source,
        rtstyle.open_engine("auto", style.model) as engine,
        rtstyle.open_sink("out.mp4", source) as sink,
    ):
        print(rtstyle.Pipeline(source, engine, sink, style=style).run())
        sink.finish()
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from rtstyle.engines import open_engine as open_engine
    from rtstyle.errors import RtstyleError as RtstyleError
    from rtstyle.frame import Frame as Frame
    from rtstyle.frame import StreamInfo as StreamInfo
    from rtstyle.image import Look as Look
    from rtstyle.media import open_sink as open_sink
    from rtstyle.media import open_source as open_source
    from rtstyle.metrics import Report as Report
    from rtstyle.model.spec import ModelSpec as ModelSpec
    from rtstyle.pipeline import Pipeline as Pipeline
    from rtstyle.rendering.api import render as render
    from rtstyle.style.parse import find_style as find_style
    from rtstyle.style.style import Style as Style
    from rtstyle.style.style import find_styles as find_styles

# Imported on first use, so that `rtstyle --help` does not wait for video and model libraries.
_HOMES = {
    "Frame": "frame",
    "Look": "image",
    "ModelSpec": "model.spec",
    "Pipeline": "pipeline",
    "Report": "metrics",
    "RtstyleError": "errors",
    "StreamInfo": "frame",
    "Style": "style.style",
    "find_style": "style.parse",
    "find_styles": "style.style",
    "open_engine": "engines",
    "open_sink": "media",
    "open_source": "media",
    "render": "rendering.api",
}

__all__ = [*sorted(_HOMES), "__version__"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(f"rtstyle.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'rtstyle' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
