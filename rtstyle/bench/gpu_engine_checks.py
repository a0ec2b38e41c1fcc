"""The checks of one open engine, a function each: what a row of `rtstyle gpu-check` runs.

A check returns what it measured. It raises `FailedError` for a fault, as any library's error is
one, and `AbsentError` where it cannot be made.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np

from rtstyle.bench.levels import IN_FLIGHT, frame_rate
from rtstyle.bench.parity import Limits, measure_engine
from rtstyle.bench.sources import make_clip
from rtstyle.engines import EngineOptions
from rtstyle.engines.base import Batch, Engine, StyleVector
from rtstyle.engines.batch import to_inputs
from rtstyle.engines.cuda.device import Cuda
from rtstyle.engines.registry import engine_row, load_engine_class
from rtstyle.errors import EngineError, MediaError
from rtstyle.frame import DeviceFrame, DeviceImage
from rtstyle.image import Look, finish, prepare
from rtstyle.media import ReadOptions, open_source
from rtstyle.style.parse import find_style

HALF_LIMITS = Limits(mean=1.0, p999=4.0, flat_color=32.0)  # as for fp16 files
CLOSE = 2.0  # grey levels: zero-copy or hardware against software, mean
_HIDDEN = 0.8  # of the time that copies could take behind a run
Figures = dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the checks paint: `styles` by one model, `size` (height, width), for `seconds` where
    something is timed. `device` is the GPU's number."""

    styles: tuple[str, ...]
    size: tuple[int, int] = (1080, 1920)
    seconds: float = 2.0
    device: int = 0


class FailedError(Exception):
    """A check that found a fault."""


class AbsentError(Exception):
    """A check that cannot be made here."""


