"""The stages between a source and a sink, each in a thread of its own.

    source ─▶ Channel ─▶ prepare ─▶ engine.submit ─▶ Channel ─▶ result ─▶ finish ─▶ sink
     reader thread │        engine thread                  │      caller's thread

The sink runs in the caller's thread, because windows may require the main thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from threading import Event, Semaphore, Thread
from time import perf_counter

from rtstyle.channel import Channel
from rtstyle.engines.base import Batch, Engine
from rtstyle.engines.watchdog import Submitted, Watchdog
from rtstyle.frame import DeviceFrame, DeviceImage, Frame, Image
from rtstyle.image import Look, prepare
from rtstyle.masks import Mask, PersonMasks
from rtstyle.media.base import DeviceSink, DeviceSource, Sink, Source
from rtstyle.metrics import Report
from rtstyle.passes import Pass, Passes, combine, fade
from rtstyle.steady import SteadyFilter
from rtstyle.style.style import Area, Style

_KEEPS_UP = 0.9  # of a frame's interval: an engine that needs less can catch up after a delay
_CLOSING_SECONDS = 10.0  # that threads get to end once the run is over
_log = logging.getLogger("rtstyle")


@dataclass(frozen=True, slots=True)
class _Active:
    """A style with the engine that has its model loaded: assigned together, never torn."""

    engine: Engine
    style: Style


@dataclass(frozen=True, slots=True)
class Fading:
    """A live change that takes a while: from `before`, `begin` on the source's clock, `seconds`."""

    before: Pass
    begin: float
    seconds: float


@dataclass(frozen=True, slots=True)
class _InFlight:
    """A frame that the engines have, and how it is painted: a batch for each pass."""

    frame: Frame | DeviceFrame
    how: Passes
    masks: Mapping[str, Mask]
    batches: tuple[Submitted, ...]
    submit_ms: float


