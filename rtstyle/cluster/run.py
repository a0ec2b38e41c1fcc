"""Several videos painted by workers on Ray, each as a render in segments of its own."""

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
from rtstyle.cluster.executor import ClusterPainter
from rtstyle.cluster.worker import Facts
from rtstyle.cluster.workers import Share, Workers
from rtstyle.engines import ENGINES
from rtstyle.errors import RtstyleError, UsageError
from rtstyle.media import sink_kind, source_kind
from rtstyle.metrics import Report
from rtstyle.rendering.job import RenderJob
from rtstyle.rendering.run import render_in_segments
from rtstyle.style.style import Style

_VIDEOS_AT_ONCE = 4  # that are planned, painted or joined; so that joining one leaves none idle
_USUAL_CPUS = 4  # of a worker; more paint one small picture hardly faster
_TICK = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Where to paint: `address` is "auto" or the "host:port" of a Ray that runs; how many
    `workers`, by itself as many as there is room for."""

    address: str = "auto"
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"At least 1 worker is needed, not {self.workers}.")


def render_on_cluster(
    jobs: Sequence[RenderJob],
    *,
    style: Style,
    cluster: Cluster,
    on_frame: Callable[[Report, int | None], None] = lambda report, n_frames: None,
    on_note: Callable[[str], None] = lambda sentence: None,
    on_worker: Callable[[Facts], None] = lambda facts: None,
) -> Report:
    """Paint every job's video, each to the bytes that `rtstyle.render` makes of it in segments with
    the engine and the threads of a worker; the report and `on_frame` are over all.

    A worker has the job's `threads` processors, and one card where the engine runs on cards. The
    jobs differ in source and output only. A video that fails is told by `on_note` and the others go
    on, then an error is raised. Ctrl-C keeps what is painted. Raises the errors of
    `rtstyle.render`, and `ClusterError`.
    """
    job = checked(jobs)
    cpus = (cluster.workers or 1) * (job.engine.threads or 1)
    with connected(cluster.address, cpus=cpus, cards=job.engine.devices) as scratch:
        return render_connected(
            jobs, style=style, workers=cluster.workers, scratch=scratch,
            on_frame=on_frame, on_note=on_note, on_worker=on_worker,
        )  # fmt: skip


def render_connected(
    jobs: Sequence[RenderJob],
    *,
    style: Style,
    workers: int | None,
    scratch: Path,
    on_frame: Callable[[Report, int | None], None] = lambda report, n_frames: None,
    on_note: Callable[[str], None] = lambda sentence: None,
    on_worker: Callable[[Facts], None] = lambda facts: None,
) -> Report:
    """As `render_on_cluster`, within `connected`, which tells the folder `scratch`."""
    import ray

    job, nodes = checked(jobs), ray.nodes()
    share = share_of(job, nodes, workers)
    fitting = share.fitting(nodes)
    if not fitting:
        raise UsageError(
            f"No machine of the cluster has room for a worker with {share.cpus} processors and "
            f"{share.cards} cards; choose fewer --threads or another --engine."
        )
    count = workers or len(job.engine.devices) or fitting
    if count > fitting:
        on_note(f"there is room for {fitting} of {count} workers; the others wait for it")
    scratch = scratch / f"rtstyle-{secrets.token_hex(4)}"
    with Workers(ray, count, share, scratch=scratch, on_worker=on_worker) as pool:
        return _Run(jobs, style, pool, share, on_frame, on_note).run()


class _Run:
    """All videos of one call, some at a time, each in a thread of its own."""

    def __init__(
        self,
        jobs: Sequence[RenderJob],
        style: Style,
        workers: Workers,
        share: Share,
        on_frame: Callable[[Report, int | None], None],
        on_note: Callable[[str], None],
    ) -> None:
        self._jobs, self._style, self._workers, self._share = jobs, style, workers, share
        self._on_frame, self._on_note = on_frame, on_note
        self._lock = Lock()
        self._so_far: dict[int, tuple[Report, int | None]] = {}
        self._began = time.perf_counter()

    def run(self) -> Report:
        with ThreadPoolExecutor(_VIDEOS_AT_ONCE, "rtstyle-video") as threads:
            videos = [threads.submit(self._render, number) for number in range(len(self._jobs))]
            waiting: set[Future[Report]] = set(videos)
            try:
                while waiting:  # in short spells: a signal is heard between them
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
            raise RtstyleError(f"{len(failed)} of {len(videos)} videos failed, as told above.")
        if failed:
            raise failed[0]
        for number, video in enumerate(videos):
            self._so_far[number] = (video.result(), None)
        return self._sum()[0]

    def _render(self, number: int) -> Report:
        job = self._jobs[number]
        named = f"{job.source}: " if len(self._jobs) > 1 else ""

        def note(sentence: str) -> None:
            self._on_note(named + sentence)

        def tell(report: Report, total: int | None) -> None:
            with self._lock:
                self._so_far[number] = (replace(report), total)
                self._on_frame(*self._sum())

        painter = ClusterPainter(self._workers, self._share, number)
        try:
            return render_in_segments(
                job, style=self._style, painter=painter, on_frame=tell, on_note=note
            )
        except RtstyleError as error:
            if named:
                note(str(error))
            raise

    def _sum(self) -> tuple[Report, int | None]:
        reports = [report for report, _ in self._so_far.values()]
        totals = [total for _, total in self._so_far.values()]
        known = [total for total in totals if total is not None]
        whole = len(known) == len(self._jobs)
        report = Report(
            frames_in=sum(r.frames_in for r in reports),
            frames_out=sum(r.frames_out for r in reports),
            resumed=sum(r.resumed for r in reports),
            seconds=time.perf_counter() - self._began,
        )
        return report, sum(known) if whole else None


def checked(jobs: Sequence[RenderJob]) -> RenderJob:
    """The first of the jobs, when all can be painted by segments into different files."""
    for job in jobs:
        if sink_kind(job.output) != "file" or source_kind(job.source) == "still":
            raise UsageError(
                f"A cluster paints what becomes a video, not {job.source} into {job.output}; leave "
                "--cluster out."
            )
    if len({job.output.absolute() for job in jobs}) < len(jobs):
        raise UsageError("Two inputs would become one output; paint them into different folders.")
    return jobs[0]


def share_of(job: RenderJob, nodes: list[dict[str, Any]], workers: int | None) -> Share:
    """What a worker takes: a card if the engine is for cards, or is chosen where there are any."""
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    has_cards = any(node.get("GPU", 0) for node in alive)
    engine = job.engine
    if engine.devices or (has_cards if engine.name == "auto" else ENGINES[engine.name].runs_on_gpu):
        return Share(engine.threads or 1, 1)
    cpus = [int(node.get("CPU", 0)) for node in alive]
    usual = min(_USUAL_CPUS, max(cpus), sum(cpus) // (workers or 1))
    return Share(engine.threads or max(1, usual))
