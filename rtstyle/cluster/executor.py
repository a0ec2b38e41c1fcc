"""The segments of one video given to the workers, and what comes back kept."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import replace
from pathlib import Path

from rtstyle.cluster.package import Package
from rtstyle.cluster.worker import Order, Painted
from rtstyle.cluster.workers import Share, StoppedError, Workers
from rtstyle.errors import OutputError, RtstyleError
from rtstyle.files import atomic_write
from rtstyle.media.video.parts import NotCuttableError
from rtstyle.metrics import Report
from rtstyle.model.zoo import VARIANTS
from rtstyle.rendering.job import RenderJob
from rtstyle.rendering.packet_file import BrokenSegmentError, PacketFile, sync_folder
from rtstyle.rendering.plan import Segment
from rtstyle.style.style import Style

_TICK = 0.3  # seconds between two reports


class ClusterPainter:
    """Gives the segments of one video to the workers; a `rtstyle.rendering.executor.Painter`."""

    def __init__(self, workers: Workers, share: Share, number: int) -> None:
        self.threads: int | None = share.cpus
        self._workers, self._number = workers, number

    def open(self, job: RenderJob, style: Style) -> None:
        """The workers' engines are opened with their first segment."""

    def paint(
        self,
        job: RenderJob,
        style: Style,
        todo: Sequence[Segment],
        path: Callable[[int], Path],
        *,
        resumed: int,
        on_frame: Callable[[Report], None],
    ) -> Report:
        """See `rtstyle.rendering.executor.Painter`."""
        order = _order(job, style, todo[0])
        began, frames = time.perf_counter(), dict[int, int]()
        report = Report(resumed=resumed)

        def send(segment: Segment) -> Future[Painted]:
            number = segment.number

            def keep(data: bytes) -> None:
                frames[number] = _keep(path(number), number, data)

            def tell(n_frames: int) -> None:
                frames[number] = n_frames

            return self._workers.submit((self._number, number), order, segment, keep, tell)

        futures = {send(segment): segment.number for segment in todo}
        waiting, failed = set(futures), dict[int, Painted]()
        while waiting:
            done, waiting = wait(waiting, timeout=_TICK)
            for future in done:
                painted = _result(future)
                if painted.error is None:
                    continue
                failed[futures[future]] = painted
                first = -1 if isinstance(painted.error, NotCuttableError) else min(failed)
                for other, number in futures.items():
                    if number > first:
                        other.cancel()
            report.frames_in = report.frames_out = sum(list(frames.values()))
            report.seconds = time.perf_counter() - began
            on_frame(report)
        if failed:
            _raise(failed, path)
        return report


def _result(future: Future[Painted]) -> Painted:
    """What became of a segment; cancelled is as good as painted, as one before it failed."""
    if future.cancelled():
        return Painted()
    error = future.exception()
    if isinstance(error, StoppedError):
        raise KeyboardInterrupt
    if isinstance(error, RtstyleError):
        return Painted(error=error)
    return future.result()


def _raise(failed: dict[int, Painted], path: Callable[[int], Path]) -> None:
    """The error of the first segment that failed, with what was painted of it kept."""
    number = min(failed)
    for one in failed.values():
        if isinstance(one.error, NotCuttableError):
            raise one.error
    first = failed[number]
    if first.data is not None:
        _keep(path(-1), number, first.data)
    assert first.error is not None
    raise first.error


def _keep(path: Path, number: int, data: bytes) -> int:
    """Write a segment's file, which has its name when it is whole, on the disk; its frames."""
    try:
        with atomic_write(path) as part:
            with part.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            with PacketFile(part) as packets:
                packets.check()
                if packets.result.number != number:
                    raise BrokenSegmentError("it is another one")
                n_frames = packets.result.frames
        sync_folder(path.parent)
    except BrokenSegmentError as error:
        raise OutputError(f"A segment came back damaged: {error}.") from error
    except OSError as error:
        raise OutputError(
            f"{path.parent} cannot be written: {error.strerror or error}; what is painted is kept "
            "there, and the same command goes on."
        ) from error
    return n_frames


def _order(job: RenderJob, style: Style, segment: Segment) -> Order:
    paths = segment.video.origin.paths
    base = Path(os.path.commonpath([path.absolute().parent for path in paths]))
    model = style.model.path
    variants = [model.parent / precision / model.name for precision in VARIANTS]
    return Order(
        replace(job, engine=replace(job.engine, devices=())), style, Package.of(paths, base),
        Package.of([model, *(path for path in variants if path.is_file())], model.parent),
    )  # fmt: skip
