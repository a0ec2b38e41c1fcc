"""Several videos stylized by workers on Ray, each as a render in segments of its own."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any

from rtstyle.cluster.connection import connected
from rtstyle.cluster.executor import ClusterExecutor
from rtstyle.cluster.worker import WorkerInfo
from rtstyle.cluster.workers import Share, Workers
from rtstyle.engines.registry import engine_row
from rtstyle.errors import RtstyleError, UsageError
from rtstyle.metrics import Report
from rtstyle.rendering.job import SILENT, Listener, RenderJob
from rtstyle.rendering.run import render_in_segments

_VIDEOS_AT_ONCE = 4  # planned, encoded or joined at a time; so that no worker waits for a join
_USUAL_CPUS = 4  # of a worker; more hardly speed up one small frame
_TICK = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Where to render: `address` is "auto" or the "host:port" of a running Ray; the number of
    `workers`, by default as many as there is room for."""

    address: str = "auto"
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"At least 1 worker is needed, not {self.workers}.")


def render_on_cluster(
    jobs: Sequence[RenderJob], cluster: Cluster, listener: Listener = SILENT
) -> Report:
    """Render every job to the bytes that `rtstyle.render` makes of it in segments with the engine
    and the threads of a worker; the report, and those for the listener, are over all jobs.

    A worker has as many CPUs as the engine has threads, and one GPU if the engine runs on GPUs. The
    jobs differ in source and output only. A video that fails is noted and the others go on, then an
    error is raised. Ctrl-C keeps finished segments. Raises the errors of `rtstyle.render`, and
    `ClusterError`.
    """
    engine = checked(jobs).engine
    cpus = (cluster.workers or 1) * (engine.threads or 1)
    with connected(cluster.address, cpus=cpus, gpus=engine.devices) as scratch:
        return render_connected(jobs, cluster.workers, scratch, listener)


def render_connected(
    jobs: Sequence[RenderJob],
    workers: int | None,
    scratch: Path,
    listener: Listener = SILENT,
    on_worker: Callable[[WorkerInfo], None] = lambda info: None,
) -> Report:
    """As `render_on_cluster`, within `connected`, which yields the folder `scratch`."""
    import ray

    job, nodes = checked(jobs), ray.nodes()
    share = share_of(job, nodes, workers)
    fitting = share.fitting(nodes)
    if not fitting:
        raise UsageError(
            f"No machine of the cluster has room for a worker with {share.cpus} CPUs and "
            f"{share.gpus} GPUs; choose fewer --threads or another --engine."
        )
    count = workers or len(job.engine.devices) or fitting
    if count > fitting:
        listener.on_note(f"there is room for {fitting} of {count} workers; the others wait for it")
    scratch = scratch / f"rtstyle-{secrets.token_hex(4)}"
    with Workers(ray, count, share, scratch=scratch, on_worker=on_worker) as pool:
        return _Run(jobs, pool, listener).run()


class _Run:
    """All videos of one call, some at a time, each in a thread of its own."""

    def __init__(self, jobs: Sequence[RenderJob], workers: Workers, listener: Listener) -> None:
        self._jobs, self._workers, self._listener = jobs, workers, listener
        self._lock = Lock()
        self._so_far: dict[int, tuple[Report, int | None]] = {}
        self._began = time.perf_counter()

    def run(self) -> Report:
        with ThreadPoolExecutor(_VIDEOS_AT_ONCE, "rtstyle-video") as threads:
            videos = [threads.submit(self._render, number) for number in range(len(self._jobs))]
            waiting: set[Future[Report]] = set(videos)
            try:
                while waiting:  # with a timeout, so that signals are handled in between
                    _, waiting = wait(waiting, timeout=_TICK)
            except BaseException:
                self._workers.stop()
                for video in videos:
                    video.cancel()
                wait(videos)
                raise
        failed = [error for video in videos if (error := video.exception()) is not None]
        for error in failed:
            if not isinstance(error, RtstyleError):
                raise error
        if failed and len(videos) > 1:
            raise RtstyleError(f"{len(failed)} of {len(videos)} videos failed, as noted above.")
        if failed:
            raise failed[0]
        for number, video in enumerate(videos):
            self._so_far[number] = (video.result(), None)
        return self._sum()[0]

    def _render(self, number: int) -> Report:
        job = self._jobs[number]
        prefix = f"{job.source}: " if len(self._jobs) > 1 else ""

        def note(sentence: str) -> None:
            self._listener.on_note(prefix + sentence)

        def count(report: Report, total: int | None) -> None:
            with self._lock:
                self._so_far[number] = (replace(report), total)
                self._listener.on_frame(*self._sum())

        executor = ClusterExecutor(self._workers, number)
        try:
            return render_in_segments(job, executor, Listener(on_frame=count, on_note=note))
        except RtstyleError as error:
            if prefix:
                note(str(error))
            raise

    def _sum(self) -> tuple[Report, int | None]:
        reports = [report for report, _ in self._so_far.values()]
        totals = [total for _, total in self._so_far.values()]
        known = [total for total in totals if total is not None]
        report = Report(
            frames_in=sum(r.frames_in for r in reports),
            frames_out=sum(r.frames_out for r in reports),
            resumed=sum(r.resumed for r in reports),
            seconds=time.perf_counter() - self._began,
        )
        return report, sum(known) if len(known) == len(self._jobs) else None


def checked(jobs: Sequence[RenderJob]) -> RenderJob:
    """The first of the jobs, when all can be rendered in segments into different files."""
    for job in jobs:
        if not job.joins:
            raise UsageError(
                f"A cluster paints what becomes a video, not {job.source} into {job.output}; leave "
                "--cluster out."
            )
    if len({job.output.absolute() for job in jobs}) < len(jobs):
        raise UsageError("Two inputs would become one output; paint them into different folders.")
    return jobs[0]


def share_of(job: RenderJob, nodes: list[dict[str, Any]], workers: int | None) -> Share:
    """What a worker takes: a GPU if the engine is for GPUs, or is chosen where there are any."""
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    has_gpus = any(node.get("GPU", 0) for node in alive)
    engine = job.engine
    if engine.devices or (
        has_gpus if engine.name == "auto" else engine_row(engine.name).runs_on_gpu
    ):
        return Share(engine.threads or 1, 1)
    cpus = [int(node.get("CPU", 0)) for node in alive]
    usual = min(_USUAL_CPUS, max(cpus), sum(cpus) // (workers or 1))
    return Share(engine.threads or max(1, usual))
