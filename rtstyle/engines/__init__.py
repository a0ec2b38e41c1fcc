"""The engines: `open_engine` loads a model into one of them. `registry` holds their table."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace

from rtstyle.engines.base import Engine
from rtstyle.engines.batch import find_peak
from rtstyle.engines.cuda.device import share_context
from rtstyle.engines.options import EngineOptions as EngineOptions
from rtstyle.engines.precision import in_half
from rtstyle.engines.registry import ENGINES as ENGINES
from rtstyle.engines.registry import automatic as automatic
from rtstyle.engines.registry import engine_row, engine_rows, load_engine_class
from rtstyle.engines.registry import has_nvidia_driver as has_nvidia_driver
from rtstyle.engines.wrappers import MultiDeviceEngine, WarmupEngine
from rtstyle.errors import EngineError, ModelError
from rtstyle.model.onnx_reader import check_safe
from rtstyle.model.spec import ModelSpec
from rtstyle.model.zoo import CHOICES, at_precision, best_precision

_log = logging.getLogger("rtstyle")


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """One row of the table of engines: the version of its library, or why it cannot be used, and
    the precision that it paints in where nothing else is asked for."""

    name: str
    version: str = ""
    problem: str = ""
    precision: str = "fp32"


def open_engine(engine: str | EngineOptions, model: ModelSpec) -> Engine:
    """Load `model` into the engine that the options name, or with "auto" into the best that works.

    A plain name stands for the options with everything else left to its default. With "auto", the
    next engine runs until one that has to be built first is ready.

    Raises `UsageError` for an unknown name, `EngineError` when the engine, or with "auto" every
    one, cannot run the model.
    """
    options = EngineOptions.of(engine)
    if options.name != "auto":
        return _open(options, model)
    names = automatic()
    if options.devices and not any(engine_row(name).runs_on_gpu for name in names):
        raise EngineError(
            "--devices names GPUs, and there is no NVIDIA driver here; leave it out to paint on "
            "the CPU."
        )
    problems = []
    builder: Engine | None = None
    for name in names:
        row = engine_row(name)
        if options.devices and not row.runs_on_gpu:
            problems.append(f"{name}: it does not run on a GPU.")
            continue
        builds = row.builds_per_size and not options.devices
        if builds and builder is not None:
            continue  # one that builds is enough; the one before it must not build itself
        try:
            opened = _open(replace(options, name=name), model)
        except EngineError as error:
            problems.append(f"{name}: {error}")
            continue
        if builds:
            builder = opened
            continue
        if builder is not None:
            opened = WarmupEngine(opened, builder)
        _log.info("Engine %s on %s.", opened.name, opened.device)
        for problem in problems:
            _log.debug("Not %s", problem)
        return opened
    if builder is not None:
        return builder
    raise EngineError(f"No engine can run {model.path.name}. " + " ".join(problems))


def available_engines() -> list[EngineInfo]:
    """Every engine with its version or with the reason why it cannot be used. Imports them all."""
    rows = []
    for name in engine_rows():
        try:
            version = load_engine_class(name).version()
            precision = engine_row(name).precision
            rows.append(EngineInfo(name, version=version, precision=precision))
        except EngineError as error:
            rows.append(EngineInfo(name, problem=str(error)))
    return rows


def _open(options: EngineOptions, model: ModelSpec) -> Engine:
    make: Callable[[ModelSpec, EngineOptions], Engine] = load_engine_class(options.name)
    if engine_row(options.name).runs_on_gpu:
        share_context()
    given = model.path
    if given.suffix == ".onnx" and options.name != "identity":
        check_safe(given)
    model = _variant(options, model)
    if model.path != given:
        check_safe(model.path)
    if model.layout == "nchw" and model.peak is None:
        with make(model, options) as probe:
            model = replace(model, peak=find_peak(probe))
    if len(options.devices) < 2:
        return make(model, options)
    with ExitStack() as stack:
        opened = [
            stack.enter_context(make(model, replace(options, devices=(device,))))
            for device in options.devices
        ]
        stack.pop_all()  # all are open; MultiDeviceEngine closes them
    return MultiDeviceEngine(opened)


def _variant(options: EngineOptions, model: ModelSpec) -> ModelSpec:
    """The model in the precision that the options ask for."""
    row = engine_row(options.name)
    if options.precision == "fp16" and model.path.suffix == ".onnx":
        return in_half(model, norms=row.norms)
    if options.precision not in CHOICES:
        return at_precision(model, options.precision)
    if model.path.suffix != ".onnx":
        return model
    if row.takes_half:
        try:
            return in_half(model, norms=row.norms)
        except ModelError as error:
            _log.warning("%s paints in float32: %s", options.name, error)
            return model
    if options.precision == "fastest" and row.faster_in_int8:
        return best_precision(model, "int8")
    return model