class Subject:
    """An open engine with pictures to paint. Sizes are rounded up to the model's stride."""

    def __init__(self, engine: Engine, plan: Plan) -> None:
        self.engine, self.plan = engine, plan
        self.styles = [find_style(name) for name in plan.styles]

    @property
    def vectors(self) -> list[StyleVector | None]:
        return [style.vector for style in self.styles]

    def pictures(self, count: int, size: tuple[int, int] | None = None) -> list[Batch]:
        stride = self.engine.model.stride
        height, width = (-(-side // stride) * stride for side in size or self.plan.size)
        rng = np.random.default_rng(0)
        return [rng.integers(0, 256, (1, height, width, 3), np.uint8) for _ in range(count)]

    def paint(self, picture: Batch, style: StyleVector | None, strength: float = 1.0) -> Batch:
        return self.engine.submit(picture, style, strength).result()

    @cached_property
    def device_image(self) -> DeviceImage:
        """A frame that the GPU has decoded and keeps. Raises `AbsentError`."""
        with TemporaryDirectory(prefix="rtstyle-check-") as folder:
            clip = Path(folder) / "clip.mp4"
            make_clip(clip, self.plan.size[1], self.plan.size[0], frames=4)
            try:
                with open_source(clip, ReadOptions(hwaccel="cuda")) as source:
                    frames = getattr(source, "device_frames", source.frames)()
                    frame = next(frames)
            except (MediaError, EngineError) as error:
                raise AbsentError(str(error)) from error
        if not isinstance(frame, DeviceFrame):
            raise AbsentError("the GPU does not keep the frames that it decodes")
        return frame.image


def check_build(subject: Subject) -> Figures:
    """The first picture of a size: the engine builds what it needs."""
    (picture,) = subject.pictures(1)
    begin = perf_counter()
    painted = subject.paint(picture, subject.vectors[0])
    if np.ptp(painted) == 0:
        raise FailedError("what it paints is one flat colour")
    return {"seconds": round(perf_counter() - begin, 2)}


def check_precision(subject: Subject) -> Figures:
    """That the loaded graph is half."""
    expected = engine_row(subject.engine.name).precision
    if subject.engine.precision != expected:
        raise FailedError(f"it paints in {subject.engine.precision}, not in {expected}")
    return {}


def check_parity(subject: Subject) -> Figures:
    """Every style against the reference engine on the CPU."""
    worst: Figures = {"mean": 0.0, "p999": 0.0}
    for style in subject.styles:
        found, reference = measure_engine(subject.engine, style)
        HALF_LIMITS.require(found, f"In {style.name}, against {reference},")
        worst = {
            "mean": round(max(worst["mean"], found.mean), 3),
            "p999": round(max(worst["p999"], found.p999), 1),
        }
    return worst


def check_repeatability(subject: Subject) -> Figures:
    """The same picture again and again, in every slot."""
    (picture,) = subject.pictures(1)
    pending = [subject.engine.submit(picture, subject.vectors[0]) for _ in range(3 * IN_FLIGHT)]
    _require_same([p.result() for p in pending], [pending[0].result()] * len(pending), "it")
    return {}


def check_styles(subject: Subject) -> Figures:
    """A style a picture while others are in flight: a recorded graph must see the change."""
    if len(subject.styles) < 2:
        raise AbsentError("the model has one style")
    (picture,) = subject.pictures(1)
    alone = [subject.paint(picture, vector) for vector in subject.vectors]
    if np.array_equal(alone[0], alone[1]):
        raise FailedError("two styles paint the same picture")
    turns = [i % len(alone) for i in range(4 * len(alone))]
    pending = [subject.engine.submit(picture, subject.vectors[i]) for i in turns]
    _require_same([p.result() for p in pending], [alone[i] for i in turns], "a changed style")
    return {}


def check_strength(subject: Subject) -> Figures:
    """The same for the strength of a model that blends inside."""
    if not subject.engine.model.takes_strength:
        raise AbsentError("the model does not blend inside")
    (picture,) = subject.pictures(1)
    vector, strengths = subject.vectors[-1], (0.0, 0.5, 1.0)
    alone = [subject.paint(picture, vector, strength) for strength in strengths]
    if np.array_equal(alone[0], alone[2]):
        raise FailedError("strengths of 0 and 1 paint the same picture")
    pending = [subject.engine.submit(picture, vector, strengths[i % 3]) for i in range(9)]
    _require_same([p.result() for p in pending], alone * 3, "a changed strength")
    return {}


def check_sizes(subject: Subject) -> Figures:
    """More sizes in turn than are kept ready, twice, all in flight."""
    height, width = subject.plan.size
    sizes = [(max(1, height // n), max(1, width // n)) for n in (1, 2, 3, 4, 6)]
    pictures = [subject.pictures(1, size)[0] for size in sizes]
    vector = subject.vectors[0]
    alone = [subject.paint(picture, vector) for picture in pictures]
    pending = [subject.engine.submit(picture, vector) for picture in pictures * 2]
    _require_same([p.result() for p in pending], alone * 2, "a size that came back")
    return {"sizes": float(len(sizes))}


def check_memory(subject: Subject) -> Figures:
    """Another program takes the GPU's memory: a sentence or a picture, and then as before."""
    cuda = Cuda(subject.plan.device)
    (picture,) = subject.pictures(1)
    expected = subject.paint(picture, subject.vectors[0])
    height, width = subject.plan.size
    (larger,) = subject.pictures(1, (height + 64, width + 64))
    refused, size = 0.0, 1 << 36
    with ExitStack() as held:
        while size >= 1 << 20:
            try:
                held.callback(cuda.call, "Free", cuda.malloc(size))
            except EngineError:
                size //= 2
        try:
            subject.paint(larger, subject.vectors[0])
        except EngineError:
            refused = 1.0
    _require_same([subject.paint(picture, subject.vectors[0])], [expected], "memory given back")
    return {"refused": refused}


def check_zero_copy(subject: Subject) -> Figures:
    """A frame that stays on the GPU against the same one by way of this computer's memory."""
    image = subject.device_image
    engine, look, vector = subject.engine, Look(), subject.vectors[0]
    if not engine.takes_device_image(image):
        raise AbsentError("this engine takes no frames where they lie")
    stays = engine.submit_device(image, vector).result().download()
    plain = image.download()
    batch = prepare(plain, model=engine.model, look=look)
    painted = finish(engine.submit(batch, vector).result(), plain, model=engine.model, look=look)
    off = float(np.abs(stays.astype(np.int16) - painted).mean())
    if not off <= CLOSE:
        raise FailedError(f"a frame that stays there is off by {off:.1f} grey levels in the mean")
    return {"mean": round(off, 3)}


def check_overlap(subject: Subject) -> Figures:
    """How much of the copies is hidden behind runs, with several pictures in flight."""
    pictures, vector = subject.pictures(4), subject.vectors[0]
    slot = subject.engine.open_slot(pictures[0], vector)
    if slot is None or slot.clock != "between CUDA events":
        raise AbsentError("it leaves no place for events")
    inputs = to_inputs(subject.engine.model, pictures[0], vector)
    with slot:
        slot.time_run_ms(3)
        run = median(slot.time_run_ms(20))
        upload, download = (
            median(_timed_ms(call) for _ in range(9))
            for call in (lambda: slot.upload(inputs), slot.download)
        )
    period = 1e3 / frame_rate(subject.engine, pictures, vector, seconds=subject.plan.seconds)
    alone, longest = run + upload + download, max(run, upload, download)
    hidden = (alone - period) / (alone - longest)
    if not hidden >= _HIDDEN:
        raise FailedError(
            f"{max(0.0, hidden):.0%} of the copies is hidden, at least {_HIDDEN:.0%} is expected: "
            f"run {run:.2f} ms, upload {upload:.2f}, download {download:.2f}, together "
            f"{period:.2f} a picture"
        )
    figures = {"hidden": hidden, "run_ms": run, "upload_ms": upload, "download_ms": download}
    return {name: round(figure, 3) for name, figure in (figures | {"period_ms": period}).items()}


def check_compile(subject: Subject) -> Figures:
    """What torch.compile makes of the same net."""
    if subject.engine.name != "torch-cuda":
        raise AbsentError("only torch-cuda runs a net of torch's")
    make = load_engine_class("torch-cuda")
    (picture,) = subject.pictures(1)
    options = EngineOptions(name="torch-cuda", devices=(subject.plan.device,))
    rates: Figures = {}
    for name, compiles in (("fps", False), ("compiled_fps", True)):
        with make(subject.styles[0].model, options, compile_net=compiles) as engine:
            slot = engine.open_slot(picture, subject.vectors[0])
            with slot:
                slot.time_run_ms(5)
                rates[name] = round(1e3 / median(slot.time_run_ms(50)), 1)
    return rates


CHECKS: dict[str, Callable[[Subject], Figures]] = {
    "build": check_build,
    "precision": check_precision,
    "parity": check_parity,
    "repeatability": check_repeatability,
    "style change": check_styles,
    "strength change": check_strength,
    "sizes": check_sizes,
    "zero-copy": check_zero_copy,
    "overlap": check_overlap,
    "torch.compile": check_compile,
    "memory taken": check_memory,
}


def _require_same(got: list[Batch], expected: list[Batch], what: str) -> None:
    for one, other in zip(got, expected, strict=True):
        if not np.array_equal(one, other):
            off = np.abs(one.astype(np.int16) - other)
            raise FailedError(f"{what} gives another picture, by up to {off.max()} grey levels")


def _timed_ms(call: Callable[[], object]) -> float:
    begin = perf_counter()
    call()
    return (perf_counter() - begin) * 1e3