class Pipeline:
    """Paints everything that `source` delivers into `sink`. Runs once.

    Frames keep their order and their exact times. Files need every frame: bounded channels with
    back-pressure. Live needs the newest one: with `newest_wins` a waiting frame is replaced by a
    newer one and counted as dropped; one that the engine has begun is always delivered, and the
    next is chosen only when that one is done, so that none ages in the engine.

    `style` and `look` may be assigned from any thread while it runs, and the next frame sees them;
    the style must be one of the engine's model, else use `switch`.

    `steady` filters the finished paintings; frames that are only its lead are not delivered.

    `masks` finds the areas that are painted otherwise: those of `areas`, or of `timeline`;
    with `cuts_out`, frames are transparent but for the person.

    With `timeline`, the time of a frame decides how it is painted, not `style` and `look`.

    Four more attributes serve live runs. While `fading` is set, the last style fades into this one.
    `compose(painted, original)` makes the picture to show from both, in the caller's thread.
    `clock()` is the time now, in seconds on the clock of the frames' times; with it the report has
    latencies. A frame that would be shown more than `max_latency_ms` after its time is dropped
    instead of painted, unless painting alone takes that.

    The first error wins: every thread is joined, then it is raised with its own traceback. Frames
    that a source delivered before its own error are painted first, so a damaged file yields all
    that was good in it. Opening and closing source, engine and sink is the caller's.

    An engine that hangs, as `Watchdog` decides by `patience`, ends the run with `EngineError`. A
    thread that does not end then, or after Ctrl-C, within ten seconds is left behind.
    """

    def __init__(
        self,
        source: Source,
        engine: Engine,
        sink: Sink,
        *,
        style: Style,
        look: Look | None = None,
        steady: SteadyFilter | None = None,
        capacity: int = 2,
        newest_wins: bool = False,
        patience: float = 300.0,
    ) -> None:
        self.look = look or Look()
        self.steady = steady
        self.timeline: Callable[[Fraction], Passes] | None = None
        self.fading: Fading | None = None
        self.areas: tuple[tuple[Area, Pass | None], ...] = ()
        self.masks: PersonMasks | None = None
        self.cuts_out = False
        self.compose: Callable[[Image, Image], Image] | None = None
        self.clock: Callable[[], float] | None = None
        self.max_latency_ms: float | None = None
        self.report = Report()
        self._active = _Active(engine, style)
        self._source, self._sink = source, sink
        self._device_source = source if isinstance(source, DeviceSource) else None
        self._device_sink = sink if isinstance(sink, DeviceSink) else None
        self._newest_wins = newest_wins
        waiting = capacity + 1 if newest_wins else capacity
        self._read: Channel[Frame | DeviceFrame] = Channel(waiting, newest_wins=newest_wins)
        self._in_flight: Channel[_InFlight] = Channel(capacity)
        self._skipped = 0
        self._watchdog = Watchdog(patience)
        self._interval_ms = 1e3 / float(source.info.rate)
        self._usual_paint_ms = 0.0  # of the last ten frames or so
        self._engine_free = Semaphore(1)  # live: one frame at a time is in the engine
        self._stop = Event()

    @property
    def style(self) -> Style:
        """The style of the next frame."""
        return self._active.style

    @style.setter
    def style(self, style: Style) -> None:
        self._active = _Active(self._active.engine, style)

    def switch(self, engine: Engine, style: Style) -> None:
        """From the next frame on, paint `style` with `engine`, which has its model loaded.

        The engine before it may still be painting; close it once the run is over, or several
        frames later. Safe from any thread.
        """
        self._active = _Active(engine, style)

    def stop(self) -> None:
        """End cleanly after the frames already read. Safe from any thread or signal handler."""
        self._stop.set()

    def run(self, on_frame: Callable[[Report], None] = lambda report: None) -> Report:
        """Paint to the end. `on_frame` is called in this thread after every frame delivered."""
        start = perf_counter()
        threads = [
            Thread(target=self._reader, name="rtstyle-reader", daemon=True),
            Thread(target=self._submitter, name="rtstyle-engine", daemon=True),
        ]
        report = self.report
        try:
            for thread in threads:
                thread.start()
            for item in self._in_flight.items(self._watchdog.tick, after=Watchdog.SECONDS):
                waited = perf_counter()
                stylized = [batch.result() for batch in item.batches]
                self._engine_free.release()
                paint_ms = item.submit_ms + (perf_counter() - waited) * 1e3
                report.stages["paint"].record(paint_ms)
                self._usual_paint_ms += 0.1 * (paint_ms - self._usual_paint_ms)
                self._deliver(item, stylized)
                if item.frame.lead:
                    continue
                if self.clock is not None:
                    report.latency.record((self.clock() - float(item.frame.time)) * 1e3)
                report.frames_out += 1
                report.dropped = self._n_dropped()
                report.seconds = perf_counter() - start
                on_frame(report)
        finally:
            self._in_flight.cancel()
            self._read.cancel()
            self._engine_free.release()  # the engine's thread may be waiting for this
            _join(threads)
            report.dropped = self._n_dropped()
            report.seconds = perf_counter() - start
            engine = self._active.engine
            report.engine = f"{engine.name} {engine.precision} on {engine.device}"
        return report

    def _reader(self) -> None:
        try:
            frames = self._frames()
            while not self._stop.is_set():
                start = perf_counter()
                frame = next(frames, None)
                if frame is None:
                    break
                self.report.stages["decode"].record((perf_counter() - start) * 1e3)
                self.report.frames_in += not frame.lead
                if not self._read.put(frame):
                    break
        except BaseException as error:
            self._read.close(error)
        else:
            self._read.close()

    def _frames(self) -> Iterator[Frame | DeviceFrame]:
        """The source's frames; those that a GPU decoded stay there where engine and sink agree."""
        if self._device_source is None or self._device_sink is None:
            yield from self._source.frames()
            return
        for frame in self._device_source.device_frames():
            stays = isinstance(frame, DeviceFrame) and self._takes(frame.image)
            yield frame if stays or isinstance(frame, Frame) else frame.download()

    def _takes(self, image: DeviceImage) -> bool:
        plain = self.look.is_plain and self.compose is None and self.steady is None
        plain = plain and self.timeline is None and not self.areas and not self.cuts_out
        return plain and self._active.engine.takes_device_image(image)

    def _deliver(self, item: _InFlight, stylized: list[Batch | DeviceImage]) -> None:
        """Finish what the engines gave and write it."""
        frame, how = item.frame, item.how
        if isinstance(stylized[0], DeviceImage):
            assert self._device_sink is not None
            with self.report.stages["encode"].measure():
                self._device_sink.write(
                    DeviceFrame(stylized[0], frame.time, frame.index, frame.duration)
                )
            return
        assert isinstance(frame, Frame)
        with self.report.stages["finish"].measure():
            images = [
                one.finish(batch, frame.image)
                for batch, one in zip(stylized, how.runs, strict=True)
                if not isinstance(batch, DeviceImage)
            ]
            image = combine(images, how, frame.image, item.masks)
        if self.steady is not None:
            with self.report.stages["steady"].measure():
                image = self.steady(image, frame, how.key, how.steady)
        if frame.lead:
            return
        with self.report.stages["encode"].measure():
            if self.compose is not None:
                image = self.compose(image, frame.image)
            alpha = item.masks["person"] if self.cuts_out else None
            self._sink.write(replace(frame, image=image, alpha=alpha))

    def _submitter(self) -> None:
        try:
            for frame in self._wanted():
                how = self._passes(frame)
                # Before the masks: the engine paints while they are looked for.
                begun = [self._submit(frame, one) for one in how.passes]
                masks: Mapping[str, Mask] = {}
                if (
                    (how.areas or self.cuts_out)
                    and self.masks is not None
                    and isinstance(frame, Frame)
                ):
                    with self.report.stages["masks"].measure():
                        cut_out = ("person",) if self.cuts_out else ()
                        masks = self.masks(frame, {*cut_out, *(a.where for a, _ in how.areas)})
                        how = how.in_view(masks)
                begun += [self._submit(frame, one) for _, one in how.areas if one is not None]
                batches, times = zip(*begun, strict=True)
                if not self._in_flight.put(_InFlight(frame, how, masks, batches, sum(times))):
                    break
        except BaseException as error:
            # The caller's thread drains what was painted before it meets the error.
            self._in_flight.close(error)
        else:
            self._in_flight.close()
        finally:
            self._read.cancel()

    def _passes(self, frame: Frame | DeviceFrame) -> Passes:
        active, fading = self._active, self.fading
        if self.timeline is not None:
            return self.timeline(frame.time)
        now = Pass(active.engine, active.style, self.look)
        if fading is None:
            return replace(Passes.of(now), areas=self.areas)
        share = (float(frame.time) - fading.begin) / fading.seconds
        if share >= 1 and self.fading is fading:
            self.fading = None
        return replace(fade(fading.before, now, share), areas=self.areas)

    def _submit(self, frame: Frame | DeviceFrame, one: Pass) -> tuple[Submitted, float]:
        """The batch that the pass makes of the frame, and the milliseconds that this took."""
        picture: Batch | DeviceImage
        if isinstance(frame, DeviceFrame):  # the engine pads it on the GPU
            picture = frame.image
        else:
            with self.report.stages["prepare"].measure():
                pad = not one.engine.pads
                picture = prepare(frame.image, model=one.engine.model, look=one.look, pad=pad)
        start = perf_counter()
        batch = self._watchdog.submit(one.engine, picture, one.style.vector, one.look.strength)
        return batch, (perf_counter() - start) * 1e3

    def _wanted(self) -> Iterator[Frame | DeviceFrame]:
        """The frames to paint. Live, each is taken only when the engine is free, so that it is the
        newest when its turn comes."""
        if not self._newest_wins:
            yield from self._read
            return
        self._engine_free.acquire()
        for frame in self._read:
            if self._is_too_late(frame) or (self._read.waiting and not self._catches_up()):
                self._skipped += 1
                continue
            yield frame
            self._engine_free.acquire()

    def _catches_up(self) -> bool:
        return self._usual_paint_ms < _KEEPS_UP * self._interval_ms

    def _is_too_late(self, frame: Frame | DeviceFrame) -> bool:
        if self.clock is None or self.max_latency_ms is None:
            return False
        paint_ms = self.report.stages["paint"].quantile_ms(0.5)
        age_ms = (self.clock() - float(frame.time)) * 1e3
        return paint_ms < self.max_latency_ms < age_ms + paint_ms

    def _n_dropped(self) -> int:
        return self._read.dropped + self._skipped


def _join(threads: list[Thread]) -> None:
    """Wait for threads that are to end; one that hangs must not make us hang."""
    for thread in threads:
        if thread.is_alive():
            thread.join(_CLOSING_SECONDS)
        if thread.is_alive():
            _log.warning("%s did not end and is left behind.", thread.name)
