"""The stages between a source and a sink, each in a thread of its own.

    source ─▶ Channel ─▶ prepare ─▶ engine.submit ─▶ Channel ─▶ result ─▶ finish ─▶ sink
     reader thread │        engine thread                  │      caller's thread

The sink runs in the caller's thread, because windows may require the main thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Event, Thread
from time import perf_counter

from rtstyle.channel import Channel
from rtstyle.engines.base import Engine, Pending
from rtstyle.frame import Frame
from rtstyle.image import Look, finish, prepare
from rtstyle.media.base import Sink, Source
from rtstyle.metrics import Report
from rtstyle.style import Style


@dataclass(frozen=True, slots=True)
class _InFlight:
    frame: Frame
    look: Look
    pending: Pending
    submit_ms: float


class Pipeline:
    """Paints everything that `source` delivers into `sink`. Runs once.

    Frames keep their order and their exact times. Files want every frame: bounded channels with
    back-pressure. Live wants the newest one: `newest_wins` makes full channels drop the oldest and
    count it. `style` and `look` may be assigned from any thread while it runs, and the next frame
    sees them; the style must be one of the engine's model.

    The first error wins: every thread is joined, then it is raised with its own traceback. Frames
    that a source delivered before its own error are painted first, so a damaged file yields all
    that was good in it. Opening and closing source, engine and sink is the caller's.
    """

    def __init__(
        self,
        source: Source,
        engine: Engine,
        sink: Sink,
        *,
        style: Style,
        look: Look | None = None,
        capacity: int = 2,
        newest_wins: bool = False,
    ) -> None:
        self.style = style
        self.look = look or Look()
        self._source, self._engine, self._sink = source, engine, sink
        self._read: Channel[Frame] = Channel(capacity, newest_wins=newest_wins)
        self._painted: Channel[_InFlight] = Channel(capacity, newest_wins=newest_wins)
        self._stop = Event()
        self.report = Report()

    def stop(self) -> None:
        """End cleanly after the frames already read. Safe from any thread or signal handler."""
        self._stop.set()

    def run(self, on_frame: Callable[[Report], None] = lambda report: None) -> Report:
        """Paint to the end. `on_frame` is called in this thread after every frame delivered."""
        start = perf_counter()
        threads = [
            Thread(target=self._reader, name="rtstyle-reader", daemon=True),
            Thread(target=self._painter, name="rtstyle-engine", daemon=True),
        ]
        for thread in threads:
            thread.start()
        report = self.report
        try:
            for item in self._painted:
                waited = perf_counter()
                painted = item.pending.result()
                paint_ms = item.submit_ms + (perf_counter() - waited) * 1e3
                report.stages["paint"].record(paint_ms)
                with report.stages["finish"].measure():
                    image = finish(
                        painted, item.frame.image, model=self._engine.model, look=item.look
                    )
                frame = Frame(image, item.frame.time, item.frame.index, item.frame.duration)
                with report.stages["encode"].measure():
                    self._sink.write(frame)
                report.frames_out += 1
                report.seconds = perf_counter() - start
                on_frame(report)
        finally:
            self._painted.cancel()
            self._read.cancel()
            for thread in threads:
                thread.join()
            report.dropped = self._read.dropped + self._painted.dropped
            report.seconds = perf_counter() - start
        return report

    def _reader(self) -> None:
        try:
            frames = iter(self._source.frames())
            while not self._stop.is_set():
                start = perf_counter()
                frame = next(frames, None)
                if frame is None:
                    break
                self.report.stages["decode"].record((perf_counter() - start) * 1e3)
                self.report.frames_in += 1
                if not self._read.put(frame):
                    break
        except BaseException as error:
            self._read.close(error)
        else:
            self._read.close()

    def _painter(self) -> None:
        try:
            for frame in self._read:
                style, look = self.style, self.look
                with self.report.stages["prepare"].measure():
                    batch = prepare(frame.image, model=self._engine.model, look=look)
                start = perf_counter()
                pending = self._engine.submit(batch, style.vector)
                submit_ms = (perf_counter() - start) * 1e3
                if not self._painted.put(_InFlight(frame, look, pending, submit_ms)):
                    break
        except BaseException as error:
            # The caller's thread drains what was painted before it meets the error.
            self._painted.close(error)
        else:
            self._painted.close()
        finally:
            self._read.cancel()
