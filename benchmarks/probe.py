"""A process that stylizes on request: one side of `python -m benchmarks compare`.

It is run by its path, with the tree to be measured first on the import path, and uses nothing of
rtstyle but what has been there from the beginning. For every line on its input it measures once and
prints the seconds that one picture took; the first line printed says that it is ready.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from time import perf_counter
from typing import Any


def main(plan: dict[str, Any]) -> None:
    """Serve rounds until the input ends. `plan` has style, engine, threads, width, height,
    level ("engine" or "memory"), pictures a round and `slower`, an artificial loss."""
    from rtstyle import engines
    from rtstyle.image import Look, prepare
    from rtstyle.media.synthetic import SyntheticSource

    find_style = _found("find_style", "rtstyle.style.parse", "rtstyle.style_text")
    null_sink = _found("NullSink", "rtstyle.media.synthetic", "rtstyle.media.null")
    style = find_style(plan["style"])
    source = SyntheticSource(plan["width"], plan["height"], n_frames=4)
    pictures = [frame.image for frame in source.frames()]
    name, threads = plan["engine"], plan["threads"]
    if hasattr(engines, "EngineOptions"):
        options = engines.EngineOptions(name=name, threads=threads)
        opened = engines.open_engine(options, style.model)
    else:  # a tree from before it
        legacy: Any = engines.open_engine
        opened = legacy(name, style.model, threads=threads)
    with opened as engine:
        batches = [prepare(picture, model=style.model, look=Look()) for picture in pictures]

        def paint_alone(count: int) -> None:
            for number in range(count):
                start = perf_counter()
                engine.submit(batches[number % len(batches)], style.vector).result()
                _lose(plan["slower"], since=start)

        def paint_through(count: int) -> None:
            from rtstyle.pipeline import Pipeline

            start = perf_counter()
            with SyntheticSource(plan["width"], plan["height"], n_frames=count) as frames:
                Pipeline(frames, engine, null_sink(), style=style).run()
            _lose(plan["slower"], since=start)

        paint = paint_alone if plan["level"] == "engine" else paint_through
        paint(plan["pictures"])
        print("ready", flush=True)
        for _ in sys.stdin:
            start = perf_counter()
            paint(plan["pictures"])
            print((perf_counter() - start) / plan["pictures"], flush=True)


def _found(name: str, *modules: str) -> Any:
    """`name` from the first of `modules` that the tree has: where it is now, then where it was."""
    for module in modules:
        try:
            return getattr(import_module(module), name)
        except (ModuleNotFoundError, AttributeError):
            continue
    raise ImportError(f"No {name} in {' or '.join(modules)}.")


def _lose(share: float, *, since: float) -> None:
    """Waste `share` of the time that has passed `since`, as slower code would."""
    end = perf_counter() + share * (perf_counter() - since)
    while perf_counter() < end:
        pass


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
