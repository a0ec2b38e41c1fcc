"""One live run: a source, a sink, and controls that take effect on the next frame."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from threading import Lock
from time import perf_counter

import numpy as np

from rtstyle.engines.base import Engine
from rtstyle.errors import RtstyleError
from rtstyle.frame import Image
from rtstyle.image import Look, geometry
from rtstyle.live.adaptive import AdaptiveHeight
from rtstyle.live.commands import Command
from rtstyle.live.controls import Controls
from rtstyle.live.engine_pool import Canvas, EnginePool
from rtstyle.live.modulation import SoundMeter, moved
from rtstyle.live.options import LiveOptions
from rtstyle.live.overlay import ControlledSource, TimedSource, compose
from rtstyle.live.settings import Settings, in_scene
from rtstyle.masks import PersonMasks
from rtstyle.media.base import Sink
from rtstyle.media.devices.sound import SoundRing
from rtstyle.metrics import Report
from rtstyle.passes import Pass
from rtstyle.pipeline import Fading, Pipeline
from rtstyle.steady import SteadyFilter
from rtstyle.style.style import Area, Style

_MASKS_EVERY = 2  # frames: the net that stylizes needs the CPU
_WINDOW_SECONDS = 2.0  # that the figures are averaged over


@dataclass(frozen=True, slots=True)
class Figures:
    """Of the last two seconds: frames shown a second and the median latency in milliseconds; frames
    dropped since the start; and the height that is painted at, as `Look` has it."""

    fps: float = 0.0
    latency_ms: float = 0.0
    dropped: int = 0
    height: int = 0


class Session:
    """Stylizes `source` into `sink` as `controls` say, with engines from `pool`.

    A change of the controls takes effect on the next frame. A style of another model is switched to
    once its engine is open; until then the previous style goes on, so no frame is lost. `notice`
    is what is wrong at the moment, a sentence or "". Knobs can be moved by `sound`. Raises
    `EngineError` when the first style cannot be run. Opening and closing source, sink and pool is
    the caller's job.
    """

    def __init__(
        self,
        source: TimedSource,
        sink: Sink,
        controls: Controls,
        pool: EnginePool,
        *,
        options: LiveOptions | None = None,
        sound: SoundRing | None = None,
    ) -> None:
        options = options or LiveOptions()
        info, height = source.info, options.height
        self._full = min(info.height, info.width)
        if options.stroke is not None:
            factor = Look(stroke=options.stroke).factor(info.height, info.width)
            height = max(1, round(self._full * factor))
        self.figures = Figures(height=height or self._full)
        self.trouble = ""  # why the chosen style is not shown
        self._controls, self._pool, self._options = controls, pool, options
        self._source = source
        self._controlled = ControlledSource(source, controls, stamped=options.measure)
        self._lock = Lock()
        self._leased: list[Engine] = []  # the one in use comes last; the one before may still run
        self._area_engines: list[list[Engine]] = [[], []]  # of the areas before, and now
        self._pending: object = None  # identifies the newest switch that waits for its engine
        self._height = height
        self._adaptive = (
            AdaptiveHeight(options.fps_target, highest=self.figures.height, lowest=options.lowest)
            if options.adaptive and options.fps_target
            else None
        )
        self._recent: deque[tuple[float, float]] = deque()  # time shown in s, latency in ms
        self._received: tuple[float, int] = (perf_counter(), 0)  # at a time, frames so far
        self._source_fps = float(source.info.rate)
        self._paint_ms = 0.0
        self._stylized: tuple[int, float] = (0, 0.0)  # frames so far, and their total ms
        self._cycled = perf_counter()
        self._meter = SoundMeter(sound, source.clock)
        settings = controls.settings
        self._shown = settings.scene, settings.style.name  # from one to another is faded
        style, look = settings.mixed, self._look(settings)
        engine = pool.lease(self._canvas(style, look))
        if self._adaptive is not None:
            self._height = self._adaptive.start(_frame_ms(engine, self._canvas(style, look), style))
            look, largest = self._look(settings), engine
            engine = pool.lease(self._canvas(style, look))
            pool.release(largest)
            self.figures = Figures(height=self._height)
        self._leased.append(engine)
        self.pipeline = Pipeline(
            self._controlled, engine, sink, style=style, look=look, capacity=1, newest_wins=True
        )
        self._steady(settings)
        self.pipeline.clock = source.clock
        self.pipeline.max_latency_ms = options.max_latency_ms
        self.pipeline.compose = self._compose
        self._open_scenes(settings)
        controls.listen(self._apply)
        if settings.areas:
            self._apply(settings)

    @property
    def notice(self) -> str:
        """What is wrong at the moment; "" for nothing."""
        return self._source.notice or self.trouble

    @property
    def public_notice(self) -> str:
        """The same without names of devices and files, for whoever watches the page."""
        if self._source.notice:
            return "No pictures come from the camera."
        return "This style cannot be painted here." if self.trouble else ""

    def run(self, on_frame: Callable[[Figures], None] = lambda figures: None) -> Report:
        """Run until the source ends or the command quit; then return the engines."""

        def shown(report: Report) -> None:
            self._measure(report)
            self._cycle()
            self._move()
            on_frame(self.figures)

        self._cycled = perf_counter()
        try:
            return self.pipeline.run(shown)
        finally:
            self._controls.forget(self._apply)
            with self._lock:
                self._pending = None
                before, now = self._area_engines
                leased, self._leased = [*self._leased, *before, *now], []
                self._area_engines = [[], []]
            for engine in leased:
                self._pool.release(engine)

    def stop(self) -> None:
        """End `run` soon. Safe from any thread."""
        self.pipeline.stop()
        self._source.close()

    def _apply(self, settings: Settings) -> None:
        """Pass the settings to the pipeline, at once or when their engine is open."""
        style, look = settings.mixed, self._look(settings)
        canvas = self._canvas(style, look)
        switch = object()
        with self._lock:
            if not self._leased:
                return  # the run is over
            self._pending = None
            self.trouble = ""
            self._steady(settings)
            self._paint_areas(settings, look)
            if canvas == self._current_canvas():
                self._fade(settings)
                self.pipeline.look = look
                self.pipeline.style = style
                return
            engine = self._pool.lease_if_open(canvas)
            if engine is not None:
                self._switch(engine, style, look)
                return
            self._pending = switch
        if look.factor(*self._size) == self.pipeline.look.factor(*self._size):
            self.pipeline.look = look  # only the style has to wait
        self._pool.lease_soon(
            canvas,
            wanted=lambda: self._pending is switch,
            ready=lambda engine: self._on_ready(switch, engine, style, look),
            failed=lambda error: self._on_failure(switch, style, error),
        )

    def _on_ready(self, switch: object, engine: Engine, style: Style, look: Look) -> None:
        with self._lock:
            if self._pending is switch and self._leased:
                self._switch(engine, style, look)
                return
        self._pool.release(engine)

    def _on_failure(self, switch: object, style: Style, error: RtstyleError) -> None:
        if self._pending is switch:
            self._pending = None
            self.trouble = f"{style.name} cannot be painted: {error}"

    def _switch(self, engine: Engine, style: Style, look: Look) -> None:
        """The caller holds the lock. The previous engine may be in use for a moment, so it is
        returned at the next switch."""
        self._pending = None
        self._fade(self._controls.settings)
        self.pipeline.switch(engine, style)
        self.pipeline.look = look
        self._leased.append(engine)
        while len(self._leased) > 2:
            self._pool.release(self._leased.pop(0))

    def _paint_areas(self, settings: Settings, look: Look) -> None:
        """Have the areas painted from the next frame on, those of a style once its engine is open.
        The caller holds the lock. Engines of the areas before may still run, so they are given back
        at the next change."""
        if not settings.areas and not self.pipeline.areas:
            return
        areas: list[tuple[Area, Pass | None]] = []
        leased: list[Engine] = []
        for area in settings.areas:
            if area.style is None:
                areas.append((area, None))
                continue
            canvas = self._canvas(area.style, look)
            if engine := self._pool.lease_if_open(canvas):
                leased.append(engine)
                areas.append((area, Pass(engine, area.style, look)))
            else:
                self._pool.lease_soon(
                    canvas,
                    wanted=lambda: bool(self._leased),
                    ready=self._on_area_ready,
                    failed=partial(self._on_area_failure, area),
                )
        if self.pipeline.masks is None and areas:
            try:
                self.pipeline.masks = PersonMasks(every=_MASKS_EVERY)
            except RtstyleError as error:  # and the picture goes on
                self.trouble, areas = str(error), []
        self.pipeline.areas = tuple(areas)
        for engine in self._area_engines[0]:
            self._pool.release(engine)
        self._area_engines = [self._area_engines[1], leased]

    def _on_area_ready(self, engine: Engine) -> None:
        self._pool.release(engine)  # it stays open, and is leased now
        self._apply(self._controls.settings)

    def _on_area_failure(self, area: Area, error: RtstyleError) -> None:
        self.trouble = f"The {area.where} cannot be painted: {error}"

    def _move(self) -> None:
        """Move the knobs that move by themselves."""
        settings = self._controls.settings
        if not settings.modulations:
            return
        knobs = moved(settings.modulations, self._source.clock(), self._meter)
        settings = replace(settings, **knobs)  # type: ignore[arg-type]
        style, look = settings.mixed, self._look(settings)
        with self._lock:
            waits = self._pending is not None or self.trouble
            if not waits and self._canvas(style, look) == self._current_canvas():
                self._steady(settings)
                self.pipeline.look, self.pipeline.style = look, style

    def _fade(self, settings: Settings) -> None:
        """Begin to fade from what is painted now, if the settings ask for that. The engine of it
        stays open until the switch after the next, which ends the fade."""
        wanted = settings.scene, settings.style.name
        if wanted == self._shown:
            return
        self._shown = wanted
        before = Pass(self._leased[-1], self.pipeline.style, self.pipeline.look)
        self.pipeline.fading = (
            Fading(before, self._source.clock(), settings.fade) if settings.fade else None
        )

    def _steady(self, settings: Settings) -> None:
        wanted = self._options.steady if settings.steady is None else settings.steady
        if wanted and self.pipeline.steady is not None:
            self.pipeline.steady.amount = wanted
        elif bool(wanted) != (self.pipeline.steady is not None):
            self.pipeline.steady = SteadyFilter(wanted) if wanted else None

    def _open_scenes(self, settings: Settings) -> None:
        """Have the engines of all scenes open before the run, so that none costs frames later. One
        that does not open says so when its scene is picked."""
        for scene in self._controls.scenes:
            chosen = in_scene(settings, settings, scene)
            of_areas = [area.style for area in chosen.areas if area.style is not None]
            for style in (chosen.style, *of_areas):
                with suppress(RtstyleError):
                    engine = self._pool.lease(self._canvas(style, self._look(chosen)))
                    self._pool.release(engine)

    def _cycle(self) -> None:
        """Go on to the next scene when it is time."""
        seconds, now = self._controls.settings.cycle, perf_counter()
        if not seconds:
            self._cycled = now
        elif now - self._cycled >= seconds:
            self._cycled = max(self._cycled + seconds, now - seconds)
            self._controls.do(Command("scene", "next"))

    def _current_canvas(self) -> Canvas:
        return self._canvas(self.pipeline.style, self.pipeline.look)

    def _look(self, settings: Settings) -> Look:
        return Look(
            strength=settings.strength,
            preserve_color=settings.preserve_color,
            height=self._height if settings.stroke is None else None,
            stroke=settings.stroke,
            upscale=self._options.upscale,
        )

    @property
    def _size(self) -> tuple[int, int]:
        return self._source.info.height, self._source.info.width

    def _canvas(self, style: Style, look: Look) -> Canvas:
        return Canvas(style.model, geometry(*self._size, model=style.model, look=look).padded)

    def _compose(self, stylized: Image, original: Image) -> Image:
        split = self._controls.settings.split
        return compose(stylized, original, split=split, stamped=self._options.measure)

    def _measure(self, report: Report) -> None:
        """Update the figures, and twice a second the height."""
        now = perf_counter()
        paint = report.stages["paint"]
        count, total = self._stylized
        if paint.count > count:
            latest = (paint.total_ms - total) / (paint.count - count)
            self._paint_ms += 0.1 * (latest - self._paint_ms) if self._paint_ms else latest
            self._stylized = paint.count, paint.total_ms
        self._recent.append((now, report.latency.latest_ms))
        while now - self._recent[0][0] > _WINDOW_SECONDS:
            self._recent.popleft()
        if now - self._received[0] < 0.5 and report.frames_out > 1:
            return
        self._source_fps = (self._controlled.n_frames - self._received[1]) / max(
            now - self._received[0], 1e-3
        )
        self._received = now, self._controlled.n_frames
        span = now - self._recent[0][0]
        ages = sorted(age for _, age in self._recent)
        before = self.figures.height
        self.figures = replace(
            self.figures,
            fps=(len(self._recent) - 1) / span if span else 0.0,
            latency_ms=ages[len(ages) // 2],
            dropped=report.dropped,
            height=self.pipeline.look.height or self._full,
        )
        if self.figures.height != before or self._pending is not None:
            # What was measured is of another height, or of one whose successor is being opened,
            # which slows it down: neither says how fast this one is.
            self._recent.clear()
            self._recent.append((now, ages[len(ages) // 2]))
            self._paint_ms = 0.0
        elif self._adaptive is not None and span > 0.5 * _WINDOW_SECONDS:
            height = self._adaptive.update(
                now, fps=self.figures.fps, paint_ms=self._paint_ms, source_fps=self._source_fps
            )
            if height != self._height:
                self._height = height
                self._apply(self._controls.settings)


def _frame_ms(engine: Engine, canvas: Canvas, style: Style) -> float:
    """How long the warmed-up engine takes for one frame, in milliseconds: the best of three."""
    frames, times = np.zeros((1, *canvas.size, 3), np.uint8), []
    for _ in range(3):
        begin = perf_counter()
        engine.submit(frames, style.vector).result()
        times.append(1e3 * (perf_counter() - begin))
    return min(times)
