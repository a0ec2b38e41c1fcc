"""The segments of one video handed to the workers, and their files kept."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import replace
from pathlib import Path

from rtstyle.cluster.package import Package
from rtstyle.cluster.worker import Order, Outcome
from rtstyle.cluster.workers import StoppedError, Task, Workers
from rtstyle.errors import OutputError, RtstyleError
from rtstyle.files import atomic_write
from rtstyle.media.video.parts import NotCuttableError
from rtstyle.metrics import Report
from rtstyle.model.zoo import VARIANTS
from rtstyle.rendering.encode import Batch
from rtstyle.rendering.job import RenderJob
from rtstyle.rendering.packet_file import BrokenSegmentError, PacketFile, sync, sync_folder
from rtstyle.rendering.plan import Segment

_TICK = 0.3  # seconds between two reports


class ClusterExecutor:
    """Hands the segments of video `number` to the workers; an `Executor` of a render."""

    def __init__(self, workers: Workers, number: int) -> None:
        self.engine_threads: int | None = workers.share.cpus
        self._workers, self._number = workers, number

    def open(self, job: RenderJob) -> None:
        """The workers open their engines with their first segment."""

    def encode(self, batch: Batch) -> Report:
        """See `rtstyle.rendering.run.Executor`."""
        order = _order(batch.job, batch.segments[0])
        began, frames = time.perf_counter(), dict[int, int]()
        report = Report(resumed=batch.resumed)

        def submit(segment: Segment) -> Future[Outcome]:
            number = segment.number

            def keep(data: bytes) -> None:
                frames[number] = _keep(batch.path(number), number, data)

            def count(n_frames: int) -> None:
                frames[number] = n_frames

            return self._workers.submit(Task((self._number, number), order, segment, keep, count))

        futures = {submit(segment): segment.number for segment in batch.segments}
        waiting, failed = set(futures), dict[int, Outcome]()
        while waiting:
            done, waiting = wait(waiting, timeout=_TICK)
            for future in done:
                outcome = _outcome(future)
                if outcome.error is None:
                    continue
                failed[futures[future]] = outcome
                first = -1 if isinstance(outcome.error, NotCuttableError) else min(failed)
                for other, number in futures.items():
                    if number > first:
                        other.cancel()
            report.frames_in = report.frames_out = sum(list(frames.values()))
            report.seconds = time.perf_counter() - began
            batch.on_frame(report)
        if failed:
            _raise(failed, batch.path)
        return report


def _outcome(future: Future[Outcome]) -> Outcome:
    """The result for a segment; one is cancelled only where one before it failed."""
    if future.cancelled():
        return Outcome()
    error = future.exception()
    if isinstance(error, StoppedError):
        raise KeyboardInterrupt
    return Outcome(error=error) if isinstance(error, RtstyleError) else future.result()


def _raise(failed: dict[int, Outcome], path: Callable[[int], Path]) -> None:
    """The error of the first segment that failed, with the frames before it kept."""
    for outcome in failed.values():
        if isinstance(outcome.error, NotCuttableError):
            raise outcome.error
    number = min(failed)
    first = failed[number]
    if first.data is not None:
        _keep(path(-1), number, first.data)
    assert first.error is not None
    raise first.error


def _keep(path: Path, number: int, data: bytes) -> int:
    """Write a segment's file, which is whole and on the disk once it has its name; its frames."""
    try:
        with atomic_write(path) as part:
            part.write_bytes(data)
            sync(part)
            with PacketFile(part) as packets:
                packets.check(number)
                n_frames = packets.result.frames
        sync_folder(path.parent)
    except BrokenSegmentError as error:
        raise OutputError(f"A segment came back damaged: {error}.") from error
    except OSError as error:
        raise OutputError(
            f"{path.parent} cannot be written: {error.strerror or error}; finished segments are "
            "kept there, and the same command goes on."
        ) from error
    return n_frames


def _order(job: RenderJob, segment: Segment) -> Order:
    paths = segment.video.origin.paths
    base = Path(os.path.commonpath([path.absolute().parent for path in paths]))
    models = {style.model.path.absolute() for style in job.styles}
    variants = {model.parent / precision / model.name for precision in VARIANTS for model in models}
    files = sorted(models | {path for path in variants if path.is_file()})
    return Order(
        replace(job, engine=replace(job.engine, devices=())),  # Ray chooses each worker's GPU
        Package.of(paths, base),
        Package.of(files, Path(os.path.commonpath([model.parent for model in models]))),
    )
