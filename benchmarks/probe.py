"""A process that stylizes on request: one side of `python -m benchmarks compare`.

It is run by its path, with the tree to be measured first on the import path, and uses nothing of
rtstyle but what has been there from the beginning. For every line on its input it measures once and
prints the seconds that one picture took; the first line printed says that it is ready.
"""

from __future__ import annotations

import json
import os
import sys
from collections import deque
from importlib import import_module, util
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any


def main(plan: dict[str, Any]) -> None:
    """Serve rounds until the input ends. `plan` has style, engine, threads, width, height,
    level ("engine", "memory" or "host"), pictures a round and `slower`, an artificial loss."""
    with TemporaryDirectory(prefix="rtstyle-host-") as folder:
        if plan["level"] == "host":  # nothing of its null plans is kept
            os.environ["RTSTYLE_CACHE"] = folder
        _serve(plan)


def _serve(plan: dict[str, Any]) -> None:
    from rtstyle import engines
    from rtstyle.image import Look, finish, prepare
    from rtstyle.media.synthetic import SyntheticSource

    find_style = _found("find_style", "rtstyle.style.parse", "rtstyle.style_text")
    null_sink = _found("NullSink", "rtstyle.media.synthetic", "rtstyle.media.null")
    style = find_style(plan["style"])
    source = SyntheticSource(plan["width"], plan["height"], n_frames=4)
    pictures = [frame.image for frame in source.frames()]
    name, threads = plan["engine"], plan["threads"]
    if plan["level"] == "host":
        name = "tensorrt"
        batch = prepare(pictures[0], model=style.model, look=Look())
        inputs = import_module("rtstyle.engines.batch").to_inputs(style.model, batch, style.vector)
        _beside("null_gpu").install({name: str(array.dtype) for name, array in inputs.items()})
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

        def paint_around(count: int) -> None:
            """What the pipeline does in this computer, by one thread, three in flight."""
            pad = {"pad": False} if getattr(engine, "pads", False) else {}
            model, look = engine.model, Look()
            waiting: deque[tuple[Any, Any]] = deque()
            start = perf_counter()
            for number in range(count + 2):
                if number < count:
                    picture = pictures[number % len(pictures)]
                    batch = prepare(picture, model=model, look=look, **pad)
                    waiting.append((engine.submit(batch, style.vector), picture))
                if number >= 2:
                    pending, picture = waiting.popleft()
                    finish(pending.result(), picture, model=model, look=look)
            _lose(plan["slower"], since=start)

        paints = {"engine": paint_alone, "memory": paint_through, "host": paint_around}
        paint = paints[plan["level"]]
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


def _beside(name: str) -> Any:
    """The module in the file beside this one, whatever the tree that is measured has."""
    spec = util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _lose(share: float, *, since: float) -> None:
    """Waste `share` of the time that has passed `since`, as slower code would."""
    end = perf_counter() + share * (perf_counter() - since)
    while perf_counter() < end:
        pass


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
