"""`python -m benchmarks.reliability.faulty_run FAULT ARGUMENTS…`: rtstyle with something wrong.

FAULT is JSON: `engine`, a class of `faulty_engines` that is there as the engine "faulty";
`patience`, in seconds, with engines, and `closing`, with threads; `largest`, how many bytes a file
may have; `memory`, how many bytes more than now may be used; `clock`, whether the wall
clock jumps about.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

from rtstyle import pipeline
from rtstyle.cli import main as cli
from rtstyle.engines.registry import ENGINES, EngineRow


def main(settings: dict[str, Any], argv: list[str]) -> None:
    """Arrange the fault, then be `rtstyle`."""
    kind = settings.get("engine", "FaultyEngine")
    ENGINES["faulty"] = EngineRow(f"benchmarks.reliability.faulty_engines:{kind}")
    if "patience" in settings:
        defaults = pipeline.Pipeline.__init__.__kwdefaults__
        assert defaults is not None
        defaults["patience"] = settings["patience"]
    if "closing" in settings:
        pipeline._CLOSING_SECONDS = settings["closing"]
    if "largest" in settings:
        resource.setrlimit(resource.RLIMIT_FSIZE, (settings["largest"], resource.RLIM_INFINITY))
    if "memory" in settings:
        for library in ("av", "cv2", "onnxruntime"):  # which need some to be loaded
            import_module(library)
        import_module("openvino").Core().get_property("CPU", "FULL_DEVICE_NAME")
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + settings["memory"], resource.RLIM_INFINITY))
    if settings.get("clock"):
        real, calls = time.time, count()
        time.time = lambda: real() + (-1) ** next(calls) * 1e7 * next(calls)
        time.time_ns = lambda: int(time.time() * 1e9)
    sys.argv = ["rtstyle", *argv]
    print("started", flush=True)
    cli.main()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), sys.argv[2:])
