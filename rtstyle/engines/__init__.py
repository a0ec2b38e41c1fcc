"""The engines; adding one is a file and a line here."""

from __future__ import annotations

import logging
import platform
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from rtstyle.engines.base import Engine
from rtstyle.engines.batch import find_peak
from rtstyle.errors import EngineError, UsageError
from rtstyle.model import ModelSpec

ENGINES = {
    "openvino": "rtstyle.engines.openvino_engine:OpenVinoEngine",
    "openvino-bf16": "rtstyle.engines.openvino_engine:OpenVinoBf16Engine",
    "onnxruntime": "rtstyle.engines.onnxruntime_engine:OnnxRuntimeEngine",
    "torch": "rtstyle.engines.torch_engine:TorchEngine",
    "identity": "rtstyle.engines.identity_engine:IdentityEngine",
}

_log = logging.getLogger("rtstyle")


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """One row of the table of engines: the version of its library, or why it cannot be used."""

    name: str
    version: str = ""
    problem: str = ""


def open_engine(name: str, model: ModelSpec, *, threads: int | None = None) -> Engine:
    """Load `model` into the engine called `name`, or with "auto" into the best that works.

    `threads` is the number of CPU threads, all cores by default. Raises `UsageError` for a name
    that is none, `EngineError` when the engine, or with "auto" every one, cannot run the model.
    """
    if threads is not None and threads < 1:
        raise UsageError(f"An engine needs at least 1 thread, not {threads}.")
    if name != "auto":
        return _open(name, model, threads)
    problems = []
    for candidate in automatic():
        try:
            engine = _open(candidate, model, threads)
        except EngineError as error:
            problems.append(f"{candidate}: {error}")
            continue
        _log.info("Engine %s on %s.", engine.name, engine.device)
        return engine
    raise EngineError(f"No engine can run {model.path.name}. " + " ".join(problems))


def automatic() -> tuple[str, ...]:
    """What "auto" tries, best first for this machine."""
    on_x86 = platform.machine().lower() in {"x86_64", "amd64", "i686", "x86"}
    first_two = ("openvino", "onnxruntime") if on_x86 else ("onnxruntime", "openvino")
    return (*first_two, "torch")


def available_engines() -> list[EngineInfo]:
    """Every engine with its version or with what is missing. Imports them all."""
    rows = []
    for name in ENGINES:
        try:
            rows.append(EngineInfo(name, version=_engine_class(name).version()))
        except EngineError as error:
            rows.append(EngineInfo(name, problem=str(error)))
    return rows


def _open(name: str, model: ModelSpec, threads: int | None) -> Engine:
    engine: Engine = _engine_class(name)(model, threads=threads)
    if model.layout == "nchw" and model.peak is None:
        engine.model = replace(model, peak=find_peak(engine))
    return engine


def _engine_class(name: str) -> Any:
    if name not in ENGINES:
        raise UsageError(f"There is no engine {name!r}; known are auto, {', '.join(ENGINES)}.")
    module, _, class_name = ENGINES[name].partition(":")
    try:
        return getattr(import_module(module), class_name)
    except ImportError as error:
        raise EngineError(
            f"The engine {name} cannot be loaded ({error}); install its package first."
        ) from error
